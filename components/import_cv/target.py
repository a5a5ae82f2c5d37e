"""The folder that an import writes, and how finished work is put in place there."""

import csv
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.import_cv.outcomes import NO_SHARD, Outcomes
from components.import_cv.plan import wav_name
from components.import_cv.reasons import Reason
from components.import_cv.shards import SHARD, shard_name
from speech.artifacts import ALL_SETS, Corpus
from speech.audio import WAV_HEADER_BYTES
from speech.errors import InputError
from speech.manifest import COLUMNS
from speech.storage import fsync_folder


class Sources(Protocol):
    """The path of each clip in the release, by clip number."""

    def __getitem__(self, clip: int, /) -> str: ...

    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True)
class Target:
    """The folder of a corpus and the names in it."""

    folder: Path
    clip_prefix: str = f"{Corpus.CLIPS}/"  # "" where WAV files lie beside the CSVs, as the peers' importer leaves them

    @property
    def staging(self) -> Path:
        """Unfinished work; it stays after an interruption."""
        return self.folder / ".import"

    @property
    def staged_tables(self) -> Path:
        """CSVs and reports, before they are put in place."""
        return self.staging / "tables"

    @property
    def staged_clips(self) -> Path:
        """WAV files, before they are put in place."""
        return self.staging / "wav"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other imports out of the folder; what was made for nothing is removed again.

        Raises InputError if another import is at work, or if the folder cannot be written.
        """
        made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.staging.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.staging / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InputError(f"{self.folder}: {error.strerror}: expected a folder that can be written") from error
        try:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: forked workers would hold it too
            except OSError as error:
                raise InputError(f"{self.folder}: another import is writing there: wait until it has ended") from error
            try:
                yield
            except InputError:
                self.discard()
                for path in made:
                    if path.is_dir() and not any(path.iterdir()):
                        path.rmdir()
                raise
        finally:
            os.close(lock)

    def discard(self) -> None:
        """Remove all unfinished work."""
        shutil.rmtree(self.staging, ignore_errors=True)

    def clear(self) -> None:
        """Remove what an import of something else has staged."""
        for folder in (self.staging / Corpus.SHARDS, self.staged_clips, self.staged_tables):
            shutil.rmtree(folder, ignore_errors=True)

    def has_audio(self, source: str, samples: int, shard: int) -> bool:
        """Whether a clip's shard or WAV file is there, staged or in place already."""
        if shard != NO_SHARD:
            return any((folder / shard_name(shard)).is_file() for folder in (self.staging, self.folder))
        wav, size = wav_name(source), WAV_HEADER_BYTES + 2 * samples
        return any(_size(path) == size for path in (self.staged_clips / wav, self.folder / f"{self.clip_prefix}{wav}"))

    def publish_audio(self, sources: Sources, outcomes: Outcomes) -> None:
        """Put shards or WAV files in place, and remove those of an earlier corpus. Safe to repeat."""
        (self.folder / Corpus.REPORT).unlink(missing_ok=True)
        shards = {shard_name(shard) for shard in set(outcomes.shards) - {NO_SHARD}}
        for name in sorted(shards):
            _move(self.staging / name, self.folder / name)
        for path in (self.folder / Corpus.SHARDS).glob("*.tar"):
            if SHARD.fullmatch(path.name) and f"{Corpus.SHARDS}/{path.name}" not in shards:
                path.unlink()
        wavs = {
            wav_name(sources[clip])
            for clip, shard in enumerate(outcomes.shards)
            if shard == NO_SHARD and outcomes.reasons[clip] == Reason.ACCEPTED
        }
        for wav in sorted(wavs):
            _move(self.staged_clips / wav, self.folder / f"{self.clip_prefix}{wav}")
        for wav in self._indexed_wavs():
            if wav not in wavs:
                (self.folder / f"{self.clip_prefix}{wav}").unlink(missing_ok=True)
        if wavs:
            os.sync()  # one call for all the small files
        if shards:
            fsync_folder(self.folder / Corpus.SHARDS)

    def _indexed_wavs(self) -> Iterator[str]:
        """The WAV files of the corpus that was here before."""
        path = self.folder / Corpus.INDEX
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    if not row.get("shard") and row.get("source"):
                        yield wav_name(row["source"])

    def stage_tables(self) -> Path:
        """An empty folder for the tables: a process that was killed may have left half-written files there."""
        shutil.rmtree(self.staged_tables, ignore_errors=True)
        self.staged_tables.mkdir(parents=True)
        return self.staged_tables

    def publish_tables(self, sets: tuple[str, ...]) -> None:
        """Put the staged tables in place, the report last."""
        for name in ALL_SETS:
            path = self.folder / f"{name}.csv"
            if name not in sets and _is_ours(path):
                path.unlink()
        self.publish_staged(last=Corpus.REPORT)

    def publish_staged(self, last: str) -> None:
        """Put the files of the staging folder for tables in place, the completion marker last."""
        for path in sorted(self.staged_tables.iterdir(), key=lambda path: path.name == last):
            with path.open("rb+") as file:
                os.fsync(file.fileno())
            path.replace(self.folder / path.name)
        fsync_folder(self.folder)


def _is_ours(path: Path) -> bool:
    """Whether a CSV is one of an earlier corpus, whose audio is gone now, and not one of the peers'."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\n").split(",")[: len(COLUMNS)] == list(COLUMNS)


def _move(staged: Path, place: Path) -> None:
    if staged.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(place)


def link(source: Path, place: Path) -> None:
    """Another name for a finished file, or a copy where the file system has no links."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        os.link(source, place)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, place)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
