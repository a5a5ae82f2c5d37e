"""Augmentations of the features `[T, n_input]` towards other speakers, microphones and places: voice, noise.

They cost small products a clip, and features can be kept from epoch to epoch in front of them. They add no values that
no recording has: where frequencies are scaled up to is taken from what is there, and no channel becomes silent.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from speech.augmentation.augmentation import FEATURES, Augmentation, Floats, parameter, real_range
from speech.augmentation.draws import Chance
from speech.augmentation.ranges import Range
from speech.features.mfcc import LOWEST_HZ, MEL_CHANNELS, dct_matrix, mel_matrix
from speech.geometry import Geometry

KNEE = 0.6  # of half the sample rate: below it all frequencies have the factor, above it they end where they ended
TONE_ORDERS = range(1, 5)  # cosines over the mel axis, of half a period to two
DB_PER_NEPER = 20 / np.log(10)


@dataclass(frozen=True, kw_only=True)
class Voice(Augmentation):
    """Scales the formants, as another vocal tract does, and bends the tone, as another microphone or room does."""

    NAME: ClassVar[str] = "voice"
    domain: str = FEATURES
    formants: Range = parameter(real_range, "1~0.15", "factor of the frequencies", above=0)
    tone: Range = parameter(real_range, "1", "deviation of a smooth curve over the frequencies", unit="dB", least=0)

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[T, F]` -> `[T, F]`."""
        count = array.shape[1]
        result = array @ warping(chance.pick(self.formants), count, chance.sample_rate)
        orders = [order for order in TONE_ORDERS if order < count]
        # Each of the orders' cosines has the root mean square sqrt(1 / MEL_CHANNELS) over the log energies.
        deviation = chance.pick(self.tone) / DB_PER_NEPER * np.sqrt(MEL_CHANNELS / max(1, len(orders)))
        result[:, orders] += (chance.generator.standard_normal(len(orders)) * deviation).astype(np.float32)
        return result


@dataclass(frozen=True, kw_only=True)
class FlatNoise(Augmentation):
    """Adds steady noise that is equally strong at all frequencies."""

    NAME: ClassVar[str] = "noise"
    domain: str = FEATURES
    snr: Range = parameter(
        real_range,
        "30~15",
        "level of the loudest frame over the noise's, both as the mel channels hear them",
        unit="dB",
    )

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[T, F]` -> `[T, F]`."""
        count = array.shape[1]
        flat, deviation = _of_flat_noise(chance.sample_rate)
        energies = array @ _log_energies(count) - flat  # [T, MEL_CHANNELS] of nepers a bin
        level = np.log(np.square(np.exp(energies)).mean(1).max()) / 2 - chance.pick(self.snr) / DB_PER_NEPER
        noise = 1 + deviation * chance.generator.standard_normal(energies.shape, np.float32)
        added = np.log1p(np.square(np.exp(level - energies) * np.maximum(noise, 0))) / 2
        return array + (added @ dct_matrix(count)).astype(np.float32)


@cache
def _of_flat_noise(sample_rate: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of noise with magnitude 1 in each bin: log energies `[MEL_CHANNELS]`, and how much they vary from frame to frame.

    A bin's magnitude is Rayleigh distributed, with a deviation of 0.52 of the mean.
    """
    mel = mel_matrix(Geometry(1, 1, audio_sample_rate=sample_rate))
    total = np.maximum(mel.sum(0), 0.1)
    return np.log(total), 0.52 * np.sqrt(np.square(mel).sum(0)) / total


def warping(factor: float, count: int, sample_rate: int) -> npt.NDArray[np.float32]:
    """`[F, F]`: MFCC -> MFCC of the same sound with its frequencies times `factor`, as far as so few tell."""
    hz, nyquist = _hz(sample_rate), sample_rate / 2
    knee = KNEE * nyquist * min(1.0, factor)
    source_hz = np.interp(hz, [0.0, knee, nyquist], [0.0, knee / factor, nyquist])
    position = np.clip(np.interp(source_hz, hz, np.arange(MEL_CHANNELS)), 0, MEL_CHANNELS - 1)
    before = np.minimum(position.astype(int), MEL_CHANNELS - 2)
    channels, share = np.arange(MEL_CHANNELS), position - before
    resampling = np.zeros((MEL_CHANNELS, MEL_CHANNELS))
    resampling[before, channels] = 1 - share
    resampling[before + 1, channels] = share
    return (_log_energies(count) @ resampling @ dct_matrix(count)).astype(np.float32)


@cache
def _hz(sample_rate: int) -> npt.NDArray[np.float64]:
    """The centres of the mel channels `[MEL_CHANNELS]`."""
    low, high = (1127.0 * np.log1p(hz / 700.0) for hz in (LOWEST_HZ, sample_rate / 2))
    mels = low + (high - low) / (MEL_CHANNELS + 1) * np.arange(1, MEL_CHANNELS + 1)
    return 700.0 * np.expm1(mels / 1127.0)


@cache
def _log_energies(count: int) -> npt.NDArray[np.float64]:
    """MFCC -> log energies, `[F, MEL_CHANNELS]`: the smoothest that have these coefficients."""
    return np.asarray(np.linalg.pinv(dct_matrix(count)), np.float64)
