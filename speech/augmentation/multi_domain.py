"""Augmentations that can be applied to the signal, to the spectrogram or to the features; the first axis is time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from speech.augmentation.augmentation import (
    FEATURES,
    SIGNAL,
    SPECTROGRAM,
    Augmentation,
    Floats,
    chosen_domain,
    parameter,
    real_range,
    whole_range,
)
from speech.augmentation.draws import Chance
from speech.augmentation.ranges import Range, Values


def zero_stretches(array: Floats, axis: int, sizes: Iterable[int], generator: np.random.Generator) -> Floats:
    """A copy with stretches of these sizes along an axis set to zero, anywhere, each by a draw of its own."""
    result = array.copy()
    along = np.moveaxis(result, axis, 0)
    for size in sizes:
        size = min(max(size, 0), len(along))
        start = int(generator.integers(len(along) - size + 1))
        along[start : start + size] = 0
    return result


@dataclass(frozen=True, kw_only=True)
class TimeMask(Augmentation):
    """Sets stretches of time to zero."""

    NAME: ClassVar[str] = "time_mask"
    domain: str = parameter(chosen_domain, SPECTROGRAM, "signal, spectrogram or features")
    n: Range = parameter(whole_range, "3", "how many stretches")
    size: Values = parameter(real_range, "10.0", "length of a stretch; at least one frame or sample", unit="ms")
    least: ClassVar[int] = 1  # frames or samples

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """Any shape with time first -> the same shape."""
        units_per_ms = chance.sample_rate / 1000 if self.domain == SIGNAL else 1 / chance.frame_ms
        longest = max(self.least, len(array) - 1)
        sizes_ms = (chance.pick(self.size) for _ in range(chance.pick_count(self.n)))
        # 60 ms / 20 ms must not become 2 frames by a rounding error.
        sizes = [min(longest, max(self.least, int(size_ms * units_per_ms + 1e-6))) for size_ms in sizes_ms]
        return zero_stretches(array, 0, sizes, chance.generator)


@dataclass(frozen=True, kw_only=True)
class Dropout(Augmentation):
    """Sets single values to zero."""

    NAME: ClassVar[str] = "dropout"
    domain: str = parameter(chosen_domain, SPECTROGRAM, "signal, spectrogram or features")
    rate: Range = parameter(real_range, "0.05", "share of the values that is set to zero")

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """Any shape -> the same shape."""
        return array * self.kept(array, chance)[0]

    def kept(self, array: Floats, chance: Chance) -> tuple[np.ndarray, float]:
        """Which values are kept, and what share of them that is on average."""
        rate = min(max(chance.pick(self.rate), 0.0), 1.0)
        return chance.generator.random(array.shape, np.float32) >= np.float32(rate), 1 - rate


@dataclass(frozen=True, kw_only=True)
class _NormalNoise(Augmentation):
    """Normally distributed numbers, one for each value."""

    domain: str = parameter(chosen_domain, FEATURES, "signal, spectrogram or features")
    stddev: Range = parameter(real_range, "5", "standard deviation")

    def noise(self, array: Floats, chance: Chance) -> Floats:
        """Any shape -> the same shape; mean 0."""
        stddev = np.float32(chance.pick(self.stddev))
        noise = chance.generator.standard_normal(array.shape, np.float32)
        noise *= stddev
        return noise


@dataclass(frozen=True, kw_only=True)
class Add(_NormalNoise):
    """Adds normally distributed noise of mean 0."""

    NAME: ClassVar[str] = "add"

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """Any shape -> the same shape."""
        noise = self.noise(array, chance)
        noise += array
        return _possible(noise, self.domain)


@dataclass(frozen=True, kw_only=True)
class Multiply(_NormalNoise):
    """Multiplies by normally distributed factors of mean 1."""

    NAME: ClassVar[str] = "multiply"

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """Any shape -> the same shape."""
        factors = self.noise(array, chance)
        factors += 1
        factors *= array
        return _possible(factors, self.domain)


def _possible(array: Floats, domain: str) -> Floats:
    """Squared magnitudes below zero would become NaN in the features."""
    return np.maximum(array, 0, out=array) if domain == SPECTROGRAM else array
