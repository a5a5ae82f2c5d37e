"""The float weights in a TFLite file of DeepSpeech, Coqui STT or ours.

Converters rename constants as they like, so the weights are told by the six distinct FULLY_CONNECTED operators, in the
order of execution: layers 1 to 3, the LSTM (the same weights in every unrolled frame), layers 5 and 6. Source: the
schema of TensorFlow Lite (schema.fbs, version 3), fields by their position.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.flatbuffer import Table
from speech.model_files.graphdef import map_file
from speech.model_files.variables import BIAS, KERNEL
from speech.model_files.wire import Bytes

Array = npt.NDArray[Any]

_FLOAT32, _INT32, _STRING = 0, 2, 5
_TYPE_NAMES = {1: "float16", 3: "uint8", 7: "int16", 9: "int8"}
_FULLY_CONNECTED, _MEAN, _MINIMUM = 9, 40, 57
_LAYERS = ("layer_1", "layer_2", "layer_3", "lstm", "layer_5", "layer_6")


@dataclass(frozen=True)
class TfliteModel:
    """What `read` finds."""

    weights: dict[str, Array]
    geometry: Geometry
    alphabet: Alphabet


def is_tflite(data: Bytes) -> bool:
    """Whether the data is a TFLite file, by its identifier."""
    return bytes(data[4:8]) == b"TFL3"


def read(path: Path) -> TfliteModel:
    """Read a float model; raises InputError for a quantized one, a layer-normalised one, or another network."""
    try:
        return _model(_Graph(map_file(path), str(path)))
    except (struct.error, IndexError, ValueError) as error:
        raise InputError(f"{path}: a damaged TFLite file ({error}): export it again") from error


class _Tensor:
    """A tensor: its name, type, shape and which buffer holds its value."""

    def __init__(self, table: Table) -> None:
        self.shape = tuple(table.integers(0))
        self.type = table.integer(1, "<b")
        self.buffer = table.integer(2, "<I")
        self.name = bytes(table.data(3)).decode("utf-8", "replace")


class _OperatorTable:
    def __init__(self, table: Table) -> None:
        self.code = table.integer(0, "<I")
        self.inputs = table.integers(1)
        self.outputs = table.integers(2)


class _Graph:
    """The first subgraph of a file."""

    def __init__(self, data: Bytes, where: str) -> None:
        self.where = where
        model = Table.root(data)
        self._codes = model.tables(1, lambda code: max(code.integer(0, "<b"), code.integer(3)))
        self._buffers = model.tables(4, lambda buffer: buffer.data(0))
        subgraph = model.tables(2, lambda table: table)[0]
        self.tensors = subgraph.tables(0, _Tensor)
        self.operators = subgraph.tables(3, _OperatorTable)

    def of_kind(self, kind: int) -> list[_OperatorTable]:
        """The operators of a builtin kind, in order of execution."""
        return [operator for operator in self.operators if self._codes[operator.code] == kind]

    def content(self, index: int) -> Bytes:
        """The bytes of a constant; empty for what is computed."""
        return self._buffers[self.tensors[index].buffer]

    def floats(self, index: int, what: str) -> Array:
        """A float32 constant."""
        tensor = self.tensors[index]
        if tensor.type != _FLOAT32:
            kind = _TYPE_NAMES.get(tensor.type, f"type {tensor.type}")
            raise InputError(
                f"{self.where}: a quantized TFLite model ({what} is {kind}): expected float32 weights; "
                "convert the frozen graph (.pb) or the checkpoint that it was made of"
            )
        content = self.content(index)
        if not len(content):
            raise InputError(f"{self.where}: {what} is not a constant: convert the frozen graph (.pb) instead")
        return np.frombuffer(content, "<f4").reshape(tensor.shape)

    def metadata(self, name: str) -> bytes:
        """The bytes behind a `metadata_*` tensor: its own, or those of the constant that is copied to it."""
        index = next((i for i, tensor in enumerate(self.tensors) if tensor.name.split(":")[0] == name), None)
        if index is None:
            raise InputError(f"{self.where}: no tensor {name}: expected a DeepSpeech or Coqui STT acoustic model")
        sources = (operator.inputs[0] for operator in self.operators if index in operator.outputs)
        return next((bytes(self.content(i)) for i in (index, *sources) if len(self.content(i))), b"")


def _model(graph: _Graph) -> TfliteModel:
    connected = {operator.inputs[1]: operator for operator in graph.of_kind(_FULLY_CONNECTED)}
    inputs = [tensor for tensor in graph.tensors if tensor.name.split(":")[0].endswith("input_node")]
    if len(connected) != len(_LAYERS) or not inputs or len(inputs[0].shape) != 4:
        raise InputError(
            f"{graph.where}: a TFLite model of another network: expected input_node and {len(_LAYERS)} fully connected "
            f"weights, found {len(connected)}"
        )
    if graph.of_kind(_MEAN):
        raise InputError(
            f"{graph.where}: a layer-normalised TFLite model cannot be taken apart: convert the frozen graph (.pb)"
        )
    weights: dict[str, Array] = {}
    for layer, operator in zip(_LAYERS, connected.values(), strict=True):
        matrix = graph.floats(operator.inputs[1], f"{layer}'s weights").T  # [inputs, outputs]
        given = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        bias = graph.floats(operator.inputs[2], f"{layer}'s bias") if given else np.zeros(matrix.shape[1], np.float32)
        names = (KERNEL, BIAS) if layer == "lstm" else (f"{layer}/weights", f"{layer}/bias")
        weights |= zip(names, (matrix, bias), strict=True)
    blob = graph.metadata("metadata_alphabet")  # count, begin and end of the only string, its bytes
    alphabet = Alphabet.deserialize(blob[slice(*struct.unpack_from("<2i", blob, 4))], f"{graph.where}: alphabet")
    return TfliteModel(weights, _geometry(graph, inputs[0].shape, weights), alphabet)


def _geometry(graph: _Graph, input_shape: tuple[int, ...], weights: dict[str, Array]) -> Geometry:
    rate, window, step = (
        struct.unpack("<i", graph.metadata(f"metadata_{name}"))[0]
        for name in ("sample_rate", "feature_win_len", "feature_win_step")
    )
    limits = [graph.content(i) for operator in graph.of_kind(_MINIMUM) for i in operator.inputs]
    constants = [struct.unpack("<f", limit)[0] for limit in limits if len(limit) == 4]
    return Geometry(
        n_hidden=weights["layer_1/bias"].size,
        n_labels=weights["layer_6/bias"].size - 1,
        relu_clip=constants[0] if constants else Geometry.relu_clip,
        audio_sample_rate=rate,
        feature_win_len=window,
        feature_win_step=step,
        n_input=input_shape[3],
        n_context=input_shape[2] // 2,
    )
