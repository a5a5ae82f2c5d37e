"""The vocabulary's automaton: exact, minimal, and in OpenFst's format."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.decoding.dictionary import Dictionary, build_dictionary, read_dictionary, serialize
from speech.errors import InputError

WORDS = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=6), min_size=1, max_size=30)


def accepted(dictionary: Dictionary) -> list[tuple[int, ...]]:
    return [tuple(word) for word in dictionary.words(1000)]


def languages(dictionary: Dictionary) -> set[frozenset[tuple[int, ...]]]:
    """What each state accepts from there on; equal ones could be merged."""

    def suffixes(state: int) -> frozenset[tuple[int, ...]]:
        found = {()} if dictionary.final[state] else set()
        for arc in range(dictionary.first_arc[state], dictionary.first_arc[state + 1]):
            found |= {(int(dictionary.labels[arc]), *rest) for rest in suffixes(int(dictionary.targets[arc]))}
        return frozenset(found)

    return {suffixes(state) for state in range(len(dictionary))}


@given(WORDS)
@settings(max_examples=150, deadline=None)
def test_exactly_these_words_and_no_state_too_many(words: list[list[int]]) -> None:
    dictionary = build_dictionary(words)
    assert accepted(dictionary) == sorted({tuple(word) for word in words})
    assert len(languages(dictionary)) == len(dictionary)


@given(WORDS, st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_stored_form(words: list[list[int]], offset: int) -> None:
    """What is read is what was written, at any offset; states and arcs lie on multiples of 16 bytes of the file."""
    dictionary = build_dictionary(words)
    stored = serialize(dictionary, offset)
    data = np.frombuffer(bytes(offset) + stored, np.uint8)
    again = read_dictionary(data, offset, "file")
    assert accepted(again) == accepted(dictionary)
    assert len(again) == len(dictionary)
    states = -(-(offset + 65) // 16) * 16
    arcs = -(-(states + 20 * len(dictionary)) // 16) * 16
    assert len(data) == arcs + 16 * len(dictionary.labels)


def test_header_as_openfst_writes_it() -> None:
    """Sorted, deterministic, without epsilons: what a client's matcher demands of the properties."""
    stored = serialize(build_dictionary([[1, 2], [1, 3]]), 0)
    assert struct.unpack_from("<i", stored)[0] == 2125659606
    assert stored[4:25] == struct.pack("<i", 5) + b"const" + struct.pack("<i", 8) + b"standard"
    version, flags, properties, start, states, arcs = struct.unpack_from("<iiQqqq", stored, 25)
    assert (version, flags, start, states, arcs) == (1, 4, 0, 3, 3)
    for bit in (0x1, 0x10000, 0x40000, 0x800000, 0x10000000, 0x200000000, 0x800000000):
        assert properties & bit, hex(bit)


SMALL = build_dictionary([[1, 2, 5], [1, 3, 5], [2, 5], [4, 4, 4, 5]])
STORED = serialize(SMALL, 0)
STATES = 80  # where they begin
ARCS = STATES + -(-20 * len(SMALL) // 16) * 16


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (0, b"\0\0\0\0", "not an OpenFst automaton"),
        (8, b"xonst", "OpenFst type b'xonst'"),
        (4, struct.pack("<i", 1 << 30), "OpenFst type"),
        (25, struct.pack("<i", 9), "version 9"),
        (29, struct.pack("<i", 7), "flags 7"),
        (41, struct.pack("<q", -1), "states from -1"),
        (41, struct.pack("<q", 99), "states from 99"),
        (49, struct.pack("<q", 1 << 30), "truncated: its vocabulary needs"),
        (57, struct.pack("<q", 1 << 30), "truncated: its vocabulary needs"),
        (STATES + 4, struct.pack("<I", 3), "do not follow each other"),
        (STATES + 8, struct.pack("<I", 1 << 31), "do not follow each other"),
        (STATES, struct.pack("<f", float("nan")), "not a number"),
        (ARCS + 12, struct.pack("<i", 7), "does not exist"),
        (ARCS + 12, struct.pack("<i", -1), "does not exist"),
        (ARCS, struct.pack("<i", 0), "label is out of range"),
        (ARCS, struct.pack("<i", 1 << 17), "label is out of range"),
        (ARCS, struct.pack("<i", 2), "not in ascending order"),
    ],
)
def test_damages_are_named(offset: int, data: bytes, message: str) -> None:
    content = bytearray(STORED)
    content[offset : offset + len(data)] = data
    with pytest.raises(InputError, match=f"^file: .*{message}") as raised:
        read_dictionary(np.frombuffer(bytes(content), np.uint8), 0, "file")
    assert "\n" not in str(raised.value)


def test_every_truncation_is_named() -> None:
    for size in range(len(STORED)):
        with pytest.raises(InputError):
            read_dictionary(np.frombuffer(STORED[:size], np.uint8), 0, "file")


def test_cycles_end() -> None:
    """A damaged automaton may lead in circles; listing words stops all the same."""
    circle = Dictionary(0, np.array([0, 1, 2], np.uint32), np.array([1, 1], np.uint16), np.array([1, 0], np.uint32),
                        np.array([False, False]))  # fmt: skip
    assert circle.words(50) == []


def test_no_words() -> None:
    with pytest.raises(InputError, match="it has no words"):
        read_dictionary(np.frombuffer(serialize(build_dictionary([]), 0), np.uint8), 0, "file")
