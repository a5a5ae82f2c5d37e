"""Derived sizes of a model."""

import numpy as np
import pytest

from speech.errors import InputError
from speech.geometry import Geometry


def test_deepspeech_constants() -> None:
    geometry = Geometry(2048, 28)
    assert (geometry.window_samples, geometry.step_samples, geometry.window_frames, geometry.n_classes) == (
        512,
        320,
        19,
        29,
    )


def test_the_frames_of_one_signal_and_of_many() -> None:
    geometry = Geometry(8, 28)
    lengths, frames = [0, 100, 511, 512, 831, 832], [0, 0, 0, 1, 1, 2]
    assert [geometry.n_frames(samples) for samples in lengths] == frames
    assert geometry.n_frames(np.array(lengths), np.maximum).tolist() == frames
    windows = Geometry(8, 28, feature_win_len=20, feature_win_step=40)  # steps longer than the window
    assert [windows.n_frames(samples) for samples in (0, 319, 320, 959, 960)] == [0, 0, 1, 1, 2]


def test_json_round_trip() -> None:
    geometry = Geometry(64, 28, layer_norm=True, audio_sample_rate=8000)
    assert Geometry.from_dict({**geometry.to_dict(), "later": 1}, "x") == geometry
    with pytest.raises(InputError, match="x: not a model geometry"):
        Geometry.from_dict({"n_hidden": 1}, "x")
