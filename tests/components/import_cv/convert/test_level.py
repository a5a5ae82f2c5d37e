"""Loudness and overdrive of a clip."""

import numpy as np
import pytest

from components.import_cv.convert.level import QUIETEST_DB, SILENCE, level_of


def tone(peak: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(16000 * seconds)) / 16000
    return (peak * 32767 * np.sin(2 * np.pi * 220 * time)).astype(np.int16)


@pytest.mark.parametrize(("peak", "loudest_db"), [(1.0, -3), (0.1, -23), (0.001, -63)])
def test_loudness_is_that_of_the_loudest_part(peak: float, loudest_db: int) -> None:
    samples = np.concatenate((np.zeros(16000, np.int16), tone(peak, 0.2), np.zeros(16000, np.int16)))
    assert level_of(samples, 16000).loudest_db == pytest.approx(loudest_db, abs=1)


def test_overdriven_samples_are_counted() -> None:
    assert level_of(tone(0.9), 16000).clipped == 0
    driven = np.clip(tone(0.9).astype(np.int32) * 3, -32768, 32767).astype(np.int16)
    assert level_of(driven, 16000).clipped == pytest.approx(7600, abs=200)


def test_nothing_is_silent() -> None:
    assert level_of(np.zeros(0, np.int16), 16000) == SILENCE
    assert level_of(np.zeros(5, np.int16), 16000).loudest_db == QUIETEST_DB
    assert level_of(np.array([-32768], np.int16), 16000) == (0, 10_000)
