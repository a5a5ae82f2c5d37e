"""Manifests: the CSVs that list the clips of a split.

DeepSpeech's columns come first (`wav_filename,wav_filesize,transcript`), ours behind. A CSV of DeepSpeech or Coqui STT
is read as it is; ours can be read by their trainers once the shards are unpacked.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from speech.errors import InputError
from speech.storage import atomic_path


@dataclass(frozen=True, slots=True)
class Clip:
    """One row: an utterance and where its audio lies.

    `wav_filename` is absolute or relative to the CSV's folder. With a `shard` (a tar file, relative to the CSV's
    folder), the WAV file's bytes are `shard[offset : offset + wav_filesize]`.
    """

    wav_filename: str
    wav_filesize: int  # bytes
    transcript: str
    duration_s: float = 0.0  # 0 = not known
    client_id: str = ""
    shard: str = ""
    offset: int = 0  # bytes


DEEPSPEECH_COLUMNS = ("wav_filename", "wav_filesize", "transcript")
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
    """Read a CSV with at least DeepSpeech's columns; raises InputError with the line of the first bad row."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such CSV: expected a file with the columns {','.join(DEEPSPEECH_COLUMNS)}")
    clips: list[Clip] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            clips.extend(_rows(path, csv.reader(file)))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 behind row {len(clips)}: save the CSV as UTF-8") from error
    return Manifest(path, clips)


def _rows(path: Path, reader: Any) -> Iterator[Clip]:
    header: list[str] = next(reader, [])
    missing = [name for name in DEEPSPEECH_COLUMNS if name not in header]
    if missing:
        raise InputError(
            f"{path}: line 1: no column {', '.join(missing)}: expected {','.join(DEEPSPEECH_COLUMNS)}, "
            f"found {','.join(header) or 'nothing'}"
        )
    columns = [(name, header.index(name)) for name in COLUMNS if name in header]
    try:
        for row in reader:
            if row:
                yield _clip({name: row[index] for name, index in columns})
    except UnicodeDecodeError:
        raise
    except (ValueError, IndexError, csv.Error) as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}: expected {','.join(header)}") from error


def _clip(row: dict[str, str]) -> Clip:
    return Clip(
        wav_filename=row["wav_filename"],
        wav_filesize=int(row["wav_filesize"] or 0),
        transcript=row["transcript"],
        duration_s=float(row.get("duration_s") or 0),
        client_id=row.get("client_id", ""),
        shard=row.get("shard", ""),
        offset=int(row.get("offset") or 0),
    )
