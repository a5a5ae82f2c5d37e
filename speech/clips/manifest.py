"""Manifests: the CSVs that list the clips of a split.

DeepSpeech's columns come first (`wav_filename,wav_filesize,transcript`), ours behind. A CSV of DeepSpeech or Coqui STT
is read as it is; ours can be read by their trainers once the shards are unpacked.
"""

import contextlib
import csv
import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from speech.errors import InputError
from speech.storage.files import atomic_path

if TYPE_CHECKING:
    from speech.clips.survey import Survey


@dataclass(frozen=True, slots=True)
class Clip:
    """One row: an utterance and where its audio lies.

    `wav_filename` is absolute or relative to the CSV's folder. With a `shard` (a tar file, relative to the CSV's
    folder), the WAV file's bytes are `shard[offset : offset + wav_filesize]`.
    """

    wav_filename: str
    wav_filesize: int  # bytes; 0 = not known, which is an error only of a clip in a shard
    transcript: str
    duration_s: float = 0.0  # 0 = not known
    client_id: str = ""
    shard: str = ""
    offset: int = 0  # bytes


DEEPSPEECH_COLUMNS = ("wav_filename", "wav_filesize", "transcript")
NEEDED_COLUMNS = ("wav_filename", "transcript")  # the peers only sort by the size
COLUMNS = tuple(field.name for field in fields(Clip))
SPEAKER_COLUMNS = ("age", "gender", "accents")  # behind the others in an imported corpus; training does not load them


@dataclass(frozen=True)
class Manifest:
    """The clips of one CSV, with the folder that relative names start from."""

    path: Path
    clips: Sequence[Clip]

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    def resolve(self, name: str) -> Path:
        """The path of a file named in the CSV."""
        return self.path.parent / name

    @cached_property
    def survey(self) -> "Survey":
        """What the clips' files say of themselves; looked at once."""
        from speech.clips.survey import survey

        return survey(self.path.parent, self.clips)

    @property
    def hours(self) -> float:
        """Summed duration, by the `duration_s` column."""
        return sum(clip.duration_s for clip in self.clips) / 3600


class ManifestWriter:
    """Writes the rows of a CSV one by one: UTF-8, Unix line ends, minimal quoting."""

    def __init__(self, file: IO[str], more_columns: Sequence[str] = ()) -> None:
        """`more_columns` come behind a clip's own."""
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow((*COLUMNS, *more_columns))

    def write(self, clip: Clip, *more: str) -> None:
        """Append a row, with the values of the further columns."""
        self._writer.writerow(
            (
                clip.wav_filename,
                clip.wav_filesize,
                clip.transcript,
                f"{clip.duration_s:.4f}",
                clip.client_id,
                clip.shard,
                clip.offset,
                *more,
            )
        )


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write a CSV atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = ManifestWriter(file)
        for clip in clips:
            writer.write(clip)


def read_manifest(path: str | Path) -> Manifest:
    """Read a CSV with at least names and transcripts; raises InputError with the line of the first bad row."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such CSV: expected a file with the columns {','.join(DEEPSPEECH_COLUMNS)}")
    clips: list[Clip] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, _without_collector():
            clips.extend(_rows(path, csv.reader(file)))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 behind row {len(clips)}: save the CSV as UTF-8") from error
    return Manifest(path, clips)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the garbage collector, which would walk through all clips again and again while they become more."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _rows(path: Path, reader: Any) -> Iterator[Clip]:
    header: list[str] = next(reader, [])
    missing = [name for name in NEEDED_COLUMNS if name not in header]
    if missing:
        raise InputError(
            f"{path}: line 1: no column {', '.join(missing)}: expected {','.join(DEEPSPEECH_COLUMNS)}, "
            f"found {','.join(header) or 'nothing'}"
        )
    places = [header.index(name) if name in header else -1 for name in COLUMNS]  # -1: the empty field behind each row
    name, size, transcript, duration, client, shard, offset = places
    widest, intern = max(places), sys.intern
    try:
        for row in reader:
            if len(row) <= widest:
                if not row:
                    continue
                raise ValueError(f"{len(row)} columns")
            row.append("")
            # By position, because millions of rows pass here; names that many rows share are kept once.
            yield Clip(
                row[name],
                _bytes(row[size]),
                row[transcript],
                float(row[duration] or 0),
                intern(row[client]),
                intern(row[shard]),
                int(row[offset] or 0),
            )
    except UnicodeDecodeError:
        raise
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}: expected {','.join(header)}") from error


def _bytes(text: str) -> int:
    """A size; tables that passed through pandas may have written it as `1234.0`."""
    try:
        return int(text or 0)
    except ValueError:
        return int(float(text))
