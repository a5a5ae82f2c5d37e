"""Emissions of a whole test set: in batches of clips of similar length, and only once."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.evaluate.model.emission_cache import EmissionCache, clip_key
from components.evaluate.model.models import Subject
from components.evaluate.score.sets import EvaluationClip
from components.evaluate.settings import EvaluateSettings
from speech.clips.tally import Allowance
from speech.errors import InputError
from speech.progress import Progress

if TYPE_CHECKING:
    from speech.nn.runners.runtimes import Runner

MOST_BATCH_FRAMES = 16_384  # frames a batch, padding included: bounds the memory
CHECKED_S = 1.0  # of each checked clip: several calls of the streaming graph, and a bounded share of the whole work
TOLERANCE = 1e-3  # of probabilities, between the batched weights and the file in its own runtime


@dataclass
class EmissionFacts:
    """How the emissions were made, and how long that took."""

    engine: str = "cache"  # `batch` or `file` once something is computed
    cached_clips: int = 0
    audio_s: float = 0.0  # of the computed clips
    emissions_s: float = 0.0
    decoding_s: float = 0.0
    checked_clips: int = 0
    largest_difference: float = 0.0


Emission = tuple[int, np.ndarray, float]  # number of the clip, probabilities [T, C], duration in s


class Emitter:
    """Computes the emissions of clips, by the engine that the settings and the model allow, or finds them on disk."""

    def __init__(self, settings: EvaluateSettings, subject: Subject, clips: Sequence[EvaluationClip]) -> None:
        """Raises InputError for `--engine batch` with a model whose weights cannot be read."""
        self.facts = EmissionFacts()
        self._settings, self._subject, self._clips = settings, subject, clips
        self._weights = subject.weights() if subject.weights is not None and settings.engine != "file" else None
        if settings.engine == "batch" and self._weights is None:
            raise InputError(
                f"--engine batch: the weights of {subject.path} cannot be read as float32: use --engine auto"
            )
        self._engine = "file" if self._weights is None else "batch"
        self._opened: Runner | None = None
        self._cache = None
        if settings.emission_cache:
            folder, classes = Path(settings.emission_cache), subject.geometry.n_classes
            self._cache = EmissionCache(folder, subject.sha256, self._engine, classes)

    def run(self) -> Iterator[list[Emission]]:
        """The emissions of all clips, batch by batch, short clips first."""
        rate = self._subject.geometry.audio_sample_rate
        lengths = [self._subject.geometry.n_frames(clip.about_samples) for clip in self._clips]
        with Progress("evaluate", len(self._clips), "clips") as progress:
            for batch in batches(lengths, self._settings.test_batch_size):
                heard = [(number, clip) for number in batch if (clip := self._clips[number].heard()) is not None]
                if len(heard) < len(batch):
                    self._check_tallies()
                emissions = self._emissions([samples for _, samples in heard])
                yield [
                    (number, probabilities, len(samples) / rate)
                    for (number, samples), probabilities in zip(heard, emissions, strict=True)
                ]
                progress.update(len(batch))

    def _check_tallies(self) -> None:
        """Raise InputError if so many clips turned out to be unreadable that something is wrong."""
        for tally in {id(clip.tally): clip.tally for clip in self._clips}.values():
            tally.check(Allowance(self._settings.allow_skipped))

    def _emissions(self, samples: list[np.ndarray]) -> list[np.ndarray]:
        if not samples:
            return []
        if self._cache is None:
            return self._compute(samples)
        keys = [clip_key(clip) for clip in samples]
        frames = [self._subject.geometry.n_frames(len(clip)) for clip in samples]
        cached = [self._cache.get(*place) for place in zip(keys, frames, strict=True)]
        missing = [number for number, emissions in enumerate(cached) if emissions is None]
        computed = self._compute([samples[number] for number in missing]) if missing else []
        if computed:
            self._cache.put([keys[number] for number in missing], computed)
        self.facts.cached_clips += len(samples) - len(missing)
        new = iter(computed)
        return [next(new) if emissions is None else emissions for emissions in cached]

    def _compute(self, samples: list[np.ndarray]) -> list[np.ndarray]:
        runtime = self._runtime()
        started = time.perf_counter()
        emissions = runtime.emissions(samples)
        self.facts.emissions_s += time.perf_counter() - started
        self.facts.audio_s += sum(map(len, samples)) / self._subject.geometry.audio_sample_rate
        return emissions

    def _runtime(self) -> "Runner":
        """The engine, opened at its first use: what is all in the cache needs none."""
        if self._opened is None:
            self.facts.engine = self._engine
            if self._weights is None:
                self._opened = self._subject.runtime()
            else:
                from speech.nn.runners.checkpoint_model import BatchedModel

                self._opened = BatchedModel(self._subject.geometry, self._weights)
                self._cross_check(self._opened)
        return self._opened

    def _cross_check(self, batched: "Runner") -> None:
        """Compare the weights in batches with the file in its own runtime, on the first second of some of the clips."""
        lengths = [clip.about_samples for clip in self._clips]
        checked = int(CHECKED_S * self._subject.geometry.audio_sample_rate)
        heard = [
            (clip, whole[:checked])
            for number in sample_by_length(lengths, self._settings.check_clips)
            if (whole := (clip := self._clips[number]).heard()) is not None
        ]
        if not heard:
            return
        chosen, samples = [clip for clip, _ in heard], [samples for _, samples in heard]
        expected = self._subject.runtime().emissions(samples)
        for clip, theirs, ours in zip(chosen, expected, batched.emissions(samples), strict=True):
            difference = float(np.abs(theirs - ours).max()) if theirs.size else 0.0
            if not difference <= TOLERANCE:  # also if it is not a number
                raise InputError(
                    f"{self._subject.path}: the file in its own runtime and its weights in batches differ by "
                    f"{difference:.2g} in probability on {clip.name} (at most {TOLERANCE:g}): it is not DeepSpeech's "
                    "network, or damaged; `--engine file` measures it as it is"
                )
            self.facts.largest_difference = max(self.facts.largest_difference, difference)
        self.facts.checked_clips = len(chosen)


def batches(n_frames: Sequence[int], largest: int) -> list[list[int]]:
    """Numbers of clips, grouped by similar length: at most `largest` and `MOST_BATCH_FRAMES` padded frames a group."""
    groups: list[list[int]] = []
    for number in sorted(range(len(n_frames)), key=lambda number: n_frames[number]):
        padded = max(1, n_frames[number])  # the newest is the longest
        if groups and len(groups[-1]) < largest and padded * (len(groups[-1]) + 1) <= MOST_BATCH_FRAMES:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def sample_by_length(lengths: Sequence[int], count: int) -> list[int]:
    """At most `count` numbers, spread evenly from the shortest clip to the longest but one end of the range."""
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    count = min(count, len(order))
    return [order[(2 * position + 1) * len(order) // (2 * count)] for position in range(count)]
