"""Samples -> MFCC in numpy, for steps without TensorFlow.

The numbers are those of TensorFlow's `AudioSpectrogram` (squared magnitude of a periodic Hann window) and `Mfcc`, which
DeepSpeech's models are trained on and its clients run: tensorflow/core/kernels/{spectrogram,mfcc,mfcc_mel_filterbank,
mfcc_dct}.cc. Like them it computes in double precision and rounds the spectrogram and the result to float32.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from speech.geometry import Geometry

MEL_CHANNELS = 40
LOWEST_HZ = 20.0
LOG_FLOOR = 1e-12  # what a silent channel's energy is raised to
# Products of more rows are split by OpenBLAS over threads that spin while they wait: twenty times the processor time,
# where the callers compute a clip a thread anyway.
PRODUCT_ROWS = 24


def mfcc(samples: np.ndarray, geometry: Geometry) -> npt.NDArray[np.float32]:
    """int16 samples `[N]` -> features `[T, n_input]`, T = `geometry.n_frames(N)`."""
    return spectrogram_to_mfcc(spectrogram(samples.astype(np.float32) / np.float32(32768.0), geometry), geometry)


def spectrogram(signal: np.ndarray, geometry: Geometry) -> npt.NDArray[np.float32]:
    """Samples of full scale 1.0, `[N]` -> squared magnitudes `[T, bins]`."""
    n_frames = geometry.n_frames(len(signal))
    if not n_frames:
        return np.zeros((0, fft_length(geometry) // 2 + 1), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(signal, geometry.window_samples)
    frames = windows[:: geometry.step_samples][:n_frames]  # [T, window]
    spectrum = np.fft.rfft(frames * hann(geometry.window_samples), n=fft_length(geometry), axis=1)
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


def spectrogram_to_mfcc(power: np.ndarray, geometry: Geometry) -> npt.NDArray[np.float32]:
    """Squared magnitudes `[T, bins]` -> features `[T, n_input]`."""
    magnitudes, mel = np.sqrt(power.astype(np.float64)), mel_matrix(geometry)
    energies = np.empty((len(magnitudes), MEL_CHANNELS))  # [T, mel]
    for start in range(0, len(magnitudes), PRODUCT_ROWS):
        np.matmul(magnitudes[start : start + PRODUCT_ROWS], mel, out=energies[start : start + PRODUCT_ROWS])
    return (np.log(np.maximum(energies, LOG_FLOOR)) @ dct_matrix(geometry.n_input)).astype(np.float32)


def fft_length(geometry: Geometry) -> int:
    """The window's length, rounded up to a power of two."""
    return 1 << (geometry.window_samples - 1).bit_length()


@cache
def hann(length: int) -> npt.NDArray[np.float64]:
    """The periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


@cache
def mel_matrix(geometry: Geometry) -> npt.NDArray[np.float64]:
    """Magnitudes -> energies of the mel channels, `[bins, MEL_CHANNELS]`: triangles that overlap by half.

    The lowest bin of the range is the first whose centre lies a bin and a half above 20 Hz, as in TensorFlow.
    """
    bins = fft_length(geometry) // 2 + 1
    highest_hz, hz_per_bin = geometry.audio_sample_rate / 2, geometry.audio_sample_rate / 2 / (bins - 1)
    mel_low, mel_high = _mel(np.array([LOWEST_HZ, highest_hz]))
    edges = mel_low + (mel_high - mel_low) / (MEL_CHANNELS + 1) * np.arange(MEL_CHANNELS + 2)
    matrix = np.zeros((bins, MEL_CHANNELS))
    for position in range(int(1.5 + LOWEST_HZ / hz_per_bin), int(highest_hz / hz_per_bin) + 1):
        mel = _mel(position * hz_per_bin)
        upper = min(int(np.searchsorted(edges[1:], mel)), MEL_CHANNELS)  # of the channel that rises here
        falling = (edges[upper + 1] - mel) / (edges[upper + 1] - edges[upper])
        if upper > 0:
            matrix[position, upper - 1] = falling
        if upper < MEL_CHANNELS:
            matrix[position, upper] = 1.0 - falling
    return matrix


@cache
def dct_matrix(coefficients: int) -> npt.NDArray[np.float64]:
    """Log energies -> cepstral coefficients, `[MEL_CHANNELS, coefficients]`: a type II DCT scaled by sqrt(2 / N)."""
    channels = np.arange(MEL_CHANNELS)[:, np.newaxis]
    return np.sqrt(2 / MEL_CHANNELS) * np.cos(np.pi / MEL_CHANNELS * (channels + 0.5) * np.arange(coefficients))


def _mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)
