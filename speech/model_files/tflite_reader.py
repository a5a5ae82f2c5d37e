"""A TFLite file of DeepSpeech, Coqui STT or ours, read without TensorFlow: what it says about itself, and its weights.

Converters rename constants as they like, so the weights are told by the six distinct FULLY_CONNECTED operators, in the
order of execution: layers 1 to 3, the LSTM (the same weights in every unrolled frame), layers 5 and 6. Source: the
schema of TensorFlow Lite (schema.fbs, version 3), fields by their position.
"""

import struct
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.flatbuffer import Table
from speech.model_files.graph_facts import ALPHABET_NODE, METADATA, plain
from speech.model_files.graphdef import map_file
from speech.model_files.variables import BIAS, KERNEL, LAYERS, NoFloatWeights
from speech.wire import Bytes

Array = npt.NDArray[Any]

INPUTS = ("input_node", "previous_state_c", "previous_state_h", "input_samples")
OUTPUTS = ("logits", "new_state_c", "new_state_h", "mfccs")
REQUIRED_METADATA = ("metadata_sample_rate", "metadata_feature_win_len", "metadata_feature_win_step", ALPHABET_NODE)

_FLOAT32, _INT32, _STRING = 0, 2, 5
_TYPE_NAMES = {1: "float16", 3: "uint8", 7: "int16", 9: "int8"}
_FULLY_CONNECTED, _MEAN, _MINIMUM, _RSQRT = 9, 40, 57, 76


def is_tflite(data: Bytes) -> bool:
    """Whether the data is a TFLite file, by its identifier."""
    return bytes(data[4:8]) == b"TFL3"


class TfliteFile:
    """An opened file whose parts all lie inside it: TensorFlow's interpreter would read on behind its end."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for a file that is cut short, or no streaming acoustic model."""
        data = map_file(path)
        try:
            if not is_tflite(data):
                raise ValueError("no TFLite identifier")
            self._graph = _Subgraph(data, str(path))
        except (struct.error, IndexError, ValueError) as error:
            raise InputError(
                f"{path}: not a TFLite model, or a truncated or damaged one ({len(data)} bytes; {error}): "
                "export it again"
            ) from error
        self.path = path
        self._graph.check_ends()
        self._shape, self._state = (self._graph.named(name).shape for name in ("input_node", "previous_state_c"))
        if len(self._shape) != 4 or len(self._state) != 2:
            raise InputError(f"{path}: input_node has the shape {list(self._shape)}: expected the acoustic model's")

    @property
    def n_steps(self) -> int:
        """Frames a call."""
        return self._shape[1]

    @cached_property
    def alphabet(self) -> Alphabet:
        """That of the metadata. Raises InputError if it does not fit the outputs."""
        blob = self._graph.string(ALPHABET_NODE)
        alphabet = Alphabet.deserialize(blob, f"{self.path}: {ALPHABET_NODE}")
        if (classes := self._graph.named("logits").shape[-1]) != len(alphabet) + 1:
            raise InputError(
                f"{self.path}: {ALPHABET_NODE} has {len(alphabet)} symbols, but the model has {classes - 1} labels "
                "and the blank: export it again with the alphabet that it was trained with"
            )
        return alphabet

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What the other metadata tensors say: sample_rate, beam_width, language, ..."""
        names = (tensor.name for tensor in self._graph.tensors)
        values = {name: self._graph.metadata(name) for name in names if name.startswith(METADATA)}
        return {
            name.removeprefix(METADATA): value
            for name, value in values.items()
            if value is not None and name != ALPHABET_NODE
        }

    @cached_property
    def geometry(self) -> Geometry:
        """By the shapes of inputs and outputs, and the metadata."""
        rate, window, step = (
            self._number(name.removeprefix(METADATA)) for name in REQUIRED_METADATA if name != ALPHABET_NODE
        )
        return Geometry(
            n_hidden=self._state[1],
            n_labels=len(self.alphabet),
            layer_norm=self._graph.is_normalised,
            relu_clip=self._graph.relu_clip(),
            audio_sample_rate=rate,
            feature_win_len=window,
            feature_win_step=step,
            n_input=self._shape[3],
            n_context=self._shape[2] // 2,
        )

    def _number(self, name: str) -> int:
        value = self.metadata.get(name)
        if not isinstance(value, int):
            raise InputError(f"{self.path}: {METADATA}{name} holds no number: expected the acoustic model's metadata")
        return value

    def weights(self) -> dict[str, Array]:
        """float32 by DeepSpeech's variable names. Raises NoFloatWeights for a quantized or layer-normalised model."""
        graph = self._graph
        if graph.is_normalised:
            raise NoFloatWeights(
                f"{self.path}: a layer-normalised TFLite model cannot be taken apart: convert the frozen graph (.pb)"
            )
        connected = {operator.inputs[1]: operator for operator in graph.of_kind(_FULLY_CONNECTED)}
        if len(connected) != len(LAYERS):
            raise NoFloatWeights(
                f"{self.path}: a TFLite model of another network: it has {len(connected)} fully connected weights, "
                f"expected {len(LAYERS)}"
            )
        weights: dict[str, Array] = {}
        for layer, operator in zip(LAYERS, connected.values(), strict=True):
            matrix = graph.floats(operator.inputs[1], f"{layer}'s weights").T  # [inputs, outputs]
            has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
            zeros = np.zeros(matrix.shape[1], np.float32)
            bias = graph.floats(operator.inputs[2], f"{layer}'s bias") if has_bias else zeros
            names = (KERNEL, BIAS) if layer == "lstm" else (f"{layer}/weights", f"{layer}/bias")
            weights |= zip(names, (matrix, bias), strict=True)
        return weights


class _Tensor:
    """A tensor: its name, type, shape and which buffer holds its value."""

    def __init__(self, table: Table) -> None:
        self.shape = tuple(table.integers(0))
        self.type = table.integer(1, "<b")
        self.buffer = table.integer(2, "<I")
        self.name = bytes(table.data(3)).decode("utf-8", "replace").split(":")[0]
        if (quantization := table.table(4)) is not None:  # not needed, but the interpreter reads it: it must be there
            for field in (0, 1, 2):
                quantization.numbers(field, "f")
            quantization.numbers(3, "q")


class _OperatorTable:
    """An operator: its kind, and the tensors that it takes and makes."""

    def __init__(self, table: Table) -> None:
        self.code = table.integer(0, "<I")
        self.inputs = table.integers(1)
        self.outputs = table.integers(2)
        table.table(4)  # of builtin operators, their options
        table.data(5)  # of custom ones


class _Subgraph:
    """The first subgraph of a file."""

    def __init__(self, data: Bytes, where: str) -> None:
        self.where = where
        model = Table.root(data)
        self._codes = model.tables(1, _builtin_code)
        self._buffers = model.tables(4, lambda buffer: buffer.data(0))
        subgraph = model.tables(2, lambda table: table)[0]
        self.tensors = subgraph.tables(0, _Tensor)
        self.inputs, self.outputs = subgraph.integers(1), subgraph.integers(2)
        self.operators = subgraph.tables(3, _OperatorTable)
        self._check_references()

    def _check_references(self) -> None:
        """Raise IndexError where something refers to what is not there."""
        for operator in self.operators:
            self._codes[operator.code]
        between = [number for operator in self.operators for number in operator.inputs + operator.outputs]
        for number in (*self.inputs, *self.outputs, *between):
            self.tensors[max(number, 0)]  # below 0: left out
        for tensor in self.tensors:
            self._buffers[tensor.buffer]

    def check_ends(self) -> None:
        """Raise InputError unless it takes and gives what the clients feed and read."""
        takes = {self.tensors[number].name for number in self.inputs}
        gives = {self.tensors[number].name for number in self.outputs}
        missing = [name for name in INPUTS if name not in takes]
        missing += [name for name in (*OUTPUTS, *REQUIRED_METADATA) if name not in gives]
        if missing:
            raise InputError(
                f"{self.where}: it has no {missing[0]}: expected a model for the clients of DeepSpeech or Coqui STT"
            )

    def named(self, name: str) -> _Tensor:
        """An input or output by its name."""
        return next(self.tensors[n] for n in (*self.inputs, *self.outputs) if self.tensors[n].name == name)

    def of_kind(self, kind: int) -> list[_OperatorTable]:
        """The operators of a builtin kind, in order of execution."""
        return [operator for operator in self.operators if self._codes[operator.code] == kind]

    @property
    def is_normalised(self) -> bool:
        """Whether its layers are normalised: the weights of that are folded into others."""
        return bool(self.of_kind(_MEAN) or self.of_kind(_RSQRT))

    def relu_clip(self) -> float:
        """The limit of the clipped activations: the constant input of the first MINIMUM."""
        limits = (self._content(number) for operator in self.of_kind(_MINIMUM) for number in operator.inputs)
        clips = [struct.unpack("<f", limit)[0] for limit in limits if len(limit) == 4]
        return clips[0] if clips else Geometry.relu_clip

    def floats(self, number: int, what: str) -> Array:
        """A float32 constant. Raises NoFloatWeights if it is none."""
        tensor, content = self.tensors[number], self._content(number)
        if tensor.type != _FLOAT32:
            kind = _TYPE_NAMES.get(tensor.type, f"type {tensor.type}")
            raise NoFloatWeights(
                f"{self.where}: a quantized TFLite model ({what} is {kind}): expected float32 weights; "
                "convert the frozen graph (.pb) or the checkpoint that it was made of"
            )
        if not len(content):
            raise NoFloatWeights(f"{self.where}: {what} is not a constant: convert the frozen graph (.pb) instead")
        try:
            return np.frombuffer(content, "<f4").reshape(tensor.shape)
        except ValueError as error:
            raise InputError(f"{self.where}: {what}: {error}: the file is damaged: export it again") from error

    def metadata(self, name: str) -> Any:
        """The value of a metadata tensor, a number or a string; None if it holds neither."""
        tensor = next(tensor for tensor in self.tensors if tensor.name == name)
        if tensor.type == _STRING:
            return plain(self.string(name))
        content = self._constant(name)
        return struct.unpack("<i", content)[0] if tensor.type == _INT32 and len(content) == 4 else None

    def string(self, name: str) -> bytes:
        """The only string of a tensor: its count, begin and end are in front. Raises InputError if there is none."""
        content = self._constant(name)
        try:
            return content[slice(*struct.unpack_from("<2i", content, 4))]
        except struct.error as error:
            raise InputError(f"{self.where}: {name} holds no string: the file is damaged: export it again") from error

    def _constant(self, name: str) -> bytes:
        """The bytes behind a tensor: its own, or those of the constant that is copied to it."""
        number = next(n for n, tensor in enumerate(self.tensors) if tensor.name == name)
        sources = (operator.inputs[0] for operator in self.operators if number in operator.outputs and operator.inputs)
        return next((bytes(self._content(n)) for n in (number, *sources) if len(self._content(n))), b"")

    def _content(self, number: int) -> Bytes:
        """The bytes of a constant; empty for what is computed."""
        return self._buffers[self.tensors[number].buffer]


def _builtin_code(code: Table) -> int:
    code.data(1)  # of a custom operator, its name
    return max(code.integer(0, "<b"), code.integer(3))
