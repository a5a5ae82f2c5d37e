"""Other voices, tones and noise, against the features of sounds that have them."""

import numpy as np
import pytest

from speech.augmentation.cepstra import DB_PER_NEPER, warping
from speech.augmentation.draws import Chance
from speech.augmentation.parsing import parse_augmentation
from speech.features.mfcc import MEL_CHANNELS, dct_matrix, spectrogram, spectrogram_to_mfcc
from speech.geometry import Geometry

GEOMETRY = Geometry(16, 5)
BINS = 257


def formant(hz: float) -> np.ndarray:
    """The features `[1, 26]` of a sound with one broad resonance over a floor."""
    frequency = np.linspace(0, GEOMETRY.audio_sample_rate / 2, BINS)
    power = 1e-4 + np.exp(-np.square((frequency - hz) / 300))
    return spectrogram_to_mfcc(power[np.newaxis].astype(np.float32), GEOMETRY)


def apply(specification: str, array: np.ndarray, seed: int = 0) -> np.ndarray:
    before = array.copy()
    result = parse_augmentation(specification).apply(array, Chance(np.random.default_rng(seed)))
    assert np.array_equal(array, before), "the input was changed"
    assert result.dtype == np.float32
    assert result.shape == array.shape
    return result


def loudest(features: np.ndarray) -> int:
    """The mel channel that has most energy."""
    return int((features[0] @ np.linalg.pinv(dct_matrix(26))).argmax())


@pytest.mark.parametrize("factor", [0.8, 1.2])
@pytest.mark.parametrize("hz", [900, 2000, 3500])
def test_formants_move_by_the_factor(factor: float, hz: float) -> None:
    there, moved = formant(hz), apply(f"voice[formants={factor},tone=0]", formant(hz))
    assert abs(loudest(moved) - loudest(formant(hz * factor))) <= 1
    assert (loudest(moved) - loudest(there)) * np.sign(factor - 1) >= 2


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_what_is_at_the_top_stays_there_and_nothing_is_silent(factor: float) -> None:
    flat = spectrogram_to_mfcc(np.ones((1, BINS), np.float32), GEOMETRY)
    moved = flat @ warping(factor, 26, 16_000)
    energies = moved[0] @ np.linalg.pinv(dct_matrix(26))
    assert np.ptp(energies) <= np.ptp(flat[0] @ np.linalg.pinv(dct_matrix(26))) + 0.7  # an empty channel has -27
    np.testing.assert_allclose(warping(1.0, 26, 16_000), np.eye(26), atol=1e-6)


@pytest.mark.parametrize("decibel", [1.0, 3.0])
def test_the_tone_deviates_by_so_many_decibel_and_not_in_time(decibel: float) -> None:
    features = np.random.default_rng(1).normal(size=(4, 26)).astype(np.float32)
    curves = []
    for seed in range(300):
        change = apply(f"voice[formants=1,tone={decibel}]", features, seed) - features
        np.testing.assert_allclose(change, np.tile(change[:1], (4, 1)), atol=1e-5)
        curves.append(change[0] @ np.linalg.pinv(dct_matrix(26)) * DB_PER_NEPER)  # [MEL_CHANNELS]
    assert np.square(curves).mean() ** 0.5 == pytest.approx(decibel, rel=0.06)
    assert np.array(curves).shape == (300, MEL_CHANNELS)
    assert abs(np.mean(curves)) < 0.1 * decibel


def test_models_with_few_features_have_voices() -> None:
    assert apply("voice", np.ones((3, 3), np.float32)).shape == (3, 3)
    assert apply("voice", np.ones((3, 1), np.float32)).shape == (3, 1)


def noisy(snr_db: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of a second of tones with pauses in it, and of the same with white noise, `[T, 26]`."""
    time_s = np.arange(16_000) / 16_000
    tones = sum(np.sin(2 * np.pi * hz * time_s) for hz in range(150, 8000, 150)) * (np.sin(2 * np.pi * 3 * time_s) > 0)
    signal = tones / np.abs(tones).max() * 0.5 + np.random.default_rng(1).normal(0, 1e-5, len(time_s))
    clean = spectrogram(signal.astype(np.float32), GEOMETRY)
    noise = np.random.default_rng(seed).normal(0, 1, len(time_s))
    per_bin = np.sqrt(spectrogram(noise.astype(np.float32), GEOMETRY).mean())
    level = np.sqrt(clean.mean(1).max()) * 10 ** (-snr_db / 20)
    added = spectrogram((signal + noise * level / per_bin).astype(np.float32), GEOMETRY)
    return spectrogram_to_mfcc(clean, GEOMETRY), spectrogram_to_mfcc(added, GEOMETRY)


@pytest.mark.parametrize("snr_db", [30, 15])
def test_noise_is_what_noise_in_the_recording_is(snr_db: float) -> None:
    clean, expected = noisy(snr_db)
    found = apply(f"noise[snr={snr_db}]", clean)
    assert np.abs(clean - expected).mean() > 0.5
    np.testing.assert_allclose(
        found.mean(0), expected.mean(0), atol=1.0
    )  # of features that the noise moves by up to 30
    assert np.abs(found - expected).mean() < 0.25 * np.abs(clean - expected).mean()
    pause = expected[:, 0] < expected[:, 0].mean()
    assert found[pause].std(0)[1:].mean() == pytest.approx(expected[pause].std(0)[1:].mean(), rel=0.25)


def test_noise_goes_by_the_level_of_the_clip_and_differs_each_time() -> None:
    clean, _ = noisy(30)
    louder = clean + np.float32(7) * (np.arange(26) == 0)
    np.testing.assert_allclose(apply("noise", louder) - louder, apply("noise", clean) - clean, atol=1e-3)
    assert np.abs(apply("noise", clean, 1) - apply("noise", clean, 2)).max() > 0.1
