"""The augmentation flags of DeepSpeech 0.6.0 ... 0.7.3, as augmentations that do what those flags did.

They act on every clip. Their order: dropout, sparse warp, masks, pitch and tempo, speed-up on the spectrogram; then
multiplicative and additive noise on the features.
"""

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from speech.augmentation.augmentation import FEATURES, SPECTROGRAM, Augmentation, Floats
from speech.augmentation.draws import Chance
from speech.augmentation.multi_domain import Add, Dropout, Multiply, TimeMask
from speech.augmentation.ranges import HalfNormal, Range, WholeBelow
from speech.augmentation.sparse_warp import bend
from speech.augmentation.spectrogram import FrequencyMask, Pitch, Tempo
from speech.settings import setting, setting_error

# The guide of DeepSpeech 0.6 misspells one of its own flags.
FLAG_ALIASES = {
    "augmentation_freq_and_time_masking_time_mask_rangee": "augmentation_freq_and_time_masking_time_mask_range"
}


@dataclass(frozen=True)
class LegacyFlags:
    """DeepSpeech's augmentation flags before there was `--augment`."""

    data_aug_features_additive: float = setting(
        0.0,
        "deviation of the noise that is added to the features",
        group="Augmentation, by the flags of DeepSpeech 0.6 and 0.7",
    )
    data_aug_features_multiplicative: float = setting(0.0, "deviation of the factors of the features around 1")
    augmentation_spec_dropout_keeprate: float = setting(1.0, "share of the spectrogram's values that is kept")
    augmentation_sparse_warp: bool = setting(False, "bend the spectrogram in time at random control points")
    augmentation_sparse_warp_num_control_points: int = setting(1, "control points of the sparse warp")
    augmentation_sparse_warp_time_warping_para: int = setting(20, "longest shift of a control point", unit="frames")
    augmentation_sparse_warp_interpolation_order: int = setting(2, "order of the spline between control points")
    augmentation_sparse_warp_regularization_weight: float = setting(0.0, "how much smoothness counts in the spline")
    augmentation_sparse_warp_num_boundary_points: int = setting(
        1, "fixed points on each edge; 1: the corners, n: n - 1 more on each edge, 0: none"
    )
    augmentation_freq_and_time_masking: bool = setting(False, "set bands and stretches of the spectrogram to zero")
    augmentation_freq_and_time_masking_freq_mask_range: int = setting(5, "bands are narrower than this", unit="bins")
    augmentation_freq_and_time_masking_number_freq_masks: int = setting(3, "bands to mask")
    augmentation_freq_and_time_masking_time_mask_range: int = setting(
        2, "stretches are shorter than this", unit="frames"
    )
    augmentation_freq_and_time_masking_number_time_masks: int = setting(3, "stretches to mask")
    augmentation_speed_up_std: float = setting(0.0, "deviation of the speed's factor above 1")
    augmentation_pitch_and_tempo_scaling: bool = setting(False, "change pitch and tempo of the spectrogram")
    augmentation_pitch_and_tempo_scaling_min_pitch: float = setting(0.95, "least factor of the pitch")
    augmentation_pitch_and_tempo_scaling_max_pitch: float = setting(1.2, "greatest factor of the pitch")
    augmentation_pitch_and_tempo_scaling_max_tempo: float = setting(1.2, "greatest factor of the tempo; the least is 1")

    def __post_init__(self) -> None:
        """Raises InputError for a value that no run could use."""
        for flag, least in _LEAST.items():
            if getattr(self, flag) < least:
                raise setting_error(flag, getattr(self, flag), f"expected {least} or more")
        if not 0 < self.augmentation_spec_dropout_keeprate <= 1:
            flag = "augmentation_spec_dropout_keeprate"
            raise setting_error(flag, self.augmentation_spec_dropout_keeprate, "expected more than 0, at most 1")
        lowest, highest = (
            self.augmentation_pitch_and_tempo_scaling_min_pitch,
            self.augmentation_pitch_and_tempo_scaling_max_pitch,
        )
        if not 0 < lowest <= highest:
            flag = "augmentation_pitch_and_tempo_scaling_min_pitch"
            raise setting_error(flag, lowest, f"expected more than 0, at most the greatest pitch, {highest}")

    @classmethod
    def of(cls, settings: object) -> "LegacyFlags":
        """The flags among the attributes of some settings."""
        names = [field.name for field in fields(cls) if hasattr(settings, field.name)]
        return cls(**{name: getattr(settings, name) for name in names})

    def augmentations(self, frame_ms: float = 20.0) -> list[Augmentation]:
        """What the flags ask for, in their order; `frame_ms` is the time from one frame to the next."""
        augmentations: list[Augmentation] = []
        keep_rate = self.augmentation_spec_dropout_keeprate
        if keep_rate < 1:
            augmentations.append(RescaledDropout(rate=_constant(1 - keep_rate)))
        if self.augmentation_sparse_warp:
            augmentations.append(
                SparseWarp(
                    points=self.augmentation_sparse_warp_num_control_points,
                    longest_shift=self.augmentation_sparse_warp_time_warping_para,
                    order=self.augmentation_sparse_warp_interpolation_order,
                    smoothness=self.augmentation_sparse_warp_regularization_weight,
                    edge_points=self.augmentation_sparse_warp_num_boundary_points,
                )
            )
        if self.augmentation_freq_and_time_masking:
            augmentations += self._masks(frame_ms)
        if self.augmentation_pitch_and_tempo_scaling:
            augmentations += [
                Pitch(
                    pitch=_between(
                        self.augmentation_pitch_and_tempo_scaling_min_pitch,
                        self.augmentation_pitch_and_tempo_scaling_max_pitch,
                    )
                ),
                Tempo(factor=_between(1.0, self.augmentation_pitch_and_tempo_scaling_max_tempo)),
            ]
        if self.augmentation_speed_up_std:
            augmentations.append(Tempo(factor=HalfNormal(1.0, self.augmentation_speed_up_std)))
        if self.data_aug_features_multiplicative:
            augmentations.append(Multiply(domain=FEATURES, stddev=_constant(self.data_aug_features_multiplicative)))
        if self.data_aug_features_additive:
            augmentations.append(Add(domain=FEATURES, stddev=_constant(self.data_aug_features_additive)))
        return augmentations

    def _masks(self, frame_ms: float) -> list[Augmentation]:
        return [
            NarrowFrequencyMask(
                n=_constant(self.augmentation_freq_and_time_masking_number_freq_masks),
                size=WholeBelow(self.augmentation_freq_and_time_masking_freq_mask_range),
            ),
            ShortTimeMask(
                n=_constant(self.augmentation_freq_and_time_masking_number_time_masks),
                size=WholeBelow(self.augmentation_freq_and_time_masking_time_mask_range, frame_ms),
            ),
        ]


_LEAST = {
    "data_aug_features_additive": 0,
    "data_aug_features_multiplicative": 0,
    "augmentation_sparse_warp_num_control_points": 1,
    "augmentation_sparse_warp_time_warping_para": 1,
    "augmentation_sparse_warp_interpolation_order": 1,
    "augmentation_sparse_warp_regularization_weight": 0,
    "augmentation_sparse_warp_num_boundary_points": 0,
    "augmentation_freq_and_time_masking_freq_mask_range": 1,
    "augmentation_freq_and_time_masking_number_freq_masks": 0,
    "augmentation_freq_and_time_masking_time_mask_range": 1,
    "augmentation_freq_and_time_masking_number_time_masks": 0,
    "augmentation_speed_up_std": 0,
    "augmentation_pitch_and_tempo_scaling_max_tempo": 1,
}


def _constant(value: float) -> Range:
    return Range(value, value)


def _between(lowest: float, highest: float) -> Range:
    centre = (lowest + highest) / 2
    return Range(centre, centre, (highest - lowest) / 2)


@dataclass(frozen=True, kw_only=True)
class RescaledDropout(Dropout):
    """Dropout that makes up for what it drops, as TensorFlow's does."""

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """Any shape -> the same shape."""
        kept, share = self.kept(array, chance)
        return array * kept * np.float32(1 / share)


@dataclass(frozen=True, kw_only=True)
class NarrowFrequencyMask(FrequencyMask):
    """Bands that may have no width."""

    least: ClassVar[int] = 0


@dataclass(frozen=True, kw_only=True)
class ShortTimeMask(TimeMask):
    """Stretches that may have no length."""

    least: ClassVar[int] = 0


@dataclass(frozen=True, kw_only=True)
class SparseWarp(Augmentation):
    """Moves control points in time and bends the spectrogram with them (SpecAugment's time warping)."""

    NAME: ClassVar[str] = "sparse_warp"
    domain: str = SPECTROGRAM
    points: int
    longest_shift: int  # frames
    order: int
    smoothness: float
    edge_points: int

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """`[T, F]` -> `[T, F]`."""
        frames, bins = array.shape
        longest = min(self.longest_shift, frames // 2 - 1)
        if longest < 1 or bins < 4:
            return array  # too short to bend
        latest = frames - longest
        earliest = max(0, min(latest - self.points, longest))
        points = min(self.points, latest - earliest, bins - 3)
        source_t = earliest + chance.generator.permutation(latest - earliest)[:points]
        source_f = 1 + chance.generator.permutation(bins - 3)[:points]
        target_t = source_t + chance.generator.integers(-longest, longest, points)
        return bend(
            array,
            np.stack([target_t, source_f], axis=1).astype(np.float64),
            (target_t - source_t).astype(np.float64),
            order=self.order,
            smoothness=self.smoothness,
            edge_points=self.edge_points,
        )
