"""Tar shards of WAV clips."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from components.import_cv.work import Outcome
from speech.artifacts import Corpus

FULL_SHARD_CLIPS = 6000  # about 1 GB of Common Voice's clips
SMALL_SHARD_CLIPS = 128
SHARDS_OF_A_SMALL_CORPUS = 16
TAR_RECORD_BYTES = 10240  # tar ends with two empty blocks and fills its last record


def clips_a_shard(setting: int, clips: int) -> int:
    """How many clips of the plan a shard holds.

    It depends on the corpus alone, never on workers or partitions, so that each of them makes the same shards.
    """
    if setting:
        return setting
    return min(FULL_SHARD_CLIPS, max(SMALL_SHARD_CLIPS, -(-clips // SHARDS_OF_A_SMALL_CORPUS)))


def shard_name(number: int) -> str:
    """The name of a shard in a corpus."""
    return f"{Corpus.SHARDS}/clips-{number:05d}.tar"


def own_shards(part: int, parts: int, count: int) -> range:
    """The shards that the `part`-th (from 1) of `parts` partitions makes, of `count` in all."""
    return range((part - 1) * count // parts, part * count // parts)


class ShardWriter:
    """Appends members to one shard after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = -1
        self.size = 0
        self._file = -1

    def open(self, number: int, size: int = 0) -> None:
        """Go on with a shard behind its first `size` bytes."""
        path = self.folder / shard_name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        self.number, self.size = number, size

    def append(self, outcomes: Sequence[Outcome]) -> tuple[list[int], int]:
        """Append the members; returns where each WAV file begins, and a checksum of what was written."""
        offsets, members, checksum, position = [], [], 0, self.size
        for outcome in outcomes:
            offsets.append(position + outcome.header_bytes)
            if outcome.member:
                members.append(outcome.member)
                checksum = zlib.crc32(outcome.member, checksum)
                position += len(outcome.member)
        self._write(members)
        self.size = position
        return offsets, checksum

    def _write(self, members: list[bytes]) -> None:
        total, written = sum(map(len, members)), 0
        if members:
            written = os.writev(self._file, members)
        if written < total:  # a signal or a full disk: the rest, or the error
            rest = memoryview(b"".join(members))[written:]
            while rest:
                rest = rest[os.write(self._file, rest) :]

    def finish(self) -> None:
        """Complete the shard at hand and make it survive a power cut; a shard without a clip leaves no file."""
        if self._file < 0:
            return
        if self.size:
            end = self.size + 1024
            self._write([b"\0" * (end + -end % TAR_RECORD_BYTES - self.size)])
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)
        os.close(self._file)
        self._file = -1
        if not self.size:
            (self.folder / shard_name(self.number)).unlink()
        self.number = -1

    def close(self) -> None:
        """Leave the shard at hand unfinished."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def checksums_match(path: Path, pieces: Sequence[tuple[int, int]]) -> int:
    """How many of the pieces (end in the file, checksum), from the first on, the file holds undamaged."""
    position = 0
    try:
        with path.open("rb") as file:
            for count, (end, checksum) in enumerate(pieces):
                data = file.read(end - position)
                if len(data) != end - position or zlib.crc32(data) != checksum:
                    return count
                position = end
    except OSError:
        return 0
    return len(pieces)
