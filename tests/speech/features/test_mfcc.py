"""MFCC in numpy, against TensorFlow's operators."""

import numpy as np
import pytest
import tensorflow as tf

from speech.features.mfcc import mfcc
from speech.geometry import Geometry

SIGNALS = {
    "noise": lambda n: np.random.default_rng(1).normal(0, 3000, n),
    "whisper": lambda n: np.random.default_rng(2).normal(0, 2, n),
    "tone": lambda n: np.sin(np.arange(n) * 0.17) * 30_000,
    "silence": lambda n: np.zeros(n),
    "full scale": lambda n: np.where(np.arange(n) % 97 < 40, 32767, -32768),
    "one click": lambda n: np.eye(1, n, 700)[0] * 20_000,
}


def tensorflows(samples: np.ndarray, geometry: Geometry) -> np.ndarray:
    spectrogram = tf.raw_ops.AudioSpectrogram(
        input=(samples.astype(np.float32) / 32768)[:, np.newaxis],
        window_size=geometry.window_samples,
        stride=geometry.step_samples,
        magnitude_squared=True,
    )
    rate = geometry.audio_sample_rate
    return tf.raw_ops.Mfcc(
        spectrogram=spectrogram,
        sample_rate=rate,
        upper_frequency_limit=rate / 2,
        dct_coefficient_count=geometry.n_input,
    )[0].numpy()


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(1, 1),
        Geometry(1, 1, audio_sample_rate=8000),
        Geometry(1, 1, feature_win_len=25, feature_win_step=10),
        Geometry(1, 1, audio_sample_rate=22_050, n_input=13),
        Geometry(1, 1, audio_sample_rate=48_000),
    ],
    ids=["16 kHz", "8 kHz", "25 ms", "22 kHz, 13 coefficients", "48 kHz"],
)
def test_numbers_are_tensorflows(signal: str, geometry: Geometry) -> None:
    samples = np.clip(SIGNALS[signal](geometry.audio_sample_rate + 123), -32768, 32767).astype(np.int16)
    expected, ours = tensorflows(samples, geometry), mfcc(samples, geometry)
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 1e-5


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (511, 0), (512, 1), (831, 1), (832, 2), (1152, 3)])
def test_frames_of_short_signals(samples: int, frames: int) -> None:
    assert mfcc(np.ones(samples, np.int16), Geometry(1, 1)).shape == (frames, 26)
