"""Augmentations of the spectrogram `[T, bins]` of squared magnitudes: pitch, tempo, warp, frequency_mask."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from speech.augmentation.augmentation import (
    SPECTROGRAM,
    Augmentation,
    Floats,
    number,
    parameter,
    real_range,
    whole_range,
)
from speech.augmentation.draws import Chance
from speech.augmentation.multi_domain import zero_stretches
from speech.augmentation.ranges import Range, Values


@dataclass(frozen=True, kw_only=True)
class Pitch(Augmentation):
    """Stretches the frequency axis; what leaves it at the top is lost, what is missing there is silence."""

    NAME: ClassVar[str] = "pitch"
    domain: str = SPECTROGRAM
    pitch: Range = parameter(real_range, "1.075~0.125", "factor of the frequencies", above=0)

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[T, F]` -> `[T, F]`."""
        bins = array.shape[1]
        stretched_bins = max(1, int(bins * chance.pick(self.pitch)))
        stretched = stretch(array.T, stretched_bins, min(bins, stretched_bins)).T  # [T, up to F]
        return np.ascontiguousarray(np.pad(stretched, ((0, 0), (0, bins - stretched.shape[1]))))


@dataclass(frozen=True, kw_only=True)
class Tempo(Augmentation):
    """Stretches the time axis, never to fewer frames than the clip's labels need."""

    NAME: ClassVar[str] = "tempo"
    domain: str = SPECTROGRAM
    factor: Values = parameter(real_range, "1.1", "factor of the speed", above=0)
    max_time: float = parameter(number, "-1", "longest clip to make; 0 or less: any", unit="ms")

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[T, F]` -> `[T / factor, F]`."""
        frames = int(len(array) / chance.pick(self.factor))
        if self.max_time > 0:
            frames = min(frames, int(self.max_time / chance.frame_ms))
        frames = max(1, frames, min(chance.min_frames, len(array)))
        return array if frames == len(array) else stretch(array, frames, frames)


@dataclass(frozen=True, kw_only=True)
class Warp(Augmentation):
    """Shifts the points of a grid at random and bends the spectrogram with it; its edges stay."""

    NAME: ClassVar[str] = "warp"
    domain: str = SPECTROGRAM
    num_t: Range = parameter(whole_range, "1", "grid lines along time, without the edges", aliases=("nt",))
    num_f: Range = parameter(whole_range, "1", "grid lines along frequency, without the edges", aliases=("nf",))
    warp_t: Range = parameter(
        real_range, "0.1", "deviation of the shifts in time; 1: half-way to the neighbour", aliases=("wt",)
    )
    warp_f: Range = parameter(
        real_range, "0.0", "deviation of the shifts in frequency; 1: half-way to the neighbour", aliases=("wf",)
    )

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[T, F]` -> `[T, F]`."""
        lines = chance.pick_count(self.num_t), chance.pick_count(self.num_f)
        if not all(lines):
            return array
        deviations = chance.pick(self.warp_t), chance.pick(self.warp_f)
        shapers = [cubic_weights(size, count + 2) for size, count in zip(array.shape, lines, strict=True)]
        shifts = []
        for size, count, deviation in zip(array.shape, lines, deviations, strict=True):
            grid = chance.generator.standard_normal(lines) * deviation * size / (2 * (count + 1))
            shifts.append(shapers[0] @ np.pad(grid, 1) @ shapers[1].T if deviation else None)  # [T, F]
        return shifted(array, *shifts)


@dataclass(frozen=True, kw_only=True)
class FrequencyMask(Augmentation):
    """Sets bands of frequencies to zero (SpecAugment, https://arxiv.org/abs/1904.08779)."""

    NAME: ClassVar[str] = "frequency_mask"
    domain: str = SPECTROGRAM
    n: Range = parameter(whole_range, "3", "how many bands")
    size: Values = parameter(whole_range, "2", "width of a band; at least one bin", unit="bins")
    least: ClassVar[int] = 1  # bins

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[T, F]` -> `[T, F]`."""
        widest = max(self.least, array.shape[1] - 1)
        sizes = (chance.pick(self.size) for _ in range(chance.pick_count(self.n)))
        return zero_stretches(array, 1, [min(widest, max(self.least, round(size))) for size in sizes], chance.generator)


def stretch(rows: npt.NDArray[np.float32], length: int, kept: int) -> npt.NDArray[np.float32]:
    """Resize the first axis to `length` by linear interpolation and give the first `kept` rows.

    Row i comes from position i * len(rows) / length, as TensorFlow's legacy `resize_bilinear` does it.
    """
    position = np.arange(kept) * (len(rows) / length)
    before = np.minimum(position.astype(np.int64), len(rows) - 1)
    after = np.minimum(before + 1, len(rows) - 1)
    weight = (position - before).astype(np.float32)[:, np.newaxis]
    lower = rows[before]
    difference = rows[after] - lower
    difference *= weight
    difference += lower
    return difference  # [kept, ...]


def cubic_weights(size: int, points: int) -> npt.NDArray[np.float64]:
    """`[size, points]`: how much each of `points` equally spaced values, edge to edge, counts at each position.

    Keys' cubic convolution (a = -0.5): smooth, and exact at the points.
    """
    position = np.arange(size) * ((points - 1) / max(1, size - 1))
    before = np.minimum(position.astype(np.int64), points - 2)
    t = position - before
    weights = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    matrix = np.zeros((size, points))
    rows = np.arange(size)
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(matrix, (rows, np.clip(before + offset, 0, points - 1)), weight)
    return matrix


def shifted(array: Floats, shift_t: np.ndarray | None, shift_f: np.ndarray | None) -> Floats:
    """The value at (t, f) comes from (t - shift_t, f - shift_f), bilinearly, held at the edges; None: no shift."""
    result = array
    frames, bins = array.shape
    before_t, after_t, weight_t = _neighbours(frames, shift_t, np.arange(frames)[:, np.newaxis])
    before_f, after_f, weight_f = _neighbours(bins, shift_f, np.arange(bins)[np.newaxis])
    flat = np.ascontiguousarray(array).reshape(-1)

    def row(t: np.ndarray) -> Floats:
        start = t * bins
        lower = flat.take(start + before_f)
        return lower if shift_f is None else lower + weight_f * (flat.take(start + after_f) - lower)

    result = row(before_t)
    return result if shift_t is None else result + weight_t * (row(after_t) - result)


def _neighbours(size: int, shift: np.ndarray | None, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The positions on both sides of `index - shift`, and how far it is from the first to the second."""
    if shift is None:
        return index, index, np.zeros(1, np.float32)
    position = np.clip(index - shift, 0, size - 1)
    before = position.astype(np.int32)
    return before, np.minimum(before + 1, size - 1), (position - before).astype(np.float32)
