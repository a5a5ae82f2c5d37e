"""The streaming model as an ONNX file: any number of frames and clips a call, the LSTM's state in and out.

Inputs `input_node` [batch, frames, window_frames, n_input] and `previous_state_c|h` [batch, H]; outputs `logits`
[frames, batch, n_classes] (probabilities, as in the frozen graph) and `new_state_c|h`. Features and decoding are the
caller's. What is needed for them is in the file's metadata: `alphabet` (the text of alphabet.txt), `sample_rate`,
`feature_win_len` and `feature_win_step` [ms], `beam_width`, `language`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL, LAYER_NORM_EPSILON
from speech.storage.files import write_bytes

PRODUCER = "speechmill"
IR_VERSION, OPSET = 8, 17  # the first with LayerNormalization; runtimes since 2022 read them
GATES = (0, 3, 2, 1)  # ONNX's input, output, forget, candidate among DeepSpeech's input, candidate, forget, output

Shape = Sequence[int | str]  # a name stands for a size that is known at run time


def write(path: Path, weights: Mapping[str, np.ndarray], geometry: Geometry, metadata: Mapping[str, str]) -> None:
    """Write the model; `weights` are float32 by DeepSpeech's variable names."""
    write_bytes(path, _model(weights, geometry, metadata).SerializeToString(deterministic=True))


def _model(weights: Mapping[str, np.ndarray], geometry: Geometry, metadata: Mapping[str, str]) -> Any:
    hidden, graph = geometry.n_hidden, _Graph()
    windows = graph.input("input_node", ("batch", "frames", geometry.window_frames, geometry.n_input))
    states = {part: graph.input(f"previous_state_{part}", ("batch", hidden)) for part in "ch"}
    sizes = graph.constant("input_shape", np.array([0, 0, geometry.window_frames * geometry.n_input]))
    x = graph.node("Transpose", [windows], ["time_major"], perm=(1, 0, 2, 3))
    x = graph.node("Reshape", [x, sizes], ["flat"])  # [T, B, inputs]
    limits = [graph.constant(f"clip_{limit:g}", np.array(limit, np.float32)) for limit in (0.0, geometry.relu_clip)]
    for layer in ("layer_1", "layer_2", "layer_3"):
        x = _dense(graph, x, layer, weights, geometry, limits)
    x = _lstm(graph, x, states, weights)
    x = _dense(graph, x, "layer_5", weights, geometry, limits)
    graph.node("Softmax", [_linear(graph, x, "layer_6", weights)], ["logits"], axis=-1)
    graph.output("logits", ("frames", "batch", geometry.n_classes))
    for part in "ch":
        graph.output(f"new_state_{part}", ("batch", hidden))
    return graph.model(metadata)


class _Graph:
    """Nodes in the order in which they run, constants, inputs and outputs."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def node(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> str:
        """Add an operator; an input that is left out is "". Returns the first output."""
        self._nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))
        return outputs[0]

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant; returns its name."""
        self._constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def input(self, name: str, shape: Shape) -> str:
        """Declare a float32 input; returns its name."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, name: str, shape: Shape) -> None:
        """Declare a float32 output."""
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def model(self, metadata: Mapping[str, str]) -> Any:
        """The finished ModelProto."""
        graph = helper.make_graph(self._nodes, "main", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name=PRODUCER, ir_version=IR_VERSION, opset_imports=opsets)
        helper.set_model_props(model, dict(metadata))
        return model


def _linear(graph: _Graph, x: str, layer: str, weights: Mapping[str, np.ndarray]) -> str:
    matrix, bias = (graph.constant(name, weights[name]) for name in (f"{layer}/weights", f"{layer}/bias"))
    product = graph.node("MatMul", [x, matrix], [f"{layer}/MatMul"])
    return graph.node("Add", [product, bias], [f"{layer}/BiasAdd"])


def _dense(
    graph: _Graph, x: str, layer: str, weights: Mapping[str, np.ndarray], geometry: Geometry, limits: list[str]
) -> str:
    """A dense layer with clipped ReLU, layer-normalised if the model is, `[T, B, H]`."""
    x = graph.node("Clip", [_linear(graph, x, layer, weights), *limits], [f"{layer}/Minimum"])
    if not geometry.layer_norm:
        return x
    scope = f"{layer}/LayerNorm"
    gamma, beta = (graph.constant(name, weights[name]) for name in (f"{scope}/gamma", f"{scope}/beta"))
    return graph.node("LayerNormalization", [x, gamma, beta], [scope], axis=-1, epsilon=LAYER_NORM_EPSILON)


def _lstm(graph: _Graph, x: str, states: Mapping[str, str], weights: Mapping[str, np.ndarray]) -> str:
    """The outputs `[T, B, H]`; the states behind the last frame become `new_state_c|h`."""
    hidden = len(weights[BIAS]) // len(GATES)
    kernel = _gates(weights[KERNEL].T, hidden)  # [4H, 2H]
    bias = np.concatenate([_gates(weights[BIAS], hidden), np.zeros(4 * hidden, np.float32)])
    first, second = (graph.constant(f"axis_{axis}", np.array([axis])) for axis in (0, 1))
    inputs = [
        x,
        graph.constant("lstm/input_kernel", kernel[np.newaxis, :, :hidden]),
        graph.constant("lstm/state_kernel", kernel[np.newaxis, :, hidden:]),
        graph.constant("lstm/bias", bias[np.newaxis]),
        "",  # every clip of a call has the same number of frames
        *(graph.node("Unsqueeze", [states[part], first], [f"lstm/initial_{part}"]) for part in "hc"),
    ]
    graph.node("LSTM", inputs, ["lstm/outputs", "lstm/last_h", "lstm/last_c"], hidden_size=hidden)
    for part in "ch":
        graph.node("Squeeze", [f"lstm/last_{part}", first], [f"new_state_{part}"])
    return graph.node("Squeeze", ["lstm/outputs", second], ["lstm/h"])  # [T, 1, B, H] -> [T, B, H]


def _gates(rows: np.ndarray, hidden: int) -> np.ndarray:
    """The gates' rows in ONNX's order."""
    return np.concatenate([rows[gate * hidden : (gate + 1) * hidden] for gate in GATES])
