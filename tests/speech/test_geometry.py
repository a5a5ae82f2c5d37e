"""Derived sizes of a model."""

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
    assert [geometry.n_frames(samples) for samples in (0, 511, 512, 831, 832)] == [0, 0, 1, 1, 2]


def test_json_round_trip() -> None:
    geometry = Geometry(64, 28, layer_norm=True, audio_sample_rate=8000)
    assert Geometry.from_dict({**geometry.to_dict(), "later": 1}, "x") == geometry
    with pytest.raises(InputError, match="x: not a model geometry"):
        Geometry.from_dict({"n_hidden": 1}, "x")
