"""Augmentations of the waveform, against what can be measured on their output."""

import numpy as np
import pytest

from speech.augmentation.draws import Chance
from speech.augmentation.parsing import parse_augmentation
from speech.augmentation.waveform import comb, peak, through_opus

RATE = 16_000


def sine(frequency_hz: float, seconds: float = 1.0, amplitude: float = 0.25) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def level_at(signal: np.ndarray, frequency_hz: float) -> float:
    """The amplitude of a frequency, by correlation."""
    time_s = np.arange(len(signal)) / RATE
    return 2 * abs(np.mean(signal * np.exp(-2j * np.pi * frequency_hz * time_s)))


def chance(clock: float = 0.0, seed: int = 0, **more) -> Chance:
    return Chance(np.random.default_rng(seed), clock, RATE, **more)


def apply(specification: str, signal: np.ndarray, **more) -> np.ndarray:
    before = signal.copy()
    result = parse_augmentation(specification).apply(signal, chance(**more))
    assert np.array_equal(signal, before), "the input was changed"
    assert result.dtype == np.float32
    assert result.shape == signal.shape
    return result


class Sound:
    """A source that always plays the same frequency."""

    def __init__(self, frequency_hz: float) -> None:
        self.frequency_hz = frequency_hz
        self.asked = 0

    def stretch(self, length: int, generator: np.random.Generator) -> np.ndarray:
        self.asked += 1
        return sine(self.frequency_hz, length / RATE, 0.9)


@pytest.mark.parametrize("snr_db", [-6.0, 0.0, 3.0, 20.0])
def test_overlay_has_the_signal_to_noise_ratio_and_keeps_the_peak(snr_db):
    clip, noise = sine(440), Sound(1000)
    mixed = apply(f"overlay[source=x,snr={snr_db}]", clip, recordings={"x": noise})
    ratio_db = 20 * np.log10(level_at(mixed, 440) / level_at(mixed, 1000))
    assert ratio_db == pytest.approx(snr_db, abs=0.05)
    assert peak(mixed) == pytest.approx(peak(clip), rel=1e-5)


@pytest.mark.parametrize("layers", [1, 3])
def test_overlay_draws_as_many_layers_as_asked(layers):
    noise = Sound(1000)
    apply(f"overlay[source=x,layers={layers}]", sine(440), recordings={"x": noise})
    assert noise.asked == layers


def test_overlay_of_silence_changes_nothing():
    clip = sine(440)
    assert np.array_equal(apply("overlay[source=x]", clip, recordings={"x": Sound(0)}), clip)


@pytest.mark.parametrize(("dbfs", "amplitude"), [(3.0103, 1.0), (-2.9897, 0.501187), (-16.9897, 0.1)])
def test_volume_sets_the_peak_level(dbfs, amplitude):
    assert peak(apply(f"volume[dbfs={dbfs}]", sine(440))) == pytest.approx(amplitude, rel=1e-4)


def test_volume_leaves_silence_alone():
    assert not apply("volume", np.zeros(100, np.float32)).any()


def test_volume_follows_the_clock():
    peaks = [peak(apply("volume[dbfs=-10:-40]", sine(440), clock=clock)) for clock in (0.0, 0.5, 1.0)]
    assert 20 * np.log10(peaks) + 3.0103 == pytest.approx([-10, -25, -40], abs=1e-3)


@pytest.mark.parametrize("rate_hz", [8000, 12000, 7919])
def test_resample_removes_what_is_above_the_new_nyquist(rate_hz):
    low, high = 0.25 * rate_hz, min(0.6 * rate_hz, 7800)
    clip = sine(low) + sine(high)
    result = apply(f"resample[rate={rate_hz}]", clip)
    assert level_at(result, low) == pytest.approx(0.25, rel=0.01)
    assert level_at(result, high) < 0.25e-3


def test_resample_to_the_own_rate_changes_nothing():
    clip = sine(440)
    assert np.array_equal(apply("resample[rate=16000]", clip), clip)


def test_reverb_echoes_come_at_their_delays_with_their_decays():
    clip = np.zeros(RATE, np.float32)
    clip[100] = 0.5
    result = apply("reverb[delay=20,decay=6]", clip)
    gain = 10 ** (-6 / 20)
    expected = np.zeros(RATE)
    expected[100] = 6  # the sound itself, and the beginning of each of the five filters
    for prime in (17, 19, 23, 29, 31):
        delay = int(20 * prime / 17 * RATE / 1000)
        for echo in range(1, (RATE - 101) // delay + 1):
            expected[100 + echo * delay] += gain**echo
    assert result == pytest.approx(expected / 6 * 0.5, abs=1e-5)
    assert list(np.flatnonzero(result > 0.01)[:3]) == [100, 420, 100 + 357]


def test_reverb_keeps_the_peak():
    clip = sine(440)
    assert peak(apply("reverb", clip)) == pytest.approx(peak(clip), rel=1e-5)


@pytest.mark.parametrize(("delay", "gain"), [(16, 0.9), (100, 1.0), (333, 0.3), (5000, 0.5)])
def test_comb_filter_is_the_recursion(delay, gain):
    signal = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    expected = signal.astype(np.float64)
    for position in range(delay, len(expected)):
        expected[position] += gain * expected[position - delay]
    assert comb(signal, delay, gain) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_codec_loses_more_at_lower_bit_rates():
    noise = np.random.default_rng(0).standard_normal(RATE // 2)
    clip = sine(300, 0.5) + (0.05 * noise * (1 + sine(4, 0.5, 1.0))).astype(np.float32)
    bitrates = (6000, 24_000, 128_000)
    errors = [np.square(apply(f"codec[bitrate={bitrate}]", clip) - clip).mean() for bitrate in bitrates]
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2] > 0
    assert errors[0] < 0.5 * np.square(clip).mean()  # it is still the clip, and not shifted


def test_codec_holds_the_bit_rate_to_what_the_encoder_takes():
    clip = sine(300, 0.3)
    assert np.array_equal(through_opus(clip, RATE, 3200), through_opus(clip, RATE, 6000))
    assert np.array_equal(through_opus(clip, RATE, 500_000), through_opus(clip, RATE, 256_000))


def test_codec_takes_sample_rates_that_opus_does_not_have():
    clip = sine(300, 0.5)
    result = parse_augmentation("codec[bitrate=32000]").apply(clip, Chance(np.random.default_rng(0), 0.0, 22_050))
    assert result.shape == clip.shape
    assert np.square(result - clip).mean() < 0.05 * np.square(clip).mean()


def test_codec_clips_what_is_beyond_full_scale():
    assert peak(apply("codec[bitrate=64000]", sine(300, 0.3, 3.0))) < 1.5


@pytest.mark.parametrize("n", [1, 4])
def test_gaps_have_their_number_and_size(n):
    clip = np.ones(RATE, np.float32)
    result = apply(f"gaps[n={n},size=50]", clip, seed=3)
    edges = np.flatnonzero(np.diff(np.concatenate([[1], result, [1]])))
    lengths = edges[1::2] - edges[::2]
    assert lengths.sum() == n * 800  # none overlap with this seed
    assert set(result) == {0.0, 1.0}


def test_gaps_take_at_most_a_tenth_of_the_clip():
    assert (apply("gaps[size=5000]", np.ones(1000, np.float32)) == 0).sum() == 100


def test_gaps_may_be_none():
    clip = np.ones(1000, np.float32)
    assert np.array_equal(apply("gaps[n=-2]", clip), clip)
