"""Sets of clips as files: a CSV with WAV files, a sample database, a WebDataset tar. All appear whole or not at all."""

import contextlib
import csv
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.clips import opus_packets, sample_database, webdataset
from speech.clips.audio import resample, wav_header
from speech.clips.manifest import DEEPSPEECH_COLUMNS
from speech.errors import InputError
from speech.storage.files import atomic_path

CSV = ".csv"
SUFFIXES = (CSV, sample_database.SUFFIX, webdataset.SUFFIX)
AUDIO_TYPES = {"opus": sample_database.OPUS_TYPE, "wav": sample_database.WAV_TYPE}
LOWEST_BITRATE, HIGHEST_BITRATE = opus_packets.BITRATES

Add = Callable[[np.ndarray, str], None]  # int16 samples [N] and the transcript


@dataclass(frozen=True)
class ClipFormat:
    """How clips are written."""

    labeled: bool
    audio_type: str  # one of AUDIO_TYPES' values, in a sample database; else clips are WAV files
    bitrate: int  # bits/s, of Opus
    sample_rate: int  # Hz
    absolute_paths: bool = False

    def wav(self, samples: np.ndarray) -> bytes:
        """A WAV file."""
        return wav_header(len(samples), self.sample_rate) + samples.astype("<i2").tobytes()

    def for_opus(self, samples: np.ndarray) -> tuple[np.ndarray, int]:
        """Samples and rate, resampled to the next of Opus' rates if this is none."""
        if self.sample_rate in opus_packets.RATES_HZ:
            return samples, self.sample_rate
        rate = next((rate for rate in opus_packets.RATES_HZ if rate > self.sample_rate), opus_packets.RATES_HZ[-1])
        return resample(samples, self.sample_rate, rate), rate


def check(target: Path) -> None:
    """Raise InputError for a target that cannot be written, or would take the place of something."""
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"{target}: expected a target that ends with {', '.join(SUFFIXES)}")
    for path in (target, _folder(target)) if target.suffix.lower() == CSV else (target,):
        if path.exists():
            raise InputError(f"{path} is there already: remove it, or give another name")


def _folder(target: Path) -> Path:
    """The folder of a CSV's clips, where the peers put it."""
    return target.with_suffix("")


@contextlib.contextmanager
def write(target: Path, form: ClipFormat) -> Iterator[Add]:
    """Yield a function that appends a clip to the set; the set is there when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = {CSV: _csv, sample_database.SUFFIX: _sample_database, webdataset.SUFFIX: _tar}[target.suffix.lower()]
    with kind(target, form) as add:
        yield add


@contextlib.contextmanager
def _sample_database(target: Path, form: ClipFormat) -> Iterator[Add]:
    with sample_database.write_sample_database(target, form.audio_type, labeled=form.labeled) as append:

        def add(samples: np.ndarray, transcript: str) -> None:
            if form.audio_type == sample_database.OPUS_TYPE:
                append(opus_packets.encode(*form.for_opus(samples), form.bitrate), transcript)
            else:
                append(form.wav(samples), transcript)

        yield add


@contextlib.contextmanager
def _csv(target: Path, form: ClipFormat) -> Iterator[Add]:
    columns = DEEPSPEECH_COLUMNS if form.labeled else DEEPSPEECH_COLUMNS[:2]
    folder = _folder(target)
    rows: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=target.parent) as scratch:
        clips = Path(scratch) / folder.name
        clips.mkdir()

        def add(samples: np.ndarray, transcript: str) -> None:
            name, wav = f"sample{len(rows):08d}.wav", form.wav(samples)
            (clips / name).write_bytes(wav)
            path = (folder / name).absolute() if form.absolute_paths else Path(folder.name) / name
            rows.append((path, len(wav), transcript)[: len(columns)])

        yield add
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([columns, *rows])
            shutil.move(clips, folder)


@contextlib.contextmanager
def _tar(target: Path, form: ClipFormat) -> Iterator[Add]:
    count = 0
    with atomic_path(target) as temporary, tarfile.open(temporary, "w") as archive:

        def append(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        def add(samples: np.ndarray, transcript: str) -> None:
            nonlocal count
            append(f"sample{count:08d}.wav", form.wav(samples))
            if form.labeled:
                append(f"sample{count:08d}.txt", transcript.encode("utf-8"))
            count += 1

        yield add
