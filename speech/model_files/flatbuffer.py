"""Reading flatbuffers: tables by field position, vectors and strings. Source: FlatBuffers' internals document."""

import struct
from collections.abc import Callable
from typing import Any, TypeVar

from speech.wire import Bytes

T = TypeVar("T")


class Table:
    """A table in a buffer; its fields go by their position in the schema. Raises struct.error where data ends."""

    def __init__(self, data: Bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._fields = position - self._read("<i", position)

    @classmethod
    def root(cls, data: Bytes) -> "Table":
        """The table that the buffer begins with."""
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _read(self, kind: str, position: int) -> int:
        if position < 0:
            raise struct.error(f"position {position}")
        return struct.unpack_from(kind, self._data, position)[0]

    def _field(self, number: int) -> int:
        """Where field `number` lies; 0 if it is left out, which means its default."""
        entry = 4 + 2 * number
        if entry >= self._read("<H", self._fields):
            return 0
        offset = self._read("<H", self._fields + entry)
        return self._position + offset if offset else 0

    def integer(self, number: int, kind: str = "<i", default: int = 0) -> int:
        """A number of the struct type `kind`."""
        position = self._field(number)
        return self._read(kind, position) if position else default

    def _vector(self, number: int) -> tuple[int, int]:
        position = self._field(number)
        if not position:
            return 0, 0
        start = position + self._read("<I", position)
        return start + 4, self._read("<I", start)

    def data(self, number: int) -> Bytes:
        """A vector of bytes, or a string's bytes."""
        start, length = self._vector(number)
        if start + length > len(self._data):
            raise struct.error(f"{length} bytes at {start}")
        return self._data[start : start + length]

    def integers(self, number: int) -> list[int]:
        """A vector of int32."""
        return list(self.numbers(number, "i"))

    def numbers(self, number: int, kind: str) -> tuple[Any, ...]:
        """A vector of numbers of the struct type `kind`."""
        start, length = self._vector(number)
        if start + length * struct.calcsize(f"<{kind}") > len(self._data):
            raise struct.error(f"{length} numbers at {start}")
        return struct.unpack_from(f"<{length}{kind}", self._data, start)

    def table(self, number: int) -> "Table | None":
        """The table in a field; None if it is left out."""
        position = self._field(number)
        if not position:
            return None
        inner = Table(self._data, position + self._read("<I", position))
        inner._read("<H", inner._fields)
        return inner

    def tables(self, number: int, make: "Callable[[Table], T]") -> list[T]:
        """A vector of tables, each wrapped by `make`."""
        start, length = self._vector(number)
        positions = range(start, start + 4 * length, 4)
        return [make(Table(self._data, position + self._read("<I", position))) for position in positions]
