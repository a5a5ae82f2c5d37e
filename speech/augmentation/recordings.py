"""Where overlays come from: recordings of a CSV, a sample database, a tar, a corpus, or a folder of audio files."""

import csv
import tempfile
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from speech.artifacts import Corpus
from speech.clips import sample_database, webdataset
from speech.clips.audio import ClipReader
from speech.clips.manifest import DEEPSPEECH_COLUMNS, Clip, Manifest, read_manifest
from speech.clips.sources import fetch_source
from speech.errors import InputError
from speech.storage.objects import is_remote

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
CACHE_BYTES = 256 << 20  # decoded recordings kept in memory, a source


class Recordings:
    """Recordings to draw stretches of sound from; those that cannot be read are passed over and named."""

    def __init__(
        self,
        manifest: Manifest,
        sample_rate: int,
        *,
        cache_bytes: int = CACHE_BYTES,
        scratch: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        """`scratch` is the folder of a download, which goes with the recordings."""
        if not len(manifest):
            raise InputError(f"{manifest.path}: no recordings to overlay")
        self.manifest = manifest
        self.unreadable: dict[str, str] = {}  # file -> why
        self._reader = ClipReader(manifest, sample_rate)
        self._cache: dict[int, npt.NDArray[np.int16]] = {}
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._scratch = scratch

    def stretch(self, length: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
        """`[length]` samples, full scale 1.0: part of a recording, or as many behind each other as are needed.

        Raises InputError when no recording can be read.
        """
        pieces, missing = [], length
        while missing > 0:
            samples = self._some(int(generator.integers(len(self.manifest))))
            start = int(generator.integers(max(0, len(samples) - missing) + 1))
            pieces.append(samples[start : start + missing])
            missing -= len(pieces[-1])
        joined = np.concatenate(pieces).astype(np.float32) if pieces else np.zeros(0, np.float32)
        joined *= np.float32(1 / 32768)
        return joined

    def _some(self, first: int) -> npt.NDArray[np.int16]:
        """The samples of the recording at `first`, or of the next one that has any."""
        for position in range(first, first + len(self.manifest)):
            samples = self._samples(position % len(self.manifest))
            if len(samples):
                return samples
        reason = next(iter(self.unreadable.values()))
        raise InputError(f"{self.manifest.path}: none of its {len(self.manifest)} recordings can be overlaid: {reason}")

    def _samples(self, position: int) -> npt.NDArray[np.int16]:
        known = self._cache.get(position)
        if known is not None:
            return known
        clip = self.manifest.clips[position]
        try:
            samples = self._reader.samples(clip)
            if not len(samples):
                raise InputError(f"{self.manifest.path}: {clip.wav_filename}: no samples")
        except InputError as error:
            samples = np.zeros(0, np.int16)
            self.unreadable[clip.wav_filename] = str(error)
        with self._lock:
            if samples.nbytes <= self._cache_bytes and position not in self._cache:
                self._cache_bytes -= samples.nbytes
                self._cache[position] = samples
        return samples


def open_recordings(source: str, sample_rate: int) -> Recordings:
    """Open a CSV (only `wav_filename` is needed), an .sdb or .tar file, a corpus folder or a folder of audio files.

    The source is a path or an `s3://` URI. Raises InputError for anything else.
    """
    if not is_remote(source):
        return Recordings(read_recordings(Path(source)), sample_rate)
    scratch = tempfile.TemporaryDirectory(prefix="overlay-")
    return Recordings(read_recordings(fetch_source(source, Path(scratch.name))), sample_rate, scratch=scratch)


def read_recordings(path: Path) -> Manifest:
    """The recordings of a source on this machine; they need no transcripts. Raises InputError for anything else."""
    if path.is_dir():
        return _folder_manifest(path)
    if not path.is_file():
        raise InputError(f"augmentation overlay: source={path}: no such file or folder")
    if path.suffix.lower() == sample_database.SUFFIX:
        return sample_database.read_sample_database(path, labeled=False)
    if path.suffix.lower() == webdataset.SUFFIX:
        return webdataset.read_webdataset(path, labeled=False)
    return _csv_manifest(path)


def _folder_manifest(folder: Path) -> Manifest:
    if (folder / Corpus.REPORT).is_file():
        return Corpus.open(folder).manifest("train")
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES
    )
    if not names:
        raise InputError(f"augmentation overlay: source={folder}: no audio file ({', '.join(AUDIO_SUFFIXES)}) below it")
    return Manifest(folder / "files", [Clip(file, 0, "") for file in names])


def _csv_manifest(path: Path) -> Manifest:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            if all(column in header for column in DEEPSPEECH_COLUMNS):
                return read_manifest(path)
            if "wav_filename" not in header:
                raise InputError(f"{path}: line 1: no column wav_filename: expected a CSV of recordings to overlay")
            return Manifest(path, [Clip(row["wav_filename"], 0, "") for row in reader if row["wav_filename"]])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV of recordings to overlay: {error}") from error
