"""The streaming model as a TFLite file: the structure, the names and the operator versions that native clients know.

The clients are `stt` 1.4.0 and `deepspeech-tflite` 0.9.3. They look inputs and outputs up by name; run features,
network and metadata separately, so that each output has to be the result of an operator; and refuse operators newer
than their runtimes of 2020. So the LSTM is unrolled over the frames of a call, which share one matrix, and an int8
matrix has one scale. Source: the files that the two trainers export.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from components.export.tflite_file import Number, Op, Options, Tensor, TensorType, TfliteWriter
from speech.features.mfcc import LOWEST_HZ, MEL_CHANNELS
from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL, LAYER_NORM_EPSILON, LSTM_SCOPE

DESCRIPTION = "Speechmill"
INT8_LIMIT = 127  # -128 is left out: the zero point is 0
LEAST_QUANTIZED = 1024  # elements; the peers' converter leaves smaller matrices as they are
HYBRID_VERSION = 3  # of FULLY_CONNECTED with float inputs and an int8 matrix of one scale

# Kinds of options: the number in the schema's union, and the fields.
NO_ACTIVATION, RELU = Number("Int8", 0), Number("Int8", 1)
CONCATENATION_OF_ROWS = Options(10, [Number("Int32", 0), NO_ACTIVATION])
CONCATENATION_OF_COLUMNS = Options(10, [Number("Int32", 1), NO_ACTIVATION])
ADD, MUL, SUB = Options(11, [NO_ACTIVATION]), Options(21, [NO_ACTIVATION]), Options(28, [NO_ACTIVATION])
SOFTMAX = Options(9, [Number("Float32", 1.0)])
MEAN = Options(27, [Number("Bool", True)])  # the axis is kept with size 1
MINIMUM = Options(39, [])
SQUARED_DIFFERENCE = Options(76, [])


def write(
    path: Path,
    weights: Mapping[str, np.ndarray],
    geometry: Geometry,
    metadata: Mapping[str, np.ndarray],
    n_steps: int,
    quantize: bool,
) -> None:
    """Write the model that processes `n_steps` frames a call.

    `weights` are float32 by DeepSpeech's variable names; with `quantize` the matrices become int8. `metadata` are the
    frozen graph's `metadata_*` constants, int32 or bytes, `[1]` each.
    """
    network = _Network(weights, geometry, quantize)
    inputs, outputs = network.build(n_steps)
    outputs += [network.copy_of(name, value) for name, value in metadata.items()]
    network.file.write(path, inputs, outputs, DESCRIPTION)


def quantized(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """float32 -> int8 values and the scale they are multiples of, as TensorFlow Lite's converter rounds them."""
    scale = float(np.abs(matrix).max(initial=0.0)) / INT8_LIMIT or 1.0
    return np.clip(np.rint(matrix / np.float32(scale)), -INT8_LIMIT, INT8_LIMIT).astype(np.int8), scale


class _Network:
    """Adds the model's operators to a file; tensors are referred to by their number."""

    def __init__(self, weights: Mapping[str, np.ndarray], geometry: Geometry, quantize: bool) -> None:
        self.file = TfliteWriter()
        self._weights = weights
        self._geometry = geometry
        self._quantize = quantize

    def build(self, n_steps: int) -> tuple[list[int], list[int]]:
        """Features and network; returns the inputs and the outputs in the peers' order."""
        geometry, hidden = self._geometry, self._geometry.n_hidden
        node = self._computed("input_node", 1, n_steps, geometry.window_frames, geometry.n_input)
        state_c, state_h = self._computed("previous_state_c", 1, hidden), self._computed("previous_state_h", 1, hidden)
        samples = self._computed("input_samples", geometry.window_samples)
        mfccs = self._features(samples)
        layer_1 = self._dense(node, "layer_1", n_steps, "")
        layer_2 = self._dense(layer_1, "layer_2", n_steps, "_1")
        layer_3 = self._dense(layer_2, "layer_3", n_steps, "_2")
        hidden_states, new_c, new_h = self._lstm(layer_3, state_c, state_h, n_steps)
        layer_5 = self._dense(hidden_states, "layer_5", n_steps, "_3")
        bias = self._constant("layer_6/bias", self._weights["layer_6/bias"])
        raw = self._connected(layer_5, self._matrix("layer_6/weights"), bias, "BiasAdd_4", n_steps, NO_ACTIVATION)
        logits = self._apply(Op.SOFTMAX, [raw], "logits", (n_steps, geometry.n_classes), SOFTMAX)
        return [node, state_c, state_h, samples], [logits, new_c, new_h, mfccs, layer_3, layer_5]

    def copy_of(self, name: str, value: np.ndarray) -> int:
        """A constant as the result of an operator, which is how clients read metadata."""
        if value.dtype == object:
            kind, content = TensorType.STRING, _strings([bytes(item) for item in value.flat])
        else:
            kind, content = TensorType.INT32, value.astype("<i4").tobytes()
        constant = self.file.tensor(Tensor(f"{name}_copy", value.shape, kind, content))
        return self._reshaped(constant, name, value.shape, kind=kind)

    def _features(self, samples: int) -> int:
        geometry = self._geometry
        column = self._reshaped(samples, "ExpandDims", (geometry.window_samples, 1))
        bins = (1 << (geometry.window_samples - 1).bit_length()) // 2 + 1
        spectrogram = self._computed("AudioSpectrogram", 1, 1, bins)
        options: dict[str, float] = {
            "window_size": geometry.window_samples,
            "stride": geometry.step_samples,
            "magnitude_squared": True,
        }
        self.file.custom_operator("AudioSpectrogram", [column], [spectrogram], options)
        rate = self._constant("Mfcc/sample_rate", np.array(geometry.audio_sample_rate, np.int32))
        mfcc = self._computed("Mfcc", 1, 1, geometry.n_input)
        options = {
            "upper_frequency_limit": geometry.audio_sample_rate / 2,
            "lower_frequency_limit": LOWEST_HZ,
            "filterbank_channel_count": MEL_CHANNELS,
            "dct_coefficient_count": geometry.n_input,
        }
        self.file.custom_operator("Mfcc", [spectrogram, rate], [mfcc], options)
        return self._reshaped(mfcc, "mfccs", (1, geometry.n_input))

    def _dense(self, x: int, layer: str, n_steps: int, suffix: str) -> int:
        """Clipped ReLU of a dense layer `[n_steps, H]`, layer-normalised if the model is."""
        matrix, bias = self._matrix(f"{layer}/weights"), self._constant(f"{layer}/bias", self._weights[f"{layer}/bias"])
        x = self._connected(x, matrix, bias, f"Relu{suffix}", n_steps, RELU)
        clip = self._constant(f"Minimum{suffix}/y", np.array(self._geometry.relu_clip, np.float32))
        x = self._apply(Op.MINIMUM, [x, clip], f"Minimum{suffix}", self._shape(x), MINIMUM)
        return self._layer_norm(x, layer) if self._geometry.layer_norm else x

    def _layer_norm(self, x: int, layer: str) -> int:
        scope, shape = f"{layer}_1/LayerNorm", self._shape(x)
        column = (shape[0], 1)
        axes = self._constant(f"{scope}/axes", np.array([1], np.int32))
        epsilon = self._constant(f"{scope}/epsilon", np.array(LAYER_NORM_EPSILON, np.float32))
        beta, gamma = (
            self._constant(name, self._weights[name])
            for name in (f"{layer}/LayerNorm/beta", f"{layer}/LayerNorm/gamma")
        )
        mean = self._apply(Op.MEAN, [x, axes], f"{scope}/mean", column, MEAN)
        squares = self._apply(Op.SQUARED_DIFFERENCE, [x, mean], f"{scope}/squares", shape, SQUARED_DIFFERENCE)
        variance = self._apply(Op.MEAN, [squares, axes], f"{scope}/variance", column, MEAN)
        variance = self._apply(Op.ADD, [variance, epsilon], f"{scope}/add", column, ADD)
        scale = self._apply(Op.RSQRT, [variance], f"{scope}/Rsqrt", column)
        scale = self._apply(Op.MUL, [scale, gamma], f"{scope}/mul", shape, MUL)
        offset = self._apply(Op.MUL, [mean, scale], f"{scope}/mul_2", shape, MUL)
        offset = self._apply(Op.SUB, [beta, offset], f"{scope}/sub", shape, SUB)
        x = self._apply(Op.MUL, [x, scale], f"{scope}/mul_1", shape, MUL)
        return self._apply(Op.ADD, [x, offset], f"{scope}/add_1", shape, ADD)

    def _lstm(self, x: int, state_c: int, state_h: int, n_steps: int) -> tuple[int, int, int]:
        """The outputs `[n_steps, H]` and the states behind the last frame, `[1, H]` each."""
        hidden = self._geometry.n_hidden
        kernel, bias = self._matrix(KERNEL), self._constant(BIAS, self._weights[BIAS])
        rows, columns = (self._constant(f"{LSTM_SCOPE}/axis_{axis}", np.array(axis, np.int32)) for axis in (0, 1))
        frames = [self._computed(f"{LSTM_SCOPE}/frame_{frame}", 1, hidden) for frame in range(n_steps)]
        self.file.operator(Op.SPLIT, [rows, x], frames, Options(35, [Number("Int32", n_steps)]))
        outputs: list[int] = []
        for frame, row in enumerate(frames):
            last = frame == n_steps - 1
            names = ("new_state_c", "new_state_h") if last else (f"{LSTM_SCOPE}/c_{frame}", f"{LSTM_SCOPE}/h_{frame}")
            state_c, state_h = self._cell(
                [row, state_c, state_h, kernel, bias, columns], f"{LSTM_SCOPE}/{frame}", names
            )
            outputs.append(state_h)
        joined = self._apply(Op.CONCATENATION, outputs, f"{LSTM_SCOPE}/h", (n_steps, hidden), CONCATENATION_OF_ROWS)
        return joined, state_c, state_h

    def _cell(self, inputs: Sequence[int], scope: str, names: tuple[str, str]) -> tuple[int, int]:
        """One frame of the LSTM: gates in the order input, candidate, forget, output."""
        row, state_c, state_h, kernel, bias, columns = inputs
        hidden = self._geometry.n_hidden
        shape = (1, hidden)
        both = self._apply(
            Op.CONCATENATION, [row, state_h], f"{scope}/concat", (1, 2 * hidden), CONCATENATION_OF_COLUMNS
        )
        sums = self._connected(both, kernel, bias, f"{scope}/BiasAdd", 1, NO_ACTIVATION)
        gates = [self._computed(f"{scope}/split_{gate}", *shape) for gate in "icfo"]
        self.file.operator(Op.SPLIT, [columns, sums], gates, Options(35, [Number("Int32", len(gates))]))
        i, c, f, o = (
            self._apply(Op.TANH if gate == "c" else Op.LOGISTIC, [total], f"{scope}/{gate}", shape)
            for gate, total in zip("icfo", gates, strict=True)
        )
        kept = self._apply(Op.MUL, [f, state_c], f"{scope}/kept", shape, MUL)
        added = self._apply(Op.MUL, [i, c], f"{scope}/added", shape, MUL)
        new_c = self._apply(Op.ADD, [kept, added], names[0], shape, ADD)
        squashed = self._apply(Op.TANH, [new_c], f"{scope}/Tanh", shape)
        return new_c, self._apply(Op.MUL, [o, squashed], names[1], shape, MUL)

    def _connected(self, x: int, matrix: int, bias: int, name: str, rows: int, activation: Number) -> int:
        columns = self._shape(bias)[0]
        options = Options(8, [activation])
        version = HYBRID_VERSION if self.file.tensors[matrix].kind == TensorType.INT8 else 1
        return self._apply(Op.FULLY_CONNECTED, [x, matrix, bias], name, (rows, columns), options, version)

    def _matrix(self, name: str) -> int:
        """A matrix as FULLY_CONNECTED wants it, `[outputs, inputs]`."""
        transposed = self._weights[name].T
        if not self._quantize or transposed.size < LEAST_QUANTIZED:
            return self._constant(name, transposed)
        values, scale = quantized(transposed)
        return self.file.tensor(Tensor(name, values.shape, TensorType.INT8, values, scale))

    def _constant(self, name: str, value: np.ndarray) -> int:
        kind = TensorType.INT32 if value.dtype == np.int32 else TensorType.FLOAT32
        return self.file.tensor(Tensor(name, value.shape, kind, value))

    def _computed(self, name: str, *shape: int, kind: TensorType = TensorType.FLOAT32) -> int:
        return self.file.tensor(Tensor(name, shape, kind))

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return self.file.tensors[tensor].shape

    def _reshaped(self, x: int, name: str, shape: tuple[int, ...], kind: TensorType = TensorType.FLOAT32) -> int:
        wanted = self._constant(f"{name}/shape", np.array(shape, np.int32))
        result = self._computed(name, *shape, kind=kind)
        self.file.operator(Op.RESHAPE, [x, wanted], [result], Options(17, [list(shape)]))
        return result

    def _apply(
        self,
        op: Op,
        inputs: Sequence[int],
        name: str,
        shape: tuple[int, ...],
        options: Options | None = None,
        version: int = 1,
    ) -> int:
        """An operator with one result."""
        result = self._computed(name, *shape)
        self.file.operator(op, inputs, [result], options, version)
        return result


def _strings(values: Sequence[bytes]) -> bytes:
    """A string tensor's buffer: how many, where each begins and the last ends (counted in the buffer), the bytes."""
    ends = np.cumsum([4 * (len(values) + 2), *map(len, values)])
    return struct.pack(f"<{len(ends) + 1}i", len(values), *ends) + b"".join(values)
