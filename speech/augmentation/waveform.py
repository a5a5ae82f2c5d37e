"""Augmentations of the waveform: overlay, codec, reverb, resample, volume, gaps.

Signals are float32 `[N]` with a full scale of 1.0. Levels are peak levels in dBFS as DeepSpeech counts them: a peak of
full scale is 3.0103 dBFS, the level at which a sine has an RMS of 0 dBFS.
"""

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from speech.augmentation.augmentation import SAMPLE, Augmentation, Floats, parameter, path, real_range, whole_range
from speech.augmentation.draws import Chance
from speech.augmentation.multi_domain import zero_stretches
from speech.augmentation.ranges import Range
from speech.clips import opus_packets
from speech.errors import InputError

FULL_SCALE_DBFS = 3.0103
COMB_PRIMES = (17, 19, 23, 29, 31)  # relative delays of the reflections, so that they seldom coincide
LEAST_DELAY_SAMPLES = 16
LONGEST_GAP = 0.1  # of the clip


def ratio(gain_db: float) -> float:
    """Decibels -> a factor of amplitude."""
    return 10.0 ** (gain_db / 20.0)


def peak(signal: Floats) -> float:
    """The largest absolute sample."""
    return float(max(signal.max(), -signal.min()))


def with_peak(signal: Floats, target: float) -> Floats:
    """Scaled to a peak amplitude and clipped at full scale; silence stays silence."""
    loudest = peak(signal)
    if not loudest:
        return signal
    return np.clip(signal * np.float32(target / loudest), -1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Overlay(Augmentation):
    """Mixes other recordings in, stitched together to the clip's length; the clip's peak level stays."""

    NAME: ClassVar[str] = "overlay"
    source: str = parameter(path, None, "CSV, .sdb or .tar file, corpus folder or folder of audio files to mix in")
    snr: Range = parameter(real_range, "3.0", "peak level of the clip over that of the overlay", unit="dB")
    layers: Range = parameter(whole_range, "1", "how many recordings sound at once")

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[N]` -> `[N]`."""
        layers, snr = chance.pick_count(self.layers), chance.pick(self.snr)
        recordings = chance.recordings[self.source]
        overlay = np.zeros_like(array)
        for _ in range(layers):
            overlay += recordings.stretch(len(array), chance.generator)
        level, overlay_level = peak(array), peak(overlay)
        if not level or not overlay_level:
            return array
        return with_peak(array + overlay * np.float32(level / overlay_level * ratio(-snr)), level)


@dataclass(frozen=True, kw_only=True)
class Codec(Augmentation):
    """Encodes and decodes with Opus."""

    NAME: ClassVar[str] = "codec"
    bitrate: Range = parameter(whole_range, "3200", "of the encoder; held to 6000 ... 256000", unit="bit/s", above=0)

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[N]` -> `[N]`."""
        bitrate, rate = chance.pick(self.bitrate), chance.sample_rate
        if rate in opus_packets.RATES_HZ:
            return through_opus(array, rate, bitrate)
        opus_rate = next((possible for possible in opus_packets.RATES_HZ if possible > rate), opus_packets.RATES_HZ[-1])
        return fit(_soxr(through_opus(_soxr(array, rate, opus_rate), opus_rate, bitrate), opus_rate, rate), len(array))


@dataclass(frozen=True, kw_only=True)
class Reverb(Augmentation):
    """Adds the reflections of a room: five feedback comb filters (Schroeder's, without his all-pass filters).

    https://ccrma.stanford.edu/~jos/pasp/Schroeder_Reverberators.html; the clip's peak level stays.
    """

    NAME: ClassVar[str] = "reverb"
    delay: Range = parameter(real_range, "20.0", "of the first reflection", unit="ms", least=0)
    decay: Range = parameter(real_range, "10.0", "loss with each reflection", unit="dB", least=0)

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[N]` -> `[N]`."""
        delay_ms, gain = chance.pick(self.delay), ratio(-chance.pick(self.decay))
        result = array.copy()
        for prime in COMB_PRIMES:
            delay = int(delay_ms * prime / COMB_PRIMES[0] * chance.sample_rate / 1000)
            result += comb(array, max(LEAST_DELAY_SAMPLES, delay), gain)
        return with_peak(result, peak(array))


@dataclass(frozen=True, kw_only=True)
class Resample(Augmentation):
    """Resamples to another rate and back: what is above half of that rate is lost."""

    NAME: ClassVar[str] = "resample"
    rate: Range = parameter(whole_range, "8000", "sample rate on the way", unit="Hz", above=0)

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[N]` -> `[N]`."""
        rate = chance.pick(self.rate)
        if rate == chance.sample_rate:
            return array
        return fit(_soxr(_soxr(array, chance.sample_rate, rate), rate, chance.sample_rate), len(array))


@dataclass(frozen=True, kw_only=True)
class Volume(Augmentation):
    """Sets the peak level."""

    NAME: ClassVar[str] = "volume"
    dbfs: Range = parameter(real_range, "3.0103", "peak level; 3.0103 is full scale", unit="dBFS")

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[N]` -> `[N]`."""
        return with_peak(array, ratio(chance.pick(self.dbfs) - FULL_SCALE_DBFS))


@dataclass(frozen=True, kw_only=True)
class Gaps(Augmentation):
    """Silences stretches of at most a tenth of the clip (DeepSpeech 0.7.2 and 0.7.3)."""

    NAME: ClassVar[str] = "gaps"
    domain: str = SAMPLE
    n: Range = parameter(whole_range, "1", "how many gaps")
    size: Range = parameter(real_range, "50.0", "length of a gap", unit="ms")

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[N]` -> `[N]`."""
        longest = int(len(array) * LONGEST_GAP)
        sizes_ms = (chance.pick(self.size) for _ in range(chance.pick_count(self.n)))
        sizes = [min(longest, int(size_ms * chance.sample_rate / 1000)) for size_ms in sizes_ms]
        return zero_stretches(array, 0, sizes, chance.generator)


def comb(signal: Floats, delay: int, gain: float) -> Floats:
    """The feedback comb filter y[n] = x[n] + gain * y[n - delay].

    The series 1 + g z + g^2 z^2 + ... is the product of (1 + g z), (1 + g^2 z^2), (1 + g^4 z^4), ..., so a few passes
    over the whole signal do.
    """
    result = signal
    while delay < len(signal) and gain > 1e-6:
        reflected = result.copy()
        reflected[delay:] += np.float32(gain) * result[:-delay]
        result, delay, gain = reflected, 2 * delay, gain * gain
    return result


def through_opus(signal: Floats, rate: int, bitrate: float) -> Floats:
    """Encode to Opus (in an Ogg stream in memory) and decode, at one of Opus' sample rates."""
    import soundfile

    try:
        ogg = opus_packets.write_ogg(np.clip(signal, -1, 1), rate, bitrate)
        decoded, _ = soundfile.read(io.BytesIO(ogg), dtype="float32")
    except (InputError, soundfile.LibsndfileError) as error:
        raise InputError(f"augmentation codec: {error}") from error
    return fit(decoded, len(signal))


def fit(signal: Floats, length: int) -> Floats:
    """Cut or zero-padded to `length` samples."""
    return signal[:length] if len(signal) >= length else np.pad(signal, (0, length - len(signal)))


def _soxr(signal: Floats, rate: float, target_rate: float) -> Floats:
    import soxr

    return soxr.resample(signal, rate, target_rate)
