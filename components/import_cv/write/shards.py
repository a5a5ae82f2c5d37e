"""Tar shards of WAV clips, of each set its own.

The clips of a release come in windows of a fixed size, in the source's order. Of each window, the clips of each set
make one shard. A clip belongs to the set of its first row, so that who needs one set need not fetch the others.
"""

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.import_cv.convert.work import Outcome
from speech.artifacts import ALL_SETS, Corpus

FULL_WINDOW_CLIPS = 6000  # about 1 GB of Common Voice's clips
SMALL_WINDOW_CLIPS = 128
WINDOWS_OF_A_SMALL_CORPUS = 16
TAR_RECORD_BYTES = 10240  # tar ends with two empty blocks and fills its last record


def clips_a_window(setting: int, clips: int) -> int:
    """How many clips of the plan a window holds.

    It depends on the corpus alone, never on workers or partitions, so that each of them makes the same shards.
    """
    if setting:
        return setting
    return min(FULL_WINDOW_CLIPS, max(SMALL_WINDOW_CLIPS, -(-clips // WINDOWS_OF_A_SMALL_CORPUS)))


def shard_number(window: int, set_name: str) -> int:
    """The number of the shard that holds a window's clips of a set."""
    return window * len(ALL_SETS) + ALL_SETS.index(set_name)


def shard_name(number: int) -> str:
    """The name of a shard in a corpus."""
    window, code = divmod(number, len(ALL_SETS))
    return f"{Corpus.SHARDS}/{ALL_SETS[code]}-{window:05d}.tar"


def own_windows(part: int, parts: int, count: int) -> range:
    """The windows that the `part`-th (from 1) of `parts` partitions imports, of `count` in all."""
    return range((part - 1) * count // parts, part * count // parts)


class Piece(NamedTuple):
    """What was appended to a shard at once."""

    shard: int
    end: int  # of it in the file, bytes
    checksum: int


@dataclass
class _OpenShard:
    file: int
    size: int


class ShardWriter:
    """Appends members to the shards of one window after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.window = -1
        self._open: dict[int, _OpenShard] = {}

    def open(self, window: int, sizes: Mapping[int, int] | None = None) -> None:
        """Begin a window, or go on with its shards behind their first bytes (shard -> size)."""
        self.window = window
        for number, size in (sizes or {}).items():
            self._shard(number, size)

    def _shard(self, number: int, size: int = 0) -> _OpenShard:
        if number not in self._open:
            path = self.folder / shard_name(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(file, size)
            os.lseek(file, size, os.SEEK_SET)
            self._open[number] = _OpenShard(file, size)
        return self._open[number]

    def append(self, outcomes: Sequence[Outcome], shards: Sequence[int]) -> tuple[list[int], list[Piece]]:
        """Append each outcome's member to its shard; returns where each WAV file begins, and what was written."""
        offsets = [0] * len(outcomes)
        pieces = []
        for number in sorted({shard for outcome, shard in zip(outcomes, shards, strict=True) if outcome.member}):
            shard, members, checksum = self._shard(number), [], 0
            position = shard.size
            for i, outcome in enumerate(outcomes):
                if outcome.member and shards[i] == number:
                    offsets[i] = position + outcome.header_bytes
                    members.append(outcome.member)
                    checksum = zlib.crc32(outcome.member, checksum)
                    position += len(outcome.member)
            _write(shard.file, members)
            shard.size = position
            pieces.append(Piece(number, position, checksum))
        return offsets, pieces

    def finish(self) -> None:
        """Complete the shards of the window at hand and make them survive a power cut."""
        for shard in self._open.values():
            end = shard.size + 1024
            _write(shard.file, [b"\0" * (end + -end % TAR_RECORD_BYTES - shard.size)])
            os.fdatasync(shard.file) if hasattr(os, "fdatasync") else os.fsync(shard.file)
        self.close()
        self.window = -1

    def close(self) -> None:
        """Leave the shards at hand unfinished."""
        for shard in self._open.values():
            os.close(shard.file)
        self._open.clear()


def _write(file: int, members: list[bytes]) -> None:
    total = sum(map(len, members))
    written = os.writev(file, members)
    if written < total:  # a signal or a full disk: the rest, or the error
        unwritten = memoryview(b"".join(members))[written:]
        while unwritten:
            unwritten = unwritten[os.write(file, unwritten) :]


def checksums_match(path: Path, pieces: Sequence[Piece]) -> int:
    """How many of the pieces of one shard, from the first on, the file holds undamaged."""
    position = 0
    try:
        with path.open("rb") as file:
            for count, piece in enumerate(pieces):
                data = file.read(piece.end - position)
                if len(data) != piece.end - position or zlib.crc32(data) != piece.checksum:
                    return count
                position = piece.end
    except OSError:
        return 0
    return len(pieces)
