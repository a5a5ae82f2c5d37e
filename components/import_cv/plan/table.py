"""Compact columns for millions of rows: no Python object a row."""

from array import array
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Texts:
    """An append-only list of strings, stored as one UTF-8 block and offsets."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("Q", [0])

    def append(self, text: str) -> int:
        """Store a string; returns its index."""
        self._data += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._data))
        return len(self._ends) - 2

    def __getitem__(self, index: int) -> str:
        return self._data[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def buffers(self) -> tuple[bytearray, array]:
        """The block and the offsets, for a digest."""
        return self._data, self._ends


class DistinctTexts(Texts):
    """Texts that can be found again: a hash table of their indices, 6 to 12 bytes a text, where a dict takes 180."""

    def __init__(self) -> None:
        super().__init__()
        self._slots = array("i", [-1]) * 64

    def append(self, text: str) -> int:
        """Store a string that is not there yet; returns its index."""
        index = super().append(text)
        if 3 * len(self) > 2 * len(self._slots):
            self._slots = array("i", [-1]) * (2 * len(self._slots))
            for known, other in enumerate(self):
                self._slots[self._slot(other)] = known
        else:
            self._slots[self._slot(text)] = index
        return index

    def find(self, text: str) -> int:
        """Its index; -1 if it is not there."""
        return self._slots[self._slot(text)]

    def _slot(self, text: str) -> int:
        """The slot that has the text, or the free one where it belongs."""
        mask, data, ends = len(self._slots) - 1, self._data, self._ends
        slot, encoded = hash(text) & mask, text.encode("utf-8", "surrogatepass")
        while (index := self._slots[slot]) >= 0 and data[ends[index] : ends[index + 1]] != encoded:
            slot = (slot + 1) & mask
        return slot


class Numbered(Generic[T]):
    """Values that repeat, such as speakers: each distinct one is stored once and has a number."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """The number of a value, given at its first appearance."""
        return self._numbers.setdefault(value, len(self._numbers))

    def all(self) -> list[T]:
        """The distinct values by number."""
        return list(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
