"""The acoustic model as an OpenVINO network, built from its weights.

Inputs: `input_node` [B, T, window_frames, n_input], `previous_state_c` and `previous_state_h` [B, H].
Outputs: `logits` [T, B, n_classes] (probabilities: softmax is part of DeepSpeech's graph, whatever the name says),
`new_state_c` and `new_state_h` [B, H].
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset8 as ops

from components.convert_openvino.ir.quantize import quantize_rows
from speech.geometry import Geometry
from speech.ir import names
from speech.model_files.variables import BIAS, KERNEL, LAYER_NORM_EPSILON, LSTM_SCOPE

Array = npt.NDArray[Any]
ANY = -1  # a dynamic dimension
# These stay floats in an int8 network: together a fiftieth of a wide model's weights, and most of the error otherwise
# (one of the 26 features is an order of magnitude larger than the others).
FLOAT_LAYERS = ("layer_1", "layer_6")
# From this width on, 8-bit weights save more time than it takes to go through the frames one by one.
STEPWISE_FROM = 512
# CPUs can quantize the inputs of an 8-bit product as well, in groups: that takes a third less time. OpenVINO 2024
# computes nonsense where a group is not full. 0: the inputs stay floats.
INPUT_GROUPS = (128, 64, 32)
_INPUT_GROUP_OPTION = ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]


class Builder:
    """Builds networks of one model that keep the weight matrices as f32, f16 or int8 (integers with a scale a row)."""

    def __init__(self, geometry: Geometry, weights: Mapping[str, Array], precision: str = "f32") -> None:
        self.geometry = geometry
        self.weights = weights
        self.precision = precision

    def streaming(self, n_steps: int = ANY, batch: int = 1, outputs: Sequence[str] = names.OUTPUTS) -> ov.Model:
        """The network whose caller keeps the states; `ANY` makes a dimension dynamic. `outputs` in this order."""
        windows = self.windows(n_steps, batch)
        state_c, state_h = (parameter(name, [batch, self.geometry.n_hidden]) for name in (names.STATE_C, names.STATE_H))
        values = dict(zip((*names.OUTPUTS, names.RAW_LOGITS), self.layers(windows, state_c, state_h), strict=True))
        results = [output(name, values[name]) for name in outputs]
        return self.network(results, [windows, state_c, state_h])

    def stateful(self, n_steps: int = ANY, batch: int = 1) -> ov.Model:
        """The network that keeps its states from call to call, until the request's states are reset."""
        windows = self.windows(n_steps, batch)
        zeros = self.zero_state(windows)
        shape = ov.PartialShape([batch, self.geometry.n_hidden])
        state_c, state_h = (ops.read_value(zeros, name, np.float32, shape) for name in (names.STATE_C, names.STATE_H))
        logits, new_c, new_h, _ = self.layers(windows, state_c, state_h)
        sinks = [ops.assign(new_c, names.STATE_C), ops.assign(new_h, names.STATE_H)]
        return self.network([output(names.LOGITS, logits)], [windows], sinks)

    def network(self, results: list[Any], parameters: list[Any], sinks: Sequence[Any] = ()) -> ov.Model:
        """The finished network."""
        network = ov.Model(results, list(sinks), parameters, "DeepSpeech")
        if self.precision == "int8":
            network.set_rt_info(str(_input_group(self.geometry.n_hidden)), _INPUT_GROUP_OPTION)
        _number_nodes(network)
        return network

    def windows(self, n_steps: int, batch: int) -> Any:
        """The input for frames with their context."""
        return parameter(names.FEATURES, [batch, n_steps, self.geometry.window_frames, self.geometry.n_input])

    def zero_state(self, windows: Any) -> Any:
        """Zeros [B, H] for as many utterances as `windows` [B, ...] has."""
        sizes = ops.gather(ops.shape_of(windows, "i64"), constant(np.array([0])), constant(np.array(0)))
        shape = ops.concat([sizes, constant(np.array([self.geometry.n_hidden]))], 0)
        return ops.broadcast(constant(np.float32(0)), shape)

    def layers(self, windows: Any, state_c: Any, state_h: Any) -> tuple[Any, Any, Any, Any]:
        """Windows [B, T, window_frames, n_input], states [B, H] -> probabilities [T, B, C], new states [B, H], logits.

        The logits [T, B, C] are those before the softmax.
        """
        inputs = self.geometry.window_frames * self.geometry.n_input
        y = ops.reshape(windows, constant(np.array([0, 0, inputs])), special_zero=True)  # [B, T, inputs]
        for layer in ("layer_1", "layer_2", "layer_3"):
            y = self.dense(layer, y)  # [B, T, H]
        stepwise = self.precision == "int8" and self.geometry.n_hidden >= STEPWISE_FROM
        y, new_c, new_h = (self.lstm_in_steps if stepwise else self.lstm)(y, state_c, state_h)
        y = self.dense("layer_5", y)  # [B, T, H]
        y = self.affine("layer_6", y)  # [B, T, C]
        probabilities, raw = (ops.transpose(z, constant(np.array([1, 0, 2]))) for z in (ops.softmax(y, axis=-1), y))
        return probabilities, new_c, new_h, raw  # [T, B, C], [B, H], [B, H], [T, B, C]

    def dense(self, layer: str, x: Any) -> Any:
        """A layer with the clipped ReLU, and layer normalisation if the model has it."""
        y = self.affine(layer, x)
        y = ops.clamp(y, 0.0, self.geometry.relu_clip, name=f"{layer}/clipped_relu")
        if not self.geometry.layer_norm:
            return y
        y = ops.mvn(y, constant(np.array([-1])), True, LAYER_NORM_EPSILON, "inside_sqrt", name=f"{layer}/LayerNorm")
        gamma, beta = (constant(self.weights[f"{layer}/LayerNorm/{name}"]) for name in ("gamma", "beta"))
        return ops.add(ops.multiply(y, gamma), beta)

    def affine(self, layer: str, x: Any) -> Any:
        """x W + b: [B, T, inputs] -> [B, T, outputs]."""
        product = self.product(layer, x, self.weights[f"{layer}/weights"].T)
        return ops.add(product, constant(self.weights[f"{layer}/bias"]), name=layer)

    def product(self, name: str, x: Any, rows: Array) -> Any:
        """x [..., inputs] times the transpose of `rows` [outputs, inputs]."""
        return ops.matmul(x, self.matrix(name, rows), False, True, name=f"{name}/MatMul")

    def matrix(self, name: str, rows: Array) -> Any:
        """A weight matrix [outputs, inputs] as the file keeps it."""
        if self.precision == "int8" and name not in FLOAT_LAYERS:
            integers, scales = quantize_rows(rows)
            return ops.multiply(ops.convert(constant(integers, f"{name}/weights"), "f32"), constant(scales))
        if self.precision in ("f16", "int8"):
            # Plugins turn it into what they compute with, once. Marked as compressed (as `save_model` does it), the
            # matrix would stay f16 in products on a CPU, which takes longer.
            return ops.convert(constant(to_f16(rows), f"{name}/weights"), "f32")
        return constant(np.ascontiguousarray(rows), f"{name}/weights")

    def lstm(self, x: Any, state_c: Any, state_h: Any) -> tuple[Any, Any, Any]:
        """Inputs [B, T, H] and states [B, H] -> outputs [B, T, H] and new states c, h [B, H], in one operator."""
        hidden = self.geometry.n_hidden
        of_inputs, of_state = np.split(self.weights[KERNEL], 2)  # [H, 4H] each
        direction, directions = constant(np.array([1])), constant(np.array([0]))  # the axes of the only direction
        shape = ops.shape_of(x, "i64")
        batch, frames = (ops.gather(shape, constant(np.array([axis])), constant(np.array(0))) for axis in (0, 1))
        sequence = ops.lstm_sequence(
            x,
            ops.unsqueeze(state_h, direction),
            ops.unsqueeze(state_c, direction),
            ops.broadcast(frames, batch),
            ops.unsqueeze(self.matrix(f"{KERNEL}/input", gates_for_openvino(of_inputs.T)), directions),
            ops.unsqueeze(self.matrix(f"{KERNEL}/state", gates_for_openvino(of_state.T)), directions),
            constant(gates_for_openvino(self.weights[BIAS])[np.newaxis], BIAS),
            hidden,
            "forward",
            name=f"{LSTM_SCOPE}/BlockLSTM",
        )
        outputs, new_h, new_c = (ops.squeeze(sequence.output(port), direction) for port in range(3))
        return outputs, new_c, new_h

    def lstm_in_steps(self, x: Any, state_c: Any, state_h: Any) -> tuple[Any, Any, Any]:
        """The same, frame by frame: plugins multiply by 8-bit integers in a MatMul, but not in an LSTMSequence.

        There they make float weights of them when the network is loaded.
        """
        hidden = self.geometry.n_hidden
        of_inputs, of_state = np.split(self.weights[KERNEL], 2)  # [H, 4H] each
        gates = self.product(f"{KERNEL}/input", x, gates_for_openvino(of_inputs.T))
        gates = ops.add(gates, constant(gates_for_openvino(self.weights[BIAS])))
        batch = x.get_output_partial_shape(0)[0]
        sizes = {"gates": [batch, 1, 4 * hidden], "c": [batch, hidden], "h": [batch, hidden]}
        frame_gates, frame_c, frame_h = (
            ops.parameter(ov.PartialShape(shape), np.float32, name=name) for name, shape in sizes.items()
        )
        h, c = self.lstm_cell(frame_gates, frame_c, frame_h, gates_for_openvino(of_state.T))
        axis = constant(np.array([1]))
        results = [output(name, y) for name, y in (("output", ops.unsqueeze(h, axis)), ("new_h", h), ("new_c", c))]
        body = ov.Model(results, [frame_gates, frame_h, frame_c], "frame")
        _number_nodes(body)
        loop = ops.tensor_iterator()
        loop.set_body(body)
        loop.set_sliced_input(frame_gates, gates.output(0), 0, 1, 1, -1, 1)
        loop.set_merged_input(frame_h, state_h.output(0), body.results[1].output(0))
        loop.set_merged_input(frame_c, state_c.output(0), body.results[2].output(0))
        outputs = loop.get_concatenated_slices(body.results[0].output(0), 0, 1, 1, -1, 1)
        # An operator of their own, because the sink of a stateful network takes no port of another.
        new_h, new_c = (ops.convert(loop.get_iter_value(body.results[port].output(0), -1), "f32") for port in (1, 2))
        loop.set_friendly_name(f"{LSTM_SCOPE}/BlockLSTM")
        return outputs, new_c, new_h

    def lstm_cell(self, gates: Any, c: Any, h: Any, rows: Array) -> tuple[Any, Any]:
        """One frame: the inputs' part of the gates [B, 1, 4H] and states [B, H] -> new states h and c [B, H]."""
        y = ops.add(ops.squeeze(gates, constant(np.array([1]))), self.product(f"{KERNEL}/state", h, rows))
        parts = ops.split(y, constant(np.array(1)), 4)
        forget, update, candidate, output = (parts.output(port) for port in range(4))
        kept = ops.multiply(ops.sigmoid(forget), c)
        new_c = ops.add(kept, ops.multiply(ops.sigmoid(update), ops.tanh(candidate)))
        return ops.multiply(ops.sigmoid(output), ops.tanh(new_c)), new_c


def _input_group(n_hidden: int) -> int:
    """The size of the groups in which a wide model's inputs are quantized; for a narrow one it would not pay."""
    return next((size for size in INPUT_GROUPS if n_hidden >= STEPWISE_FROM and n_hidden % size == 0), 0)


def _number_nodes(network: ov.Model) -> None:
    """Name the nodes that have no name of ours by their place: the same model always gives the same file."""
    for place, node in enumerate(network.get_ordered_ops()):
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_{place}")


def to_f16(rows: Array) -> npt.NDArray[np.float16]:
    """The nearest f16 numbers; weights beyond its range (65504) become its largest."""
    limit = np.finfo(np.float16).max
    return np.ascontiguousarray(np.clip(rows, -limit, limit), np.float16)


def gates_for_openvino(gates: Array) -> Array:
    """Rows in TensorFlow's BlockLSTM order i, c, f, o -> OpenVINO's order f, i, c, o."""
    i, c, f, o = np.split(gates, 4)
    return np.concatenate([f, i, c, o])


def parameter(name: str, shape: list[int]) -> Any:
    """A float32 input that answers to all its names."""
    node = ops.parameter(ov.PartialShape(shape), np.float32, name=name)
    node.output(0).set_names(names.aliases(name))
    return node


def output(name: str, value: Any) -> Any:
    """An output that answers to all its names."""
    tensor = value.output(0)
    tensor.set_names(names.aliases(name))
    return ops.result(tensor, name=f"{name}/sink")


def constant(value: Array | np.generic, name: str | None = None) -> Any:
    """A constant node; large ones, which are made for it, are not copied."""
    array = np.asarray(value, order="C")
    node = ov.op.Constant(array, shared_memory=array.flags.writeable)
    if name:
        node.set_friendly_name(name)
    return node
