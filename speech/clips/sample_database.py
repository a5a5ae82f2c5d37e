"""DeepSpeech's sample databases (`.sdb`): recordings and transcripts in one file with an index at its end.

All numbers are big-endian. `SAMPLEDB`; u64 length and JSON of the meta data, whose `schema` lists the columns; the
samples: u64 bytes that follow, u64 count, then per sample u32 bytes that follow and per column u32 length and content;
the index: u64 bytes that follow, u64 count, u64 position of every sample. The speech column holds whole WAV files or
Opus packets (`opus_packets`). A writer that was killed leaves zeros for the lengths.
"""

import contextlib
import json
import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from speech.clips import opus_packets
from speech.clips.audio import parse_wav
from speech.clips.manifest import Clip, Manifest
from speech.errors import InputError
from speech.storage.files import atomic_path

SUFFIX = ".sdb"
MAGIC = b"SAMPLEDB"
WAV_TYPE, OPUS_TYPE, TEXT_TYPE = "audio/wav", "application/vnd.mozilla.opus", "text/plain"
_U32, _U64 = struct.Struct(">I"), struct.Struct(">Q")


def read_sample_database(path: str | Path, *, labeled: bool = True) -> Manifest:
    """The clips of a database: `shard` is the file itself, and a slice of it is the recording.

    Raises InputError for anything but a whole database, or (with `labeled`) one without transcripts.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return Manifest(path, list(_clips(path, data, labeled)))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable sample database: {error}") from error
    except struct.error as error:
        raise InputError(f"{path}: the sample database is truncated: write it again") from error


@contextlib.contextmanager
def write_sample_database(
    path: Path, mime_type: str, *, labeled: bool = True
) -> Iterator[Callable[[bytes, str], None]]:
    """Yield a function that appends a recording (a WAV file, or Opus packets, by `mime_type`) and its transcript.

    The file appears when the block ends well. Without `labeled` it has no transcripts.
    """
    schema = [{"content": "speech", "mime-type": mime_type}]
    schema += [{"content": "transcript", "mime-type": TEXT_TYPE}] if labeled else []
    meta = json.dumps({"schema": schema}).encode()
    positions: list[int] = []
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + _U64.pack(len(meta)) + meta)
        samples = file.tell()
        file.write(bytes(2 * _U64.size))

        def add(recording: bytes, transcript: str) -> None:
            cells = [recording, transcript.encode("utf-8")] if labeled else [recording]
            row = b"".join(_U32.pack(len(cell)) + cell for cell in cells)
            positions.append(file.tell())
            file.write(_U32.pack(len(row)) + row)

        yield add
        index = file.tell()
        file.write(_U64.pack((1 + len(positions)) * _U64.size) + _U64.pack(len(positions)))
        file.write(struct.pack(f">{len(positions)}Q", *positions))
        file.seek(samples)
        file.write(_U64.pack(index - samples - _U64.size) + _U64.pack(len(positions)))


def _clips(path: Path, data: mmap.mmap, labeled: bool) -> Iterator[Clip]:
    if data[: len(MAGIC)] != MAGIC:
        raise InputError(f"{path}: not a sample database: it does not begin with {MAGIC.decode()}")
    meta_end = len(MAGIC) + _U64.size + _u64(data, len(MAGIC))
    speech, transcript, columns = _columns(path, data[len(MAGIC) + _U64.size : meta_end], labeled)
    for number, position in enumerate(_index(path, data, meta_end)):
        name = f"{path.name}:{number}"
        cells, position = [], position + _U32.size
        for _ in range(columns):
            (size,) = _U32.unpack_from(data, position)
            cells.append((position + _U32.size, size))
            position += _U32.size + size
        if position > len(data):
            raise InputError(f"{path}: sample {number} reaches beyond the end of the file: write it again")
        start, size = cells[speech]
        text = b"" if transcript is None else data[cells[transcript][0] : sum(cells[transcript])]
        yield Clip(name, size, _text(path, number, text), _duration_s(data, start, size), "", path.name, start)


def _u64(data: mmap.mmap, position: int) -> int:
    number: int = _U64.unpack_from(data, position)[0]
    return number


def _columns(path: Path, meta: bytes, labeled: bool) -> tuple[int, int | None, int]:
    """Positions of the speech and the transcript column, and how many columns there are."""
    try:
        schema: list[dict[str, Any]] = json.loads(meta)["schema"]
        kinds = [(column["content"], column["mime-type"]) for column in schema]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: the sample database has no readable schema: write it again") from error
    speech = [position for position, (content, _) in enumerate(kinds) if content == "speech"]
    transcripts = [position for position, (content, _) in enumerate(kinds) if content == "transcript"]
    if not speech or kinds[speech[0]][1] not in (WAV_TYPE, OPUS_TYPE):
        columns = ", ".join(f"{content} {kind}" for content, kind in kinds)
        raise InputError(
            f"{path}: no speech column of {WAV_TYPE} or {OPUS_TYPE}: the schema has {columns or 'nothing'}"
        )
    if labeled and not transcripts:
        raise InputError(f"{path}: the sample database has no transcripts: it serves as an overlay only")
    return speech[0], transcripts[0] if transcripts else None, len(kinds)


def _index(path: Path, data: mmap.mmap, samples: int) -> list[int]:
    start = samples + _U64.size + _u64(data, samples)
    count = _u64(data, samples + _U64.size)
    if start == samples + _U64.size or _u64(data, start + _U64.size) != count:
        raise InputError(f"{path}: the sample database was never finished: write it again")
    return list(struct.unpack_from(f">{count}Q", data, start + 2 * _U64.size))


def _text(path: Path, number: int, text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the transcript of sample {number} is not UTF-8: write it again") from error


def _duration_s(data: mmap.mmap, start: int, size: int) -> float:
    """The length of a recording; 0 where its header is damaged, which shows when it is read."""
    view = memoryview(data)[start : start + size]
    try:
        if view[:4] == b"RIFF":
            samples, rate = parse_wav(view, "")
            return len(samples) / rate
        return opus_packets.parse_header(view, "").duration_s
    except (InputError, ZeroDivisionError):
        return 0.0
