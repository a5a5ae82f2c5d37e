"""Samples -> MFCC, with the operators that native clients run.

Source of the constants: the features of DeepSpeech 0.9.3 and Coqui STT 1.4.0 (`AudioSpectrogram` of the squared
magnitude, then `Mfcc` with 40 mel channels between 20 Hz and half the sample rate).
"""

import tensorflow as tf

from speech.features.mfcc import LOWEST_HZ, MEL_CHANNELS
from speech.geometry import Geometry


def mfcc(samples: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """Float samples in -1...1, `[N, B]` (a column a clip) -> features `[B, T, n_input]`."""
    spectrogram = tf.raw_ops.AudioSpectrogram(
        input=samples, window_size=geometry.window_samples, stride=geometry.step_samples, magnitude_squared=True
    )
    return spectrogram_to_mfcc(spectrogram, geometry)


def spectrogram_to_mfcc(spectrogram: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """Squared magnitudes `[B, T, bins]` -> features `[B, T, n_input]`."""
    return tf.raw_ops.Mfcc(
        spectrogram=spectrogram,
        sample_rate=geometry.audio_sample_rate,
        upper_frequency_limit=geometry.audio_sample_rate / 2,
        lower_frequency_limit=LOWEST_HZ,
        filterbank_channel_count=MEL_CHANNELS,
        dct_coefficient_count=geometry.n_input,
    )


def batch_features(samples: tf.Tensor, n_samples: tf.Tensor, geometry: Geometry) -> tuple[tf.Tensor, tf.Tensor]:
    """int16 samples `[B, N]`, zero-padded, and their counts `[B]` -> features `[B, T, n_input]` and frame counts `[B]`.

    Frames behind a clip's end are zero, as padding of the features (not of the signal) makes them.
    """
    n_frames = geometry.n_frames(n_samples, tf.maximum)
    scaled = tf.transpose(tf.cast(samples, tf.float32) / 32768.0)  # [N, B]
    features = mfcc(scaled, geometry)  # [B, T, n_input]
    mask = tf.sequence_mask(n_frames, tf.shape(features)[1])[:, :, tf.newaxis]
    return tf.where(mask, features, 0.0), tf.cast(n_frames, tf.int32)
