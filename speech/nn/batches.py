"""Manifests -> batches of features: clips are read, augmented and featurised on all cores, ahead of the device."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from speech.alphabet import Alphabet
from speech.augmentation import Augmenter, Draw
from speech.augmentation.augmentation import SAMPLE, SIGNAL, SPECTROGRAM
from speech.clips.audio import ClipReader
from speech.clips.manifest import Clip, Manifest
from speech.clips.selection import samples_of, trainable
from speech.clips.tally import (
    FOUND_IN_TRAINING,
    OF_THE_MODEL,
    OTHER_RATE,
    TOO_LONG,
    UNREADABLE,
    Allowance,
    Tally,
)
from speech.decoding.ctc import frames_needed
from speech.errors import InputError
from speech.features.feature_cache import Cache
from speech.features.mfcc import mfcc, spectrogram, spectrogram_to_mfcc
from speech.geometry import Geometry
from speech.native.processors import cores


@dataclass
class Batch:
    """One batch on its way to the device."""

    index: int  # which of the planned batches
    clips: np.ndarray  # [B] positions in the set
    features: tf.Tensor  # [B, T, n_input] float32
    n_frames: tf.Tensor  # [B] int32
    labels: tf.Tensor  # [B, L] int32, zero-padded
    n_labels: tf.Tensor  # [B] int32
    first_clip: int = 0  # the place of the first of these clips in the batch of all workers


@dataclass(frozen=True)
class FeaturisedClip:
    """One clip of a batch."""

    position: int  # in the set
    features: np.ndarray  # [T, n_input] float32
    labels: np.ndarray  # [L] int32


class ClipSet:
    """The usable clips of one or several manifests, their lengths and their labels."""

    def __init__(
        self,
        manifests: Sequence[Manifest],
        alphabet: Alphabet,
        geometry: Geometry,
        limit: int = 0,
        resampling: bool = True,
        allowance: Allowance | None = None,
    ) -> None:
        """Leave out (and name in `tally`) clips whose file is not there, or whose transcript is of no use.

        With a `limit`, only so many of the shortest clips are kept. Without `resampling`, clips of another sample rate
        are left out.

        Raises InputError when nothing is left, or more is left out than `allowance` (by default a tenth) allows.
        """
        self.geometry, self.alphabet, self.resampling = geometry, alphabet, resampling
        self.source = names = ", ".join(str(manifest.path) for manifest in manifests)
        self.allowance, self.tally = allowance or Allowance(), Tally(names)
        self._readers = [ClipReader(manifest, geometry.audio_sample_rate) for manifest in manifests]
        self._clips: list[Clip] = []
        sources, lengths, rows = [], [], []
        for source, manifest in enumerate(manifests):
            first = self.tally.listed
            kept = trainable(manifest, alphabet, geometry, self.tally, resampling=resampling)
            self._clips += [manifest.clips[position] for position in kept]
            sources.append(np.full(len(kept), source, np.int16))
            lengths.append(samples_of(manifest, geometry.audio_sample_rate)[kept])
            rows.append(first + kept)
        self.tally.check(self.allowance)
        self._sources, self.n_samples, self._rows = map(np.concatenate, (sources, lengths, rows))
        if limit:
            shortest = np.argsort(self.n_samples, kind="stable")[:limit]
            self.tally.beyond_limit = len(self._clips) - len(shortest)
            self._clips = [self._clips[position] for position in shortest]
            self._sources, self.n_samples, self._rows = (
                values[shortest] for values in (self._sources, self.n_samples, self._rows)
            )
        self.n_frames = geometry.n_frames(self.n_samples, np.maximum)  # [N], by the files' headers
        self._before = dict(self.tally.counts)  # and what is added to them is found while reading

    def __len__(self) -> int:
        return len(self._clips)

    def name(self, position: int) -> str:
        """The name of a clip, for reports."""
        return self._clips[position].wav_filename

    def transcript(self, position: int) -> str:
        """What a clip says."""
        return self._clips[position].transcript

    def leave_out(self, position: int, reason: str) -> None:
        """Count a clip among those that are left out."""
        self.tally.add(reason, int(self._rows[position]), self.name(position))

    @property
    def left_out_while_reading(self) -> np.ndarray:
        """How many clips this process left out since it read the first one, by `FOUND_IN_TRAINING`."""
        counts, before = self.tally.counts, self._before
        return np.array([counts.get(reason, 0) - before.get(reason, 0) for reason in FOUND_IN_TRAINING])

    def count_left_out(self, counts: np.ndarray) -> None:
        """Take the counts of all workers together for those of this one."""
        for reason, count in zip(FOUND_IN_TRAINING, counts.tolist(), strict=True):
            if total := self._before.get(reason, 0) + round(count):
                self.tally.counts[reason] = total

    def check_left_out(self, counts: np.ndarray) -> None:
        """Raise InputError if so many clips turned out to be of no use when they were read that something is wrong."""
        bad = round(sum(n for n, reason in zip(counts, FOUND_IN_TRAINING, strict=True) if reason not in OF_THE_MODEL))
        if not bad:
            return
        self.tally.check(self.allowance)
        if bad > (allowed := self.allowance.clips(len(self))):
            raise InputError(
                f"{self.source}: {bad} of {len(self)} clips ({bad / len(self):.1%}) cannot be used: "
                f"{self.tally.reasons()}; --allow_skipped {self.allowance.text} allows {allowed}: mend the files, or "
                "allow more (a number of clips or a share)"
            )

    def _read(self, position: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Samples and labels of a clip; None (and a note in `tally`) if it cannot be used."""
        clip, reader = self._clips[position], self._readers[self._sources[position]]
        try:
            samples, rate = reader.read(clip) if not self.resampling else (reader.samples(clip), reader.sample_rate)
        except InputError:
            self.leave_out(position, UNREADABLE)
            return None
        if rate != reader.sample_rate:
            self.leave_out(position, OTHER_RATE)
            return None
        encoded = self.alphabet.encode(clip.transcript)
        if frames_needed(encoded) > self.geometry.n_frames(len(samples)):
            self.leave_out(position, TOO_LONG)
            return None
        return samples, encoded

    def featurised(self, position: int, cache: Cache | None = None) -> FeaturisedClip | None:
        """A clip as it is; None if it cannot be used."""
        if cache is not None and (cached := cache.get(position)) is not None:
            return FeaturisedClip(position, cached, self.alphabet.encode(self._clips[position].transcript))
        if (read := self._read(position)) is None:
            return None
        samples, encoded = read
        features = mfcc(samples, self.geometry)
        if cache is not None:
            cache.put(position, features)
        return FeaturisedClip(position, features, encoded)

    def augmented(
        self, position: int, augmenter: Augmenter, draw: Draw, cache: Cache | None = None
    ) -> FeaturisedClip | None:
        """An augmented clip; None if it cannot be used. The cache serves where only features are augmented."""
        if not augmenter.acts_on(SAMPLE, SIGNAL, SPECTROGRAM):
            clip = self.featurised(position, cache)
            return clip and replace(clip, features=augmenter.apply_features(clip.features, draw))
        if (read := self._read(position)) is None:
            return None
        samples, encoded = read
        needed = frames_needed(encoded)
        power = spectrogram(augmenter.apply_signal(samples, draw), self.geometry)
        power = augmenter.apply_spectrogram(power, draw, needed)
        return FeaturisedClip(
            position, augmenter.apply_features(spectrogram_to_mfcc(power, self.geometry), draw), encoded
        )


@dataclass(frozen=True)
class EpochAugmentation:
    """How the clips of one epoch are augmented; `total_epochs` drives the clock of value ranges."""

    augmenter: Augmenter
    epoch: int
    total_epochs: int
    repetitions: int = 1  # how often the epoch's plan holds every clip


@dataclass(frozen=True)
class Worker:
    """Which share of every batch this process reads: the `number`-th of `of` runs of neighbours."""

    number: int = 0
    of: int = 1

    def share(self, size: int) -> range:
        """The places of a batch of `size` clips that are this worker's."""
        each = -(-size // self.of)
        return range(min(size, self.number * each), min(size, (self.number + 1) * each))


def stream(
    clips: ClipSet,
    batches: Sequence[np.ndarray],
    *,
    start: int = 0,
    ahead: int = 4,
    augmentation: EpochAugmentation | None = None,
    worker: Worker | None = None,
    cache: Cache | None = None,
) -> Iterator[Batch]:
    """Read, augment, featurise and pad `batches[start:]`, in order, each clip on one of the cores, some batches ahead.

    Batches without a usable clip are left out; not so if there are several workers, who have to keep step.
    """
    worker = worker or Worker()
    if augmentation is not None and augmentation.augmenter.empty:
        augmentation = None
    starts = np.concatenate([[0], np.cumsum([len(positions) for positions in batches])])
    an_epoch, n_frames, n_input = int(starts[-1]), clips.n_frames, clips.geometry.n_input

    def make(position: int, order: int) -> FeaturisedClip | None:
        if augmentation is None:
            return clips.featurised(position, cache)
        clock = (augmentation.epoch + order / an_epoch) / augmentation.total_epochs
        repetition = order * augmentation.repetitions // an_epoch
        draw = augmentation.augmenter.draw(augmentation.epoch, clips.name(position), clock, repetition)
        return clips.augmented(position, augmentation.augmenter, draw, cache)

    with ThreadPoolExecutor(cores()) as pool:
        waiting: deque[tuple[int, list[Future[FeaturisedClip | None]]]] = deque()

        def submit(index: int) -> None:
            share = worker.share(len(batches[index]))
            waiting.append((index, [pool.submit(make, int(batches[index][k]), int(starts[index]) + k) for k in share]))

        try:
            for index in range(start, min(start + ahead, len(batches))):
                submit(index)
            while waiting:
                index, jobs = waiting.popleft()
                if index + ahead < len(batches):
                    submit(index + ahead)
                rows = [row for row in (job.result() for job in jobs) if row is not None]
                if worker.of > 1:
                    positions = batches[index]
                    planned = max(1, int(n_frames[positions].max()))
                    yield _batch_of(index, rows, n_input, worker.share(len(positions)).start, planned)
                elif rows:
                    yield _batch_of(index, rows, n_input)
        finally:
            pool.shutdown(cancel_futures=True)


def _batch_of(
    index: int, rows: Sequence[FeaturisedClip], n_input: int, first_clip: int = 0, at_least_frames: int = 0
) -> Batch:
    n_frames = np.array([len(row.features) for row in rows], np.int32)
    padded = np.zeros((len(rows), n_frames.max(initial=at_least_frames), n_input), np.float32)  # [B, T, n_input]
    for target, row in zip(padded, rows, strict=True):
        target[: len(row.features)] = row.features
    n_labels = np.array([len(row.labels) for row in rows], np.int32)
    labels = np.zeros((len(rows), n_labels.max(initial=1)), np.int32)
    for row_labels, row in zip(labels, rows, strict=True):
        row_labels[: len(row.labels)] = row.labels
    positions = np.array([row.position for row in rows], np.int64)
    tensors = (tf.constant(values) for values in (padded, n_frames, labels, n_labels))
    return replace(Batch(index, positions, *tensors), first_clip=first_clip)


def subset(batch: Batch, keep: np.ndarray) -> Batch:
    """The clips of a batch for which `keep` `[B]` is true."""
    rows = np.flatnonzero(keep)
    tensors = (tf.gather(tensor, rows) for tensor in (batch.features, batch.n_frames, batch.labels, batch.n_labels))
    return replace(Batch(batch.index, batch.clips[keep], *tensors), first_clip=batch.first_clip)
