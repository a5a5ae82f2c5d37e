"""Augmentation of training clips: `--augment` and DeepSpeech's older flags. README.md lists them all."""

from speech.augmentation.augmenter import Augmenter
from speech.augmentation.draws import Draw
from speech.augmentation.legacy import FLAG_ALIASES, LegacyFlags
from speech.augmentation.parsing import parse_augmentation, parse_augmentations

__all__ = ["FLAG_ALIASES", "Augmenter", "Draw", "LegacyFlags", "parse_augmentation", "parse_augmentations"]
