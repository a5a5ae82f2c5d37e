"""A TFLite file, written table by table with FlatBuffers alone: no converter, so the file is what was asked for.

Fields are told apart by their position. Source: the schema of TensorFlow Lite (schema.fbs, version 3), of which only
what the runtimes of 2020 know is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers

from speech.storage.files import atomic_path

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
BUFFER_ALIGNMENT = 16  # bytes; runtimes read tensors in place
ROOM_BYTES = 1 << 20  # beside the tensors' content; more is made when needed, by copying everything


class TensorType(IntEnum):
    """Element types."""

    FLOAT32 = 0
    INT32 = 2
    STRING = 5
    INT8 = 9


class Op(IntEnum):
    """Operators."""

    ADD = 0
    CONCATENATION = 2
    FULLY_CONNECTED = 9
    LOGISTIC = 14
    MUL = 18
    RESHAPE = 22
    SOFTMAX = 25
    TANH = 28
    CUSTOM = 32
    MEAN = 40
    SUB = 41
    SPLIT = 49
    MINIMUM = 57
    RSQRT = 76
    SQUARED_DIFFERENCE = 99


class Number(NamedTuple):
    """A number in a table; `kind` as FlatBuffers names it, e.g. `Int32`."""

    kind: str
    value: float


class Options(NamedTuple):
    """What an operator is told besides its inputs: the number of its kind of options, and their fields in order."""

    table: int
    fields: Sequence[Number | Sequence[int]]


@dataclass(frozen=True)
class Tensor:
    """A tensor; without content it is computed. `scale` is what one step of an int8 content stands for."""

    name: str
    shape: tuple[int, ...]
    kind: TensorType = TensorType.FLOAT32
    content: np.ndarray | bytes | None = None
    scale: float = 0.0


class _Code(NamedTuple):
    op: Op
    custom: str
    version: int


class _Operator(NamedTuple):
    code: _Code
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: Options | None
    custom_options: bytes


@dataclass
class TfliteWriter:
    """One graph: tensors are numbered in the order in which they are added, operators run in theirs."""

    tensors: list[Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)

    def tensor(self, tensor: Tensor) -> int:
        """Add a tensor; returns its number."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(
        self, op: Op, inputs: Sequence[int], outputs: Sequence[int], options: Options | None = None, version: int = 1
    ) -> None:
        """Add a builtin operator."""
        self.operators.append(_Operator(_Code(op, "", version), inputs, outputs, options, b""))

    def custom_operator(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Mapping[str, float]
    ) -> None:
        """Add an operator that runtimes know by its name."""
        flexible = bytes(flexbuffers.Dumps(dict(options)))
        self.operators.append(_Operator(_Code(Op.CUSTOM, name, 1), inputs, outputs, None, flexible))

    def write(self, path: Path, inputs: Sequence[int], outputs: Sequence[int], description: str) -> None:
        """Write the file atomically; `inputs` and `outputs` are what clients see, in this order."""
        content_bytes = sum(_size(tensor.content) for tensor in self.tensors)
        tables = _Tables(content_bytes + ROOM_BYTES)
        data = tables.finish(self._model(tables, inputs, outputs, description))
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(data)

    def _model(self, tables: "_Tables", inputs: Sequence[int], outputs: Sequence[int], description: str) -> int:
        buffers = [tables.table([])]  # the first one is empty by convention: that of whatever is computed
        tensors = []
        for tensor in self.tensors:
            buffer = 0
            if tensor.content is not None:
                buffer = len(buffers)
                buffers.append(tables.table([tables.data(_bytes(tensor.content))]))
            tensors.append(_tensor(tables, tensor, buffer))
        codes = list(dict.fromkeys(operator.code for operator in self.operators))
        operators = [_operator(tables, operator, codes.index(operator.code)) for operator in self.operators]
        graph = [
            tables.offsets(tensors),
            tables.integers(inputs),
            tables.integers(outputs),
            tables.offsets(operators),
            tables.text("main"),
        ]
        return tables.table(
            [
                Number("Uint32", SCHEMA_VERSION),
                tables.offsets([_code(tables, code) for code in codes]),
                tables.offsets([tables.table(graph)]),
                tables.text(description),
                tables.offsets(buffers),
            ]
        )


def _size(content: np.ndarray | bytes | None) -> int:
    if content is None:
        return 0
    return content.nbytes if isinstance(content, np.ndarray) else len(content)


def _bytes(content: np.ndarray | bytes) -> bytes:
    return content.tobytes() if isinstance(content, np.ndarray) else content


def _tensor(tables: "_Tables", tensor: Tensor, buffer: int) -> int:
    quantization = None
    if tensor.scale:
        scale, zero_point = tables.array(np.array([tensor.scale], "<f4")), tables.array(np.array([0], "<i8"))
        quantization = tables.table([None, None, scale, zero_point])
    shape, name = tables.integers(tensor.shape), tables.text(tensor.name)
    return tables.table([shape, Number("Int8", tensor.kind), Number("Uint32", buffer), name, quantization])


def _code(tables: "_Tables", code: _Code) -> int:
    """An operator's kind, at the place where runtimes of 2020 look for it and at today's."""
    custom = tables.text(code.custom) if code.custom else None
    return tables.table([Number("Int8", code.op), custom, Number("Int32", code.version), Number("Int32", code.op)])


def _operator(tables: "_Tables", operator: _Operator, code: int) -> int:
    kind, options = None, None
    if operator.options:
        kind = Number("Uint8", operator.options.table)
        values = operator.options.fields
        options = tables.table([value if isinstance(value, Number) else tables.integers(value) for value in values])
    custom = tables.data(operator.custom_options) if operator.custom_options else None
    inputs, outputs = tables.integers(operator.inputs), tables.integers(operator.outputs)
    return tables.table([Number("Uint32", code), inputs, outputs, kind, options, custom])


class _Tables:
    """FlatBuffers' builder in terms of whole tables and vectors; what is made is referred to by its offset."""

    def __init__(self, expected_bytes: int) -> None:
        self._builder = flatbuffers.Builder(expected_bytes)

    def table(self, fields: Sequence[Number | int | None]) -> int:
        """A table of these fields: numbers, offsets of what was made before, or None for what is left out."""
        builder = self._builder
        builder.StartObject(len(fields))
        for position, value in enumerate(fields):
            if isinstance(value, Number):
                getattr(builder, f"Prepend{value.kind}Slot")(position, value.value, 0)
            elif value is not None:
                builder.PrependUOffsetTRelativeSlot(position, value, 0)
        return builder.EndObject()

    def text(self, text: str) -> int:
        """A string."""
        return self._builder.CreateString(text)

    def array(self, values: np.ndarray) -> int:
        """A vector of numbers."""
        return self._builder.CreateNumpyVector(values)

    def integers(self, values: Sequence[int]) -> int:
        """A vector of int32."""
        return self.array(np.array(values, "<i4"))

    def data(self, content: bytes) -> int:
        """A vector of bytes that begins at a multiple of `BUFFER_ALIGNMENT`."""
        self._builder.Prep(BUFFER_ALIGNMENT, len(content))
        return self._builder.CreateByteVector(content)

    def offsets(self, values: Sequence[int]) -> int:
        """A vector of tables."""
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependUOffsetTRelative(value)
        return self._builder.EndVector()

    def finish(self, root: int) -> memoryview:
        """The whole file, whose first table is `root`."""
        self._builder.Finish(root, IDENTIFIER)
        return memoryview(self._builder.Bytes)[self._builder.Head() :]
