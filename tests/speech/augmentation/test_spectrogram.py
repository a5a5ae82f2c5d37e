"""Augmentations of the spectrogram, against independent interpolation and by their properties."""

import os

import numpy as np
import pytest

from speech.augmentation.draws import Chance
from speech.augmentation.parsing import parse_augmentation
from speech.augmentation.spectrogram import cubic_weights, shifted

FRAMES, BINS = 60, 257


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((FRAMES, BINS), np.float32) + np.float32(0.5)


def apply(specification: str, array: np.ndarray, seed: int = 0, clock: float = 0.0, **more) -> np.ndarray:
    before = array.copy()
    result = parse_augmentation(specification).apply(array, Chance(np.random.default_rng(seed), clock, **more))
    assert np.array_equal(array, before), "the input was changed"
    assert result.dtype == np.float32
    return result


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2, 2.0])
def test_pitch_moves_a_tone_by_the_factor(factor):
    spectrogram = np.zeros((FRAMES, BINS), np.float32)
    spectrogram[:, 100] = 1
    result = apply(f"pitch[pitch={factor}]", spectrogram)
    assert result.shape == (FRAMES, BINS)
    assert abs(int(result[30].argmax()) - 100 * factor) <= 1


@pytest.mark.parametrize("factor", [0.7, 0.95, 1.3])
def test_pitch_is_linear_interpolation(factor):
    spectrogram = noise()
    bins = int(BINS * factor)
    for result, row in zip(apply(f"pitch[pitch={factor}]", spectrogram), spectrogram, strict=True):
        expected = np.interp(np.arange(bins) * BINS / bins, np.arange(BINS), row)[:BINS]
        assert result[: len(expected)] == pytest.approx(expected, rel=1e-5)
        assert not result[len(expected) :].any()


@pytest.mark.parametrize(("factor", "frames"), [(0.5, 120), (1.0, 60), (1.1, 54), (1.5, 40), (2.0, 30)])
def test_tempo_divides_the_frames(factor, frames):
    spectrogram = noise()
    result = apply(f"tempo[factor={factor}]", spectrogram)
    assert result.shape == (frames, BINS)
    for bin in (0, 100, 256):
        expected = np.interp(np.arange(frames) * FRAMES / frames, np.arange(FRAMES), spectrogram[:, bin])
        assert result[:, bin] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("needed", "frames"), [(1, 30), (30, 30), (45, 45), (60, 60), (100, 60)])
def test_tempo_leaves_the_frames_that_the_labels_need(needed, frames):
    assert len(apply("tempo[factor=2]", noise(), min_frames=needed)) == frames


@pytest.mark.parametrize(("needed", "frames"), [(1, 50), (55, 55)])
def test_tempo_makes_no_clip_longer_than_max_time(needed, frames):
    assert len(apply("tempo[factor=0.5,max_time=1000]", noise(), min_frames=needed)) == frames


def test_tempo_keeps_a_frame():
    assert len(apply("tempo[factor=500]", noise())) == 1


@pytest.mark.slow
def test_stretching_is_what_tensorflow_did():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tensorflow = pytest.importorskip("tensorflow")
    spectrogram = noise()
    for specification, size in (("tempo[factor=1.3]", (46, BINS)), ("pitch[pitch=1.2]", (FRAMES, 308))):
        resized = tensorflow.compat.v1.image.resize_bilinear(spectrogram[np.newaxis, :, :, np.newaxis], size)
        expected = resized.numpy()[0, :, :BINS, 0]
        assert apply(specification, spectrogram) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("n", "size"), [(1, 5), (3, 2), (0, 2)])
def test_frequency_masks_have_their_number_and_size(n, size):
    zero = apply(f"frequency_mask[n={n},size={size}]", noise(), seed=4) == 0
    assert (zero.all(axis=0) == zero.any(axis=0)).all()  # whole bands
    assert zero.all(axis=0).sum() == n * size  # none overlap with this seed


def test_frequency_masks_are_everywhere_and_of_all_sizes():
    rows = np.array([apply("frequency_mask[n=1,size=3~1]", noise(), seed=seed)[0] == 0 for seed in range(1500)])
    assert set(rows.sum(axis=1)) == {2, 3, 4}
    assert rows.any(axis=0).mean() > 0.99


def test_each_mask_has_a_size_of_its_own():
    sizes = {int((apply("frequency_mask[n=2,size=20~10]", noise(), seed=seed)[0] == 0).sum()) for seed in range(50)}
    assert any(size % 2 for size in sizes)


@pytest.mark.parametrize("size", [0, -3])
def test_a_mask_is_at_least_one_bin(size):
    assert (apply(f"frequency_mask[n=1,size={size}]", noise())[0] == 0).sum() == 1


def test_a_mask_leaves_at_least_one_bin():
    assert (apply("frequency_mask[n=1,size=1000]", noise())[0] != 0).sum() == 1


def reference_shift(array: np.ndarray, shift_t: np.ndarray, shift_f: np.ndarray) -> np.ndarray:
    """One point at a time."""
    result = np.zeros(array.shape)
    for (t, f), _ in np.ndenumerate(array):
        at_t = min(max(t - shift_t[t, f], 0), array.shape[0] - 1)
        at_f = min(max(f - shift_f[t, f], 0), array.shape[1] - 1)
        row = [np.interp(at_f, np.arange(array.shape[1]), array[int(x)]) for x in (np.floor(at_t), np.ceil(at_t))]
        result[t, f] = row[0] + (at_t - np.floor(at_t)) * (row[1] - row[0])
    return result


def test_shifting_takes_each_value_from_where_it_was():
    generator = np.random.default_rng(3)
    array = generator.random((12, 9), np.float32)
    shift_t, shift_f = generator.normal(0, 3, (2, 12, 9))
    none = np.zeros((12, 9))
    assert shifted(array, shift_t, shift_f) == pytest.approx(reference_shift(array, shift_t, shift_f), abs=1e-5)
    assert shifted(array, shift_t, None) == pytest.approx(reference_shift(array, shift_t, none), abs=1e-5)
    assert shifted(array, None, shift_f) == pytest.approx(reference_shift(array, none, shift_f), abs=1e-5)
    assert np.array_equal(shifted(array, None, None), array)


@pytest.mark.parametrize(("size", "points"), [(61, 3), (100, 6), (5, 8), (1, 2)])
def test_cubic_interpolation_meets_its_points(size, points):
    weights = cubic_weights(size, points)
    assert weights.sum(axis=1) == pytest.approx(np.ones(size))
    if (size - 1) % (points - 1) == 0 and size > 1:
        assert weights[:: (size - 1) // (points - 1)] == pytest.approx(np.eye(points), abs=1e-12)
    if size >= 4:
        line = weights[:, :] @ np.arange(points)
        inner = slice(size // (points - 1) + 1, -(size // (points - 1)) - 1)
        assert line[inner] == pytest.approx((np.arange(size) * (points - 1) / (size - 1))[inner])


def ramp() -> np.ndarray:
    """A spectrogram whose value says which frame it is."""
    return np.repeat(np.arange(FRAMES, dtype=np.float32)[:, np.newaxis], BINS, axis=1)


def test_warp_leaves_the_edges_and_bends_the_middle():
    result = apply("warp[nt=1,nf=1,wt=0.5]", ramp(), seed=1)
    moved = np.abs(result - ramp())
    assert moved[[0, -1]].max() < 1e-4
    assert moved[:, [0, -1]].max() < 1e-4
    assert moved.max() > 0.5


def test_warp_has_the_deviation_asked_for():
    # one grid point in the middle: its shift's deviation is wt * T / 4
    shifts = [(ramp() - apply("warp[wt=0.2]", ramp(), seed=seed))[:, BINS // 2] for seed in range(400)]
    middle = np.array(shifts)[:, (FRAMES - 1) // 2]
    assert middle.std() == pytest.approx(0.2 * FRAMES / 4, rel=0.1)
    assert middle.mean() == pytest.approx(0, abs=0.6)


def test_warp_of_frequency_moves_along_frequency_only():
    frequency_ramp = np.repeat(np.arange(BINS, dtype=np.float32)[np.newaxis], FRAMES, axis=0)
    assert np.array_equal(apply("warp[wt=0,wf=0.5]", ramp()), ramp())
    assert np.abs(apply("warp[wt=0,wf=0.5]", frequency_ramp) - frequency_ramp).max() > 1


@pytest.mark.parametrize("specification", ["warp[wt=0]", "warp[nt=0]", "warp[nf=0]"])
def test_warp_of_nothing_changes_nothing(specification):
    assert np.array_equal(apply(specification, noise()), noise())


@pytest.mark.parametrize("name", ["pitch", "tempo", "warp[nt=4,wt=1,wf=1]", "frequency_mask", "time_mask"])
@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_clips_pass(name, frames):
    result = apply(name, noise()[:frames])
    assert result.shape[0] in (frames, 1)
    assert np.isfinite(result).all()
