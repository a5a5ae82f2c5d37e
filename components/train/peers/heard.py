"""Clips as training hears them: read, at the model's rate, with the augmentations of the signal applied."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.augmentation import Augmenter
from speech.augmentation.augmentation import FEATURES, SPECTROGRAM
from speech.augmentation.recordings import AUDIO_SUFFIXES, read_recordings
from speech.clips.audio import ClipReader, duration_s, to_int16
from speech.clips.manifest import Clip, Manifest
from speech.clips.sources import fetch_source, read_source
from speech.errors import InputError
from speech.storage.objects import is_remote

AHEAD = 16  # clips a worker may be ahead of the one that is taken


@dataclass(frozen=True)
class Recording:
    """A clip with what reads it."""

    reader: ClipReader
    clip: Clip

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.reader.manifest.path.name}: {self.clip.wav_filename}"

    @property
    def seconds(self) -> float:
        """Its length, by the manifest or the file's header; 0 for what cannot be opened."""
        if self.clip.duration_s or self.clip.shard:
            return self.clip.duration_s
        try:
            with self.reader.manifest.resolve(self.clip.wav_filename).open("rb") as file:
                return duration_s(file)
        except OSError:
            return 0.0


def open_sources(sources: Sequence[str], sample_rate: int, scratch: Path, *, labeled: bool = True) -> list[Recording]:
    """The clips of CSVs, .sdb and .tar files, corpus folders and (not `labeled`) audio files and folders of such.

    Sources may be `s3://` URIs, which are fetched into `scratch`. Raises InputError for anything else.
    """
    recordings = []
    for number, source in enumerate(sources):
        path = fetch_source(source, scratch / str(number))
        if not is_remote(source) and not path.exists():
            raise InputError(f"{source}: no such file: expected a CSV, an .sdb or a .tar file, or a folder")
        reader = ClipReader(_manifest(path, labeled), sample_rate)
        recordings += [Recording(reader, clip) for clip in reader.manifest]
    if not recordings:
        raise InputError(f"{', '.join(sources)}: no clips")
    return recordings


def _manifest(path: Path, labeled: bool) -> Manifest:
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return Manifest(path, [Clip(path.name, 0, "")])
    return read_source(path) if labeled else read_recordings(path)


class Ear:
    """Augments clips as training does, at one moment of the training."""

    def __init__(self, specifications: Sequence[str], sample_rate: int, clock: float, seed: int) -> None:
        """`clock` is 0.0 at the beginning of the training and 1.0 at its end. Raises InputError as `--augment` does."""
        self._augmenter = Augmenter(specifications, seed=seed, sample_rate=sample_rate)
        self._clock = clock

    @property
    def unheard(self) -> list[str]:
        """The augmentations of spectrograms and features: of these no sound can be made."""
        later = (SPECTROGRAM, FEATURES)
        return [str(augmentation) for augmentation in self._augmenter.augmentations if augmentation.domain in later]

    def hear(self, recording: Recording, time: int = 0) -> np.ndarray:
        """The int16 samples `[N]`; another `time` gives another chance. Raises InputError for what cannot be read."""
        samples = recording.reader.samples(recording.clip)
        if self._augmenter.empty:
            return samples
        return to_int16(self._augmenter.apply_signal(samples, self._augmenter.draw(time, recording.name, self._clock)))


def in_order(
    ear: Ear, recordings: Sequence[Recording], workers: int
) -> Iterator[tuple[Recording, np.ndarray | InputError]]:
    """The recordings with their samples, or with what is wrong; `workers` threads work ahead."""

    def hear(recording: Recording) -> np.ndarray | InputError:
        try:
            return ear.hear(recording)
        except InputError as error:
            return error

    step = AHEAD * workers
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(recordings), step):
            part = recordings[start : start + step]
            yield from zip(part, pool.map(hear, part), strict=True)
