"""An ONNX file, written field by field: weights go into the file without being copied, and no package is needed.

Source: onnx.proto of ONNX, IR version 8; field numbers are its.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from speech.model_files.wire import FIXED32, VARINT, Bytes, delimited, varint
from speech.storage.files import atomic_path

IR_VERSION = 8
OPSET = 17  # the first with LayerNormalization
ELEMENT_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}
FLOAT, INT, INTS = 1, 2, 7  # types of attributes

Attribute = float | int | Sequence[int]
Shape = Sequence[int | str]  # a name stands for a size that is known at run time


@dataclass
class OnnxFile:
    """A graph: nodes in the order in which they run, constants, inputs and outputs."""

    producer: str
    metadata: Mapping[str, str]
    _nodes: list[list[Bytes]] = field(default_factory=list)
    _constants: list[list[Bytes]] = field(default_factory=list)
    _ends: list[list[Bytes]] = field(default_factory=list)

    def node(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Attribute) -> str:
        """Add an operator; an input that is left out is "". Returns the first output."""
        parts = _texts(1, inputs) + _texts(2, outputs) + _text(3, outputs[0]) + _text(4, op)
        for name, value in attributes.items():
            parts += delimited(5, _attribute(name, value))
        self._nodes.append(delimited(1, parts))
        return outputs[0]

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a float32 or int64 constant; returns its name."""
        parts: list[Bytes] = [_number(1, size) for size in value.shape]
        parts += [_number(2, ELEMENT_TYPES[value.dtype]), *_text(8, name)]
        parts += delimited(9, [np.ascontiguousarray(value).reshape(-1).view(np.uint8).data])
        self._constants.append(delimited(5, parts))
        return name

    def input(self, name: str, shape: Shape) -> str:
        """Declare a float32 input; returns its name."""
        self._ends.append(delimited(11, _float_value(name, shape)))
        return name

    def output(self, name: str, shape: Shape) -> None:
        """Declare a float32 output."""
        self._ends.append(delimited(12, _float_value(name, shape)))

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        graph = [*chain(*self._nodes), *_text(2, "main"), *chain(*self._constants), *chain(*self._ends)]
        parts = [_number(1, IR_VERSION), *_text(2, self.producer), *delimited(7, graph)]
        parts += delimited(8, [_number(2, OPSET)])
        for key, value in self.metadata.items():
            parts += delimited(14, _text(1, key) + _text(2, value))
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.writelines(parts)


def _number(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value & 0xFFFF_FFFF_FFFF_FFFF)


def _text(number: int, text: str) -> list[Bytes]:
    return delimited(number, [text.encode("utf-8")])


def _texts(number: int, texts: Sequence[str]) -> list[Bytes]:
    return [part for text in texts for part in _text(number, text)]


def _attribute(name: str, value: Attribute) -> list[Bytes]:
    parts = _text(1, name)
    if isinstance(value, float):
        return [*parts, varint(2 << 3 | FIXED32), struct.pack("<f", value), _number(20, FLOAT)]
    if isinstance(value, int):
        return [*parts, _number(3, value), _number(20, INT)]
    return [*parts, *(_number(8, item) for item in value), _number(20, INTS)]


def _float_value(name: str, shape: Shape) -> list[Bytes]:
    sizes: list[Bytes] = []
    for size in shape:
        sizes += delimited(1, _text(2, size) if isinstance(size, str) else [_number(1, size)])
    tensor = [_number(1, ELEMENT_TYPES[np.dtype(np.float32)]), *delimited(2, sizes)]
    return [*_text(1, name), *delimited(2, delimited(1, tensor))]
