"""Manifests -> batches of features: which clips make a batch is decided here, from (seed, epoch) alone."""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from speech.alphabet import Alphabet
from speech.audio import WAV_HEADER_BYTES, ClipReader
from speech.augmentation import Augmenter, Draw
from speech.errors import InputError
from speech.features import spectrogram, spectrogram_to_mfcc
from speech.geometry import Geometry
from speech.manifest import Clip, Manifest
from speech.nn.features import batch_features
from speech.nn.model import frames_needed

LENGTH_JITTER = 0.08  # how far a clip's length may stray when neighbours are drawn, as a share of it
EXAMPLES_PER_REASON = 20


@dataclass
class Batch:
    """One batch on its way to the device."""

    index: int  # which of the planned batches
    clips: np.ndarray  # [B] positions in the set
    features: tf.Tensor  # [B, T, n_input] float32
    n_frames: tf.Tensor  # [B] int32
    labels: tf.Tensor  # [B, L] int32, zero-padded
    n_labels: tf.Tensor  # [B] int32


@dataclass
class Skipped:
    """Clips left out of training, by reason: how many, and the first of them by name."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, reason: str, clip: str) -> None:
        """Count a clip, once for a reason."""
        with self._lock:
            if (reason, clip) in self._seen:
                return
            self._seen.add((reason, clip))
            self.counts[reason] = self.counts.get(reason, 0) + 1
            names = self.examples.setdefault(reason, [])
            if len(names) < EXAMPLES_PER_REASON:
                names.append(clip)

    @property
    def total(self) -> int:
        """Clips skipped for any reason."""
        return sum(self.counts.values())


class ClipSet:
    """The usable clips of one or several manifests, their lengths and their labels."""

    def __init__(self, manifests: Sequence[Manifest], alphabet: Alphabet, geometry: Geometry, limit: int = 0) -> None:
        """Leave out (and name in `skipped`) clips whose transcript is empty, outside the alphabet, or too long.

        With a `limit`, only so many of the shortest clips are kept.

        Raises InputError when nothing is left.
        """
        self.geometry, self.alphabet = geometry, alphabet
        self.skipped = Skipped()
        self._readers = [ClipReader(manifest, geometry.audio_sample_rate) for manifest in manifests]
        kept: list[tuple[int, Clip]] = []
        for source, manifest in enumerate(manifests):
            for clip in manifest:
                reason = self._reason_to_skip(clip)
                if reason:
                    self.skipped.add(reason, clip.wav_filename)
                else:
                    kept.append((source, clip))
        self.source = names = ", ".join(str(manifest.path) for manifest in manifests)
        if not kept:
            reasons = (
                ", ".join(f"{count} {reason}" for reason, count in self.skipped.counts.items()) or "it has no rows"
            )
            raise InputError(f"{names}: no usable clip ({reasons}): check the CSV and the alphabet")
        if limit:
            kept = sorted(kept, key=lambda entry: self._samples_of(entry[1]))[:limit]
        self._clips = kept
        self.n_samples = np.array([self._samples_of(clip) for _, clip in kept], np.int64)

    def __len__(self) -> int:
        return len(self._clips)

    def name(self, position: int) -> str:
        """The name of a clip, for reports."""
        return self._clips[position][1].wav_filename

    def _samples_of(self, clip: Clip) -> int:
        if clip.duration_s:
            return round(clip.duration_s * self.geometry.audio_sample_rate)
        return max(0, clip.wav_filesize - WAV_HEADER_BYTES) // 2

    def _reason_to_skip(self, clip: Clip) -> str:
        if not clip.transcript:
            return "empty transcript"
        if self.alphabet.missing(clip.transcript):
            return "characters outside the alphabet"
        known = clip.duration_s > 0 or clip.wav_filename.lower().endswith(".wav")
        frames = self.geometry.n_frames(self._samples_of(clip))
        # No label needs more than two frames, so most clips need no exact count.
        crowded = known and 2 * len(clip.transcript.encode()) > frames
        if crowded and frames_needed(self.alphabet.encode(clip.transcript)) > frames:
            return "transcript longer than the audio"
        return ""

    def read(self, positions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Positions `[B]`, int16 samples `[B, N]` and their counts, labels `[B, L]` and their counts, of some clips.

        Clips that cannot be read, or turn out too short for their transcript, are left out and named in `skipped`.
        """
        kept, signals, labels = [], [], []
        for position in positions:
            if (read := self._read(int(position))) is not None:
                kept.append(position)
                signals.append(read[0])
                labels.append(read[1])
        return (np.array(kept, np.int64), *_pad(signals, np.int16), *_pad(labels, np.int32))

    def _read(self, position: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Samples and labels of a clip; None (and a note in `skipped`) if it cannot be used."""
        source, clip = self._clips[position]
        try:
            samples = self._readers[source].samples(clip)
        except InputError:
            self.skipped.add("unreadable audio", clip.wav_filename)
            return None
        encoded = self.alphabet.encode(clip.transcript)
        if frames_needed(encoded) > self.geometry.n_frames(len(samples)):
            self.skipped.add("transcript longer than the audio", clip.wav_filename)
            return None
        return samples, encoded

    def augmented(self, position: int, augmenter: Augmenter, draw: Draw) -> tuple[int, np.ndarray, np.ndarray] | None:
        """Position, augmented features `[T, n_input]` and labels of a clip; None if it cannot be used."""
        if (read := self._read(position)) is None:
            return None
        samples, encoded = read
        needed = frames_needed(encoded)
        power = spectrogram(augmenter.apply_signal(samples, draw), self.geometry)
        power = augmenter.apply_spectrogram(power, draw, needed)
        return position, augmenter.apply_features(spectrogram_to_mfcc(power, self.geometry), draw), encoded


def _pad(rows: Sequence[np.ndarray], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different lengths -> zero-padded `[B, N]` and their lengths `[B]`."""
    counts = np.array([len(row) for row in rows], np.int32)
    padded = np.zeros((len(rows), counts.max(initial=0)), dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded, counts


def plan_sorted(n_samples: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Batches of neighbours in length, shortest first: the order of validation, and of a first epoch."""
    order = np.argsort(n_samples, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def plan_shuffled(n_samples: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Batches of clips of about the same length, drawn and ordered at random from (seed, epoch)."""
    generator = np.random.default_rng([seed, epoch])
    stray = 1.0 + generator.uniform(-LENGTH_JITTER, LENGTH_JITTER, len(n_samples))
    batches = plan_sorted(n_samples * stray, batch_size)
    return [batches[position] for position in generator.permutation(len(batches))]


@dataclass(frozen=True)
class Augmentation:
    """How the clips of one epoch are augmented; `total_epochs` drives the clock of value ranges."""

    augmenter: Augmenter
    epoch: int
    total_epochs: int
    repetitions: int = 1  # how often the epoch's plan holds every clip


def stream(
    clips: ClipSet,
    batches: Sequence[np.ndarray],
    *,
    start: int = 0,
    ahead: int = 4,
    augmentation: Augmentation | None = None,
) -> Iterator[Batch]:
    """Read, augment, featurise and pad `batches[start:]` in the background, in order.

    Batches without a usable clip are left out.
    """
    if augmentation is not None and not augmentation.augmenter.empty:
        yield from _stream_augmented(clips, batches, start, ahead, augmentation)
        return

    def rows() -> Iterator[tuple[Any, ...]]:
        for index in range(start, len(batches)):
            row = clips.read(batches[index])
            if len(row[0]):
                yield (index, *row)

    vector, matrix = tf.TensorShape([None]), tf.TensorShape([None, None])
    shapes = (tf.TensorShape([]), vector, matrix, vector, matrix, vector)
    dtypes = (tf.int64, tf.int64, tf.int16, tf.int32, tf.int32, tf.int32)
    specification = tuple(tf.TensorSpec(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True))
    dataset = tf.data.Dataset.from_generator(rows, output_signature=specification)

    def featurise(
        index: tf.Tensor,
        positions: tf.Tensor,
        samples: tf.Tensor,
        n_samples: tf.Tensor,
        labels: tf.Tensor,
        n_labels: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        features, n_frames = batch_features(samples, n_samples, clips.geometry)
        return index, positions, features, n_frames, labels, n_labels

    dataset = dataset.map(featurise, num_parallel_calls=2, deterministic=True).prefetch(ahead)
    for index, positions, features, n_frames, labels, n_labels in dataset:
        yield Batch(int(index), positions.numpy(), features, n_frames, labels, n_labels)


def _stream_augmented(
    clips: ClipSet, batches: Sequence[np.ndarray], start: int, ahead: int, augmentation: Augmentation
) -> Iterator[Batch]:
    """Augmented clips take their own way, clip by clip through NumPy on all cores, a few batches ahead."""
    starts = np.concatenate([[0], np.cumsum([len(positions) for positions in batches])])
    an_epoch = int(starts[-1])

    def make(position: int, order: int) -> tuple[int, np.ndarray, np.ndarray] | None:
        clock = (augmentation.epoch + order / an_epoch) / augmentation.total_epochs
        repetition = order * augmentation.repetitions // an_epoch
        draw = augmentation.augmenter.draw(augmentation.epoch, clips.name(position), clock, repetition)
        return clips.augmented(position, augmentation.augmenter, draw)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[tuple[int, list[Future[tuple[int, np.ndarray, np.ndarray] | None]]]] = deque()

        def submit(index: int) -> None:
            jobs = [pool.submit(make, int(p), int(starts[index]) + k) for k, p in enumerate(batches[index])]
            waiting.append((index, jobs))

        try:
            for index in range(start, min(start + ahead, len(batches))):
                submit(index)
            while waiting:
                index, jobs = waiting.popleft()
                if index + ahead < len(batches):
                    submit(index + ahead)
                made = [row for row in (job.result() for job in jobs) if row is not None]
                if made:
                    yield _batch_of(index, made)
        finally:
            pool.shutdown(cancel_futures=True)


def _batch_of(index: int, rows: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> Batch:
    n_frames = np.array([len(features) for _, features, _ in rows], np.int32)
    padded = np.zeros((len(rows), n_frames.max(), rows[0][1].shape[1]), np.float32)  # [B, T, n_input]
    for target, (_, features, _) in zip(padded, rows, strict=True):
        target[: len(features)] = features
    labels, n_labels = _pad([encoded for _, _, encoded in rows], np.int32)
    positions = np.array([position for position, _, _ in rows], np.int64)
    return Batch(index, positions, *map(tf.constant, (padded, n_frames, labels, n_labels)))


def subset(batch: Batch, keep: np.ndarray) -> Batch:
    """The clips of a batch for which `keep` `[B]` is true."""
    rows = np.flatnonzero(keep)
    tensors = (tf.gather(tensor, rows) for tensor in (batch.features, batch.n_frames, batch.labels, batch.n_labels))
    return Batch(batch.index, batch.clips[keep], *tensors)
