"""The vocabulary of a scorer: a deterministic automaton over labels, stored as an OpenFst `ConstFst`.

Label = alphabet label + 1 (in bytes mode that is the byte's value); every word ends with the space's label, except in
bytes mode. Layout (OpenFst, fst type `const`, arc type `standard`, little-endian): header; padding to a multiple
of 16 bytes of the file; states of 20 bytes; padding; arcs of 16 bytes.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.errors import InputError

_MAGIC = 2125659606
_TAIL = struct.Struct("<iiQqqq")  # version, flags, properties, start state, states, arcs
_ALIGNED_VERSION, _PLAIN_VERSION = 1, 2
_HAS_SYMBOLS, _IS_ALIGNED = 1 | 2, 4
_STATE = np.dtype(
    [("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("input_epsilons", "<u4"), ("output_epsilons", "<u4")]
)
_ARC = np.dtype([("label", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("target", "<i4")])
_ALIGNMENT = 16

# OpenFst's property bits of what is written here. Clients trust them: without "sorted" they refuse to match labels.
_PROPERTIES = (
    1  # expanded
    | 0x10000  # acceptor
    | 0x40000  # deterministic by input
    | 0x100000  # deterministic by output
    | 0x800000  # no epsilons
    | 0x2000000  # no input epsilons
    | 0x8000000  # no output epsilons
    | 0x10000000  # input labels sorted
    | 0x40000000  # output labels sorted
    | 0x200000000  # unweighted
    | 0x800000000  # acyclic
    | 0x2000000000  # acyclic at the start state
    | 0x4000000000  # states in topological order
    | 0x10000000000  # every state reachable
    | 0x40000000000  # every state able to end
    | 0x800000000000  # no weighted cycles
)


@dataclass(frozen=True)
class Dictionary:
    """States and their arcs, as arrays: the arcs of state s are `first_arc[s]:first_arc[s + 1]`."""

    start: int
    first_arc: np.ndarray  # uint32 [states + 1]
    labels: np.ndarray  # uint16 [arcs], ascending within a state; the alphabet's label + 1
    targets: np.ndarray  # uint32 [arcs]
    final: np.ndarray  # bool [states]

    def __len__(self) -> int:
        return len(self.final)

    def words(self, limit: int) -> list[list[int]]:
        """Up to `limit` words as label sequences, in the order of the labels."""
        words: list[list[int]] = []
        path: list[int] = []  # arcs from the start
        arc = int(self.first_arc[self.start])
        ends = [int(self.first_arc[self.start + 1])]  # behind the last arc of each state on the path
        for _ in range(100 * limit):  # a damaged automaton may have cycles, and words without end
            if len(words) == limit:
                break
            if arc == ends[-1]:
                ends.pop()
                if not path:
                    break
                arc = path.pop() + 1
                continue
            path.append(arc)
            target = int(self.targets[arc])
            if self.final[target]:
                words.append([int(self.labels[step]) for step in path])
            arc = int(self.first_arc[target])
            ends.append(int(self.first_arc[target + 1]))
        return words


def read_dictionary(data: np.ndarray, offset: int, where: str | Path) -> Dictionary:
    """The automaton that starts at byte `offset` of a scorer file; raises InputError unless all of it is sound."""

    def damaged(what: str) -> InputError:
        return InputError(f"{where}: damaged vocabulary: {what}; build the scorer again")

    def take(at: int, size: int) -> bytes:
        if at + size > len(data):
            raise InputError(
                f"{where}: truncated: its vocabulary needs {at + size} bytes, the file has {len(data)}; copy it again"
            )
        return data[at : at + size].tobytes()

    (magic,) = struct.unpack("<i", take(offset, 4))
    if magic != _MAGIC:
        raise damaged("not an OpenFst automaton")
    position = offset + 4
    for expected in (b"const", b"standard"):
        (length,) = struct.unpack("<i", take(position, 4))
        name = take(position + 4, length) if 0 <= length <= 64 else b"?"
        if name != expected:
            raise damaged(f"OpenFst type {name!r}, expected {expected!r}")
        position += 4 + length
    version, flags, _, start, n_states, n_arcs = _TAIL.unpack(take(position, _TAIL.size))
    position += _TAIL.size
    if version not in (_ALIGNED_VERSION, _PLAIN_VERSION) or flags & _HAS_SYMBOLS:
        raise damaged(f"automaton version {version} with flags {flags}")
    if not (0 <= start < n_states < 1 << 32 and 0 <= n_arcs < 1 << 32):
        raise damaged(f"{n_states} states from {start}, {n_arcs} arcs")
    alignment = _ALIGNMENT if version == _ALIGNED_VERSION or flags & _IS_ALIGNED else 1
    position += -position % alignment
    states = np.frombuffer(take(position, n_states * _STATE.itemsize), _STATE)
    position += n_states * _STATE.itemsize
    position += -position % alignment
    arcs = np.frombuffer(take(position, n_arcs * _ARC.itemsize), _ARC)
    problem = _problem(states, arcs)
    if problem:
        raise damaged(problem)
    first_arc = np.append(states["first"], np.uint32(n_arcs)).astype(np.uint32)
    return Dictionary(
        int(start),
        first_arc,
        arcs["label"].astype(np.uint16),
        arcs["target"].astype(np.uint32),
        np.isfinite(states["final"]),
    )


def _problem(states: np.ndarray, arcs: np.ndarray) -> str:
    """What makes the arrays unusable, or nothing."""
    ends = states["first"].astype(np.int64) + states["arcs"]
    if states["first"][0] != 0 or np.any(ends[:-1] != states["first"][1:]) or ends[-1] != len(arcs):
        return "the states' arcs do not follow each other"
    if not len(arcs):
        return "it has no words"
    if np.any((arcs["target"] < 0) | (arcs["target"] >= len(states))):
        return "an arc leads to a state that does not exist"
    if np.any((arcs["label"] <= 0) | (arcs["label"] > 0xFFFF)):
        return "a label is out of range"
    inside = np.ones(len(arcs), bool)  # arcs whose predecessor belongs to the same state
    starts = states["first"][states["arcs"] > 0]
    inside[starts] = False
    if np.any(inside[1:] & (arcs["label"][1:] <= arcs["label"][:-1])):
        return "the labels of a state are not in ascending order"
    if np.any(np.isnan(states["final"])):
        return "a final weight is not a number"
    return ""


def serialize(dictionary: Dictionary, offset: int) -> bytes:
    """The stored form, for byte `offset` of a file (the padding depends on it)."""
    n_arcs = np.diff(dictionary.first_arc).astype(np.uint32)
    header = struct.pack("<i", _MAGIC)
    for name in (b"const", b"standard"):
        header += struct.pack("<i", len(name)) + name
    header += _TAIL.pack(
        _ALIGNED_VERSION, _IS_ALIGNED, _PROPERTIES, dictionary.start, len(dictionary), len(dictionary.labels)
    )
    header += bytes(-(offset + len(header)) % _ALIGNMENT)
    states = np.zeros(len(dictionary), _STATE)
    states["final"] = np.where(dictionary.final, np.float32(0), np.float32(np.inf))
    states["first"] = dictionary.first_arc[:-1]
    states["arcs"] = n_arcs
    arcs = np.zeros(len(dictionary.labels), _ARC)
    arcs["label"] = arcs["output"] = dictionary.labels
    arcs["target"] = dictionary.targets
    body = states.tobytes()
    body += bytes(-(offset + len(header) + len(body)) % _ALIGNMENT)
    return header + body + arcs.tobytes()


def build_dictionary(words: Iterable[Sequence[int]]) -> Dictionary:
    """The smallest automaton that accepts exactly `words`, given as sequences of labels + 1.

    The words are added in sorted order and every finished branch is merged with an equal one (Daciuk et al., 2000,
    "Incremental construction of minimal acyclic finite-state automata").
    """
    ordered = sorted({tuple(word) for word in words if word})
    register: dict[tuple[tuple[int, ...], bool], int] = {}
    numbered: list[tuple[tuple[int, ...], bool]] = []  # arcs as label, target, label, target, ...; whether a word ends

    def freeze(arcs: list[int], final: bool) -> int:
        key = (tuple(arcs), final)
        state = register.get(key)
        if state is None:
            state = register[key] = len(numbered)
            numbered.append(key)
        return state

    # The path of the last word: arcs of each of its states so far, and whether a word ends there.
    arcs: list[list[int]] = [[]]
    final: list[bool] = [False]
    previous: tuple[int, ...] = ()

    def close(depth: int) -> None:
        while len(arcs) > depth + 1:
            state = freeze(arcs.pop(), final.pop())
            arcs[-1] += (previous[len(arcs) - 1], state)

    for word in ordered:
        shared = 0
        for old, new in zip(previous, word, strict=False):
            if old != new:
                break
            shared += 1
        close(shared)
        for _ in word[shared:]:
            arcs.append([])
            final.append(False)
        final[-1] = True
        previous = word
    close(0)
    freeze(arcs[0], final[0])
    return _from_numbered(numbered)


def _from_numbered(numbered: list[tuple[tuple[int, ...], bool]]) -> Dictionary:
    """Arrays with the start state first: states were numbered when finished, the start last, so count backwards."""
    last = len(numbered) - 1
    counts = np.fromiter((len(arcs) // 2 for arcs, _ in reversed(numbered)), np.int64, len(numbered))
    total = int(counts.sum())
    flat = np.fromiter((value for arcs, _ in reversed(numbered) for value in arcs), np.int64, 2 * total)
    return Dictionary(
        0,
        np.concatenate(([0], np.cumsum(counts))).astype(np.uint32),
        flat[0::2].astype(np.uint16),
        (last - flat[1::2]).astype(np.uint32),
        np.fromiter((final for _, final in reversed(numbered)), bool, len(numbered)),
    )
