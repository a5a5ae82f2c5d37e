"""Augmentations of several domains: shares, sizes and distributions, measured."""

import numpy as np
import pytest

from speech.augmentation.draws import Chance
from speech.augmentation.parsing import parse_augmentation

SHAPES = {"signal": (16_000,), "spectrogram": (200, 257), "features": (200, 26)}


def apply(specification: str, array: np.ndarray, seed: int = 0, clock: float = 0.0) -> np.ndarray:
    before = array.copy()
    result = parse_augmentation(specification).apply(array, Chance(np.random.default_rng(seed), clock))
    assert np.array_equal(array, before), "the input was changed"
    assert result.dtype == np.float32
    assert result.shape == array.shape
    return result


def ones(domain: str) -> np.ndarray:
    return np.ones(SHAPES[domain], np.float32)


@pytest.mark.parametrize("domain", SHAPES)
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_dropout_drops_the_share_of_its_rate(domain, rate):
    result = apply(f"dropout[domain={domain},rate={rate}]", ones(domain))
    assert (result == 0).mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / result.size))
    assert set(np.unique(result)) == {0.0, 1.0}  # what is kept is not scaled


@pytest.mark.parametrize(("rate", "share"), [("0", 0.0), ("-0.5", 0.0), ("1", 1.0), ("1.5", 1.0)])
def test_dropout_of_nothing_and_of_all(rate, share):
    assert (apply(f"dropout[rate={rate}]", ones("spectrogram")) == 0).mean() == share


@pytest.mark.parametrize("domain", SHAPES)
def test_add_adds_noise_of_its_deviation(domain):
    added = apply(f"add[domain={domain},stddev=0.5]", ones(domain) * 10) - 10
    assert added.mean() == pytest.approx(0, abs=4 * 0.5 / np.sqrt(added.size))
    assert added.std() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("domain", SHAPES)
def test_multiply_scales_by_factors_around_one(domain):
    factors = apply(f"multiply[domain={domain},stddev=0.2]", ones(domain) * 10) / 10
    assert factors.mean() == pytest.approx(1, abs=4 * 0.2 / np.sqrt(factors.size))
    assert factors.std() == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("name", ["add", "multiply"])
def test_squared_magnitudes_stay_above_zero(name):
    assert apply(f"{name}[domain=spectrogram,stddev=5]", ones("spectrogram")).min() == 0
    assert apply(f"{name}[domain=features,stddev=5]", ones("features")).min() < 0


@pytest.mark.parametrize(
    ("domain", "size_ms", "expected"),
    [("signal", 10, 160), ("signal", 0.01, 1), ("spectrogram", 60, 3), ("features", 10, 1), ("features", 99, 4)],
)
def test_time_masks_have_their_size(domain, size_ms, expected):
    zero = apply(f"time_mask[domain={domain},n=1,size={size_ms}]", ones(domain)) == 0
    masked = zero.reshape(len(zero), -1)
    assert (masked.all(axis=1) == masked.any(axis=1)).all()  # whole frames
    assert masked.all(axis=1).sum() == expected


@pytest.mark.parametrize("n", [0, 1, 3])
def test_time_masks_have_their_number(n):
    assert (apply(f"time_mask[domain=signal,n={n},size=20]", ones("signal"), seed=2) == 0).sum() == n * 320


def test_time_masks_follow_the_clock():
    sizes = [
        (apply("time_mask[domain=signal,n=1,size=50:100]", ones("signal"), clock=c) == 0).sum() for c in (0, 0.5, 1)
    ]
    assert sizes == [800, 1200, 1600]


def test_a_time_mask_leaves_something():
    assert (apply("time_mask[n=1,size=100000]", ones("spectrogram"))[:, 0] != 0).sum() == 1


def test_time_masks_reach_both_ends():
    masked = [apply("time_mask[n=1,size=20]", ones("features")[:10], seed=seed)[:, 0] == 0 for seed in range(200)]
    assert np.any(masked, axis=0).all()
