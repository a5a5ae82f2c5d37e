"""DeepSpeech's flags of 0.6 ... 0.7.3: what each of them does to a clip."""

from dataclasses import dataclass

import numpy as np
import pytest

from speech.augmentation import FLAG_ALIASES, Augmenter, LegacyFlags
from speech.augmentation.sparse_warp import bend
from speech.errors import InputError
from speech.settings import parse

FRAMES, BINS = 100, 257


def spectrogram() -> np.ndarray:
    return np.random.default_rng(0).random((FRAMES, BINS), np.float32) + np.float32(1)


def features() -> np.ndarray:
    return np.full((FRAMES, 26), 10, np.float32)


def augmented(flags: LegacyFlags, count: int = 1) -> list[np.ndarray]:
    augmenter = Augmenter(legacy=flags)
    return [augmenter.apply_spectrogram(spectrogram(), augmenter.draw(0, str(clip), 0.0)) for clip in range(count)]


def test_without_flags_there_is_nothing_to_do():
    assert Augmenter(legacy=LegacyFlags()).empty


def test_flags_in_the_order_in_which_they_acted():
    flags = LegacyFlags(
        data_aug_features_additive=0.1,
        data_aug_features_multiplicative=0.1,
        augmentation_spec_dropout_keeprate=0.9,
        augmentation_sparse_warp=True,
        augmentation_freq_and_time_masking=True,
        augmentation_speed_up_std=0.1,
        augmentation_pitch_and_tempo_scaling=True,
    )
    assert [augmentation.NAME for augmentation in Augmenter(legacy=flags).augmentations] == [
        *("dropout", "sparse_warp", "frequency_mask", "time_mask", "pitch", "tempo", "tempo", "multiply", "add"),
    ]


def test_noise_on_the_features():
    for flags, centre, deviation in (
        (LegacyFlags(data_aug_features_additive=0.3), 10, 0.3),
        (LegacyFlags(data_aug_features_multiplicative=0.3), 10, 3.0),
    ):
        augmenter = Augmenter(legacy=flags)
        result = augmenter.apply_features(features(), augmenter.draw(0, "a", 0.0))
        assert result.mean() == pytest.approx(centre, abs=0.3)
        assert result.std() == pytest.approx(deviation, rel=0.05)


def test_dropout_keeps_the_keep_rate_and_makes_up_for_the_rest():
    result = augmented(LegacyFlags(augmentation_spec_dropout_keeprate=0.8))[0]
    kept = result != 0
    assert kept.mean() == pytest.approx(0.8, abs=0.02)
    assert result[kept] == pytest.approx(spectrogram()[kept] / 0.8, rel=1e-5)


def test_masks_are_narrower_than_their_range():
    flags = LegacyFlags(
        augmentation_freq_and_time_masking=True,
        augmentation_freq_and_time_masking_freq_mask_range=4,
        augmentation_freq_and_time_masking_number_freq_masks=1,
        augmentation_freq_and_time_masking_time_mask_range=3,
        augmentation_freq_and_time_masking_number_time_masks=1,
    )
    zero = [result == 0 for result in augmented(flags, 100)]
    assert {int(mask.all(axis=0).sum()) for mask in zero} == {0, 1, 2, 3}
    assert {int(mask.all(axis=1).sum()) for mask in zero} == {0, 1, 2}


def test_tempo_only_speeds_up_to_its_maximum():
    lengths = [len(result) for result in augmented(LegacyFlags(augmentation_pitch_and_tempo_scaling=True), 200)]
    assert 83 <= min(lengths) <= 85
    assert 98 <= max(lengths) <= 100


def test_pitch_is_between_its_limits():
    flags = LegacyFlags(
        augmentation_pitch_and_tempo_scaling=True,
        augmentation_pitch_and_tempo_scaling_min_pitch=0.5,
        augmentation_pitch_and_tempo_scaling_max_pitch=0.6,
        augmentation_pitch_and_tempo_scaling_max_tempo=1.0,
    )
    sounding = [int((result[0] != 0).sum()) for result in augmented(flags, 100)]
    assert int(0.5 * BINS) <= min(sounding) < 132
    assert 150 < max(sounding) <= int(0.6 * BINS)


def test_speed_up_is_half_normal():
    lengths = np.array([len(result) for result in augmented(LegacyFlags(augmentation_speed_up_std=0.1), 200)])
    assert lengths.max() in (FRAMES - 1, FRAMES)
    assert (FRAMES / lengths).mean() == pytest.approx(1 + 0.1 * np.sqrt(2 / np.pi), abs=0.02)


def test_sparse_warp_bends_in_time_and_holds_the_corners():
    ramp = np.repeat(np.arange(FRAMES, dtype=np.float32)[:, np.newaxis], BINS, axis=1)
    augmenter = Augmenter(legacy=LegacyFlags(augmentation_sparse_warp=True))
    furthest = []
    for clip in range(30):
        result = augmenter.apply_spectrogram(ramp, augmenter.draw(0, str(clip), 0.0))
        assert result[[0, 0, -1, -1], [0, -1, 0, -1]] == pytest.approx([0, 0, FRAMES - 1, FRAMES - 1], abs=1e-3)
        furthest.append(np.abs(result - ramp).max())
    assert np.median(furthest) > 3


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("edge_points", [1, 2])
def test_bending_moves_its_points_exactly(order, edge_points):
    ramp = np.repeat(np.arange(FRAMES, dtype=np.float32)[:, np.newaxis], BINS, axis=1)
    points, shifts = np.array([[40.0, 100.0], [60.0, 200.0]]), np.array([7.0, -3.0])
    result = bend(ramp, points, shifts, order=order, smoothness=0.0, edge_points=edge_points)
    assert [result[40, 100], result[60, 200]] == pytest.approx([33, 63], abs=1e-3)
    assert result[[0, -1], [0, -1]] == pytest.approx([0, FRAMES - 1], abs=1e-3)
    if edge_points == 2:
        assert result[0, 128] == pytest.approx(0, abs=0.01)


def test_bending_with_smoothness_gives_way():
    ramp = np.repeat(np.arange(FRAMES, dtype=np.float32)[:, np.newaxis], BINS, axis=1)
    points, shifts = np.array([[40.0, 100.0]]), np.array([7.0])
    moved = [
        40 - bend(ramp, points, shifts, order=2, smoothness=weight, edge_points=1)[40, 100] for weight in (0.0, 1e4)
    ]
    assert moved[0] == pytest.approx(7, abs=1e-3)
    assert 0 < moved[1] < 6


def test_bending_without_fixed_points_shifts_everything():
    ramp = np.repeat(np.arange(FRAMES, dtype=np.float32)[:, np.newaxis], BINS, axis=1)
    result = bend(ramp, np.array([[40.0, 100.0]]), np.array([5.0]), order=2, smoothness=0.0, edge_points=0)
    assert np.isfinite(result).all()
    assert result[40, 100] == pytest.approx(35, abs=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 30])
def test_sparse_warp_takes_short_clips(frames):
    augmenter = Augmenter(
        legacy=LegacyFlags(augmentation_sparse_warp=True, augmentation_sparse_warp_num_control_points=4)
    )
    result = augmenter.apply_spectrogram(spectrogram()[:frames], augmenter.draw(0, "a", 0.0))
    assert result.shape == (frames, BINS)
    assert np.isfinite(result).all()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("data_aug_features_additive", -1.0),
        ("augmentation_spec_dropout_keeprate", 0.0),
        ("augmentation_spec_dropout_keeprate", 1.5),
        ("augmentation_freq_and_time_masking_freq_mask_range", 0),
        ("augmentation_pitch_and_tempo_scaling_max_tempo", 0.9),
        ("augmentation_pitch_and_tempo_scaling_min_pitch", 1.3),
    ],
)
def test_impossible_values_are_refused_by_name(flag, value):
    with pytest.raises(InputError, match=f"--{flag} {value}"):
        LegacyFlags(**{flag: value})


# Lines of DeepSpeech's guides of 0.6 and 0.7, one of them with the guide's own slip of the pen.
COMMAND_LINE = """
--data_aug_features_additive 0.2 --data_aug_features_multiplicative 0.1 --augmentation_speed_up_std 0.1
--augmentation_spec_dropout_keeprate 0.9 --augmentation_freq_and_time_masking
--augmentation_freq_and_time_masking_freq_mask_range 5 --augmentation_freq_and_time_masking_number_freq_masks 3
--augmentation_freq_and_time_masking_time_mask_rangee 4 --augmentation_freq_and_time_masking_number_time_masks 3
--noaugmentation_pitch_and_tempo_scaling --augmentation_pitch_and_tempo_scaling_min_pitch 0.95
--augmentation_pitch_and_tempo_scaling_max_pitch 1.2 --augmentation_pitch_and_tempo_scaling_max_tempo 1.2
"""


def test_command_lines_of_the_guides():
    flags = parse(LegacyFlags, COMMAND_LINE.split(), prog="train", description="", aliases=FLAG_ALIASES)
    assert flags.augmentation_freq_and_time_masking_time_mask_range == 4
    assert [augmentation.NAME for augmentation in Augmenter(legacy=flags).augmentations] == [
        *("dropout", "frequency_mask", "time_mask", "tempo", "multiply", "add"),
    ]


def test_flags_are_found_among_other_settings():
    @dataclass(frozen=True)
    class Settings:
        epochs: int = 3
        augmentation_speed_up_std: float = 0.2

    assert LegacyFlags.of(Settings()) == LegacyFlags(augmentation_speed_up_std=0.2)
