"""Manifests -> batches of features: which clips make a batch is decided here, from (seed, epoch) alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from speech.alphabet import Alphabet
from speech.audio import WAV_HEADER_BYTES, ClipReader
from speech.errors import InputError
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

    def add(self, reason: str, clip: str) -> bool:
        """Count a clip once for a reason; returns whether it is new."""
        if (reason, clip) in self._seen:
            return False
        self._seen.add((reason, clip))
        self.counts[reason] = self.counts.get(reason, 0) + 1
        names = self.examples.setdefault(reason, [])
        if len(names) < EXAMPLES_PER_REASON:
            names.append(clip)
        return True

    @property
    def total(self) -> int:
        """Clips skipped for any reason."""
        return sum(self.counts.values())


class ClipSet:
    """The usable clips of one or several manifests, their lengths and their labels."""

    def __init__(self, manifests: Sequence[Manifest], alphabet: Alphabet, geometry: Geometry) -> None:
        """Leave out (and name in `skipped`) clips whose transcript is empty, outside the alphabet, or too long.

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
        names = ", ".join(str(manifest.path) for manifest in manifests)
        if not kept:
            reasons = (
                ", ".join(f"{count} {reason}" for reason, count in self.skipped.counts.items()) or "it has no rows"
            )
            raise InputError(f"{names}: no usable clip ({reasons}): check the CSV and the alphabet")
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
            source, clip = self._clips[position]
            try:
                samples = self._readers[source].samples(clip)
            except InputError as error:
                if self.skipped.add("unreadable audio", clip.wav_filename):
                    tf.get_logger().debug(str(error))
                continue
            encoded = self.alphabet.encode(clip.transcript)
            if frames_needed(encoded) > self.geometry.n_frames(len(samples)):
                self.skipped.add("transcript longer than the audio", clip.wav_filename)
                continue
            kept.append(position)
            signals.append(samples)
            labels.append(encoded)
        return (np.array(kept, np.int64), *_pad(signals, np.int16), *_pad(labels, np.int32))


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


def stream(clips: ClipSet, batches: Sequence[np.ndarray], *, ahead: int = 4) -> Iterator[Batch]:
    """Read, pad and featurise `batches` in the background, in order; batches without a usable clip are left out."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for index, positions in enumerate(batches):
            row = clips.read(positions)
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


def subset(batch: Batch, keep: np.ndarray) -> Batch:
    """The clips of a batch for which `keep` `[B]` is true."""
    rows = np.flatnonzero(keep)
    tensors = (tf.gather(tensor, rows) for tensor in (batch.features, batch.n_frames, batch.labels, batch.n_labels))
    return Batch(batch.index, batch.clips[keep], *tensors)
