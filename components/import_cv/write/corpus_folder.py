"""The folder that an import writes, and how finished work is put in place there."""

import contextlib
import csv
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from components.import_cv.plan.planning import wav_name
from components.import_cv.plan.reasons import Reason
from components.import_cv.write.outcomes import NO_SHARD, Outcomes
from components.import_cv.write.shards import shard_name
from speech.artifacts import ALL_SETS, ALPHABET, Corpus, CorpusPart
from speech.clips.audio import WAV_HEADER_BYTES
from speech.errors import InputError
from speech.ownership import Place, RemotePlace
from speech.storage.files import fsync_folder
from speech.storage.objects import read_object


class ClipPaths(Protocol):
    """The path of each clip in the release, by clip number."""

    def __getitem__(self, clip: int, /) -> str: ...

    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True)
class CorpusFolder:
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

    @cached_property
    def place(self) -> Place:
        """The folder with what is an earlier import's in it, by its report and its index."""
        records = {Corpus.REPORT: self._names_of_corpus, CorpusPart.PART: self._names_of_part}
        if self.clip_prefix:  # the same clips, imported as the peers' importer does
            records[f"{self.clip_prefix}{Corpus.REPORT}"] = self._names_of_clips
        return Place(self.folder, records, "--corpus_dir", never=(".mp3", ".tsv"))

    def _names_of_corpus(self, report: Mapping[str, Any]) -> Iterator[str]:
        sets = report.get("sets")
        if "converter" not in report or not isinstance(sets, dict):
            return
        yield from (f"{name}.csv" for name in sets if name in ALL_SETS)
        yield from (Corpus.INDEX, Corpus.HTML_REPORT)
        alphabet = report.get("alphabet")
        if not (isinstance(alphabet, dict) and alphabet.get("found")):
            yield ALPHABET
        for source, shard in self._indexed(self.folder / Corpus.INDEX):
            yield shard or f"{self.clip_prefix}{wav_name(source)}"

    def _names_of_clips(self, report: Mapping[str, Any]) -> Iterator[str]:
        if "converter" in report:
            for source, _ in self._indexed(self.folder / self.clip_prefix / Corpus.INDEX):
                yield f"{self.clip_prefix}{wav_name(source)}"

    def _names_of_part(self, part: Mapping[str, Any]) -> Iterator[str]:
        if "fingerprint" not in part:
            return
        yield from (CorpusPart.ROWS, CorpusPart.OUTCOMES)
        with contextlib.suppress(OSError, ValueError), (self.folder / CorpusPart.OUTCOMES).open("rb") as file:
            for line in file:
                source, _, reason, *_, shard, _, _ = json.loads(line)
                if not reason:
                    yield shard_name(shard) if shard != NO_SHARD else f"{self.clip_prefix}{wav_name(source)}"

    def planned(self, tables: Iterable[str], sources: Iterable[str], shards: Iterable[int]) -> Iterator[str]:
        """The names of what an import writes: its tables, a WAV file for each source, shards by their numbers."""
        yield from tables
        yield from map(shard_name, shards)
        yield from (f"{self.clip_prefix}{wav_name(source)}" for source in sources)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other imports out of the folder; what was made for nothing is removed again.

        Raises InputError if another import is at work, or if the folder cannot be written.
        """
        new_folders = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
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
                for path in new_folders:
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

    def published(self, sources: ClipPaths, outcomes: Outcomes) -> list[str]:
        """The names of an import's shards, or of its WAV files, in the folder."""
        shards = {shard_name(shard) for shard in set(outcomes.shards) - {NO_SHARD}}
        wavs = {
            f"{self.clip_prefix}{wav_name(sources[clip])}"
            for clip, shard in enumerate(outcomes.shards)
            if shard == NO_SHARD and outcomes.reasons[clip] == Reason.ACCEPTED
        }
        return sorted(shards | wavs)

    def publish_audio(self, sources: ClipPaths, outcomes: Outcomes) -> None:
        """Put shards or WAV files in place, and remove those of an earlier corpus. Safe to repeat."""
        (self.folder / Corpus.REPORT).unlink(missing_ok=True)
        names = self.published(sources, outcomes)
        for name in names:
            is_shard = name.endswith(".tar")
            staged = self.staging / name if is_shard else self.staged_clips / name.removeprefix(self.clip_prefix)
            _move(staged, self.folder / name)
        published = set(names)
        self.place.remove(name for name in self.place.own if name.endswith((".tar", ".wav")) and name not in published)
        if any(name.endswith(".wav") for name in names):
            os.sync()  # one call for all the small files
        if any(name.endswith(".tar") for name in names):
            fsync_folder(self.folder / Corpus.SHARDS)

    def _indexed(self, index: Path) -> Iterator[tuple[str, str]]:
        """The source and the shard, if any, of each clip of a corpus that was here before."""
        if index.is_file():
            with index.open(encoding="utf-8", newline="", errors="replace") as file, contextlib.suppress(csv.Error):
                for row in csv.DictReader(file):
                    source, shard = row.get("source") or "", row.get("shard") or ""
                    if shard or "." in source:
                        yield source, shard

    def stage_tables(self) -> Path:
        """An empty folder for the tables: a process that was killed may have left half-written files there."""
        shutil.rmtree(self.staged_tables, ignore_errors=True)
        self.staged_tables.mkdir(parents=True)
        return self.staged_tables

    def publish_tables(self, sets: tuple[str, ...]) -> None:
        """Put the staged tables in place, the report last; those of an earlier import's other sets go."""
        self.place.remove(f"{name}.csv" for name in ALL_SETS if name not in sets)
        self.publish_staged(last=Corpus.REPORT)

    def publish_staged(self, last: str) -> None:
        """Put the files of the staging folder for tables in place, the completion marker last."""
        for path in sorted(self.staged_tables.iterdir(), key=lambda path: path.name == last):
            with path.open("rb+") as file:
                os.fsync(file.fileno())
            path.replace(self.folder / path.name)
        fsync_folder(self.folder)


def remote_place(uri: str, scratch: Path) -> RemotePlace:
    """An `s3://` prefix that takes a corpus or a part of one; the lists of its files there are read in `scratch`."""
    for name in (Corpus.INDEX, CorpusPart.OUTCOMES):
        text = read_object(f"{uri.rstrip('/')}/{name}")
        if text is not None:
            (scratch / name).write_bytes(text)
    records = CorpusFolder(scratch).place.records
    return RemotePlace(uri, {name: records[name] for name in (Corpus.REPORT, CorpusPart.PART)}, "--corpus_dir")


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
