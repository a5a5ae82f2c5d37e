"""Emissions of many clips at once: the weights of a model in batches of whole clips, with a free time dimension."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from speech.geometry import Geometry
from speech.nn.features import batch_features
from speech.nn.model import AcousticModel


class BatchedModel:
    """The training forward pass over given weights; the numbers are those of the streaming graph."""

    def __init__(self, geometry: Geometry, weights: Mapping[str, np.ndarray]) -> None:
        self.geometry = geometry
        model = AcousticModel(geometry, weights, trainable=False)

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int16), tf.TensorSpec([None], tf.int32)])
        def run(samples: tf.Tensor, n_samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            features, n_frames = batch_features(samples, n_samples, geometry)
            return tf.nn.softmax(model.logits(features)), n_frames  # [T, B, C], [B]

        self._run = run

    def emissions(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """int16 samples `[N]` of each clip -> probabilities `[T, n_classes]` of each, blank last."""
        batch, lengths = padded(clips)
        if batch.shape[1] < self.geometry.window_samples:
            return [np.zeros((0, self.geometry.n_classes), np.float32) for _ in clips]
        probabilities, n_frames = (tensor.numpy() for tensor in self._run(batch, lengths))
        return [probabilities[:frames, column] for column, frames in enumerate(n_frames)]


def padded(clips: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Clips of int16 samples -> `[B, N]`, zero behind each clip's end, and their lengths `[B]`."""
    lengths = np.array([len(samples) for samples in clips], np.int32)
    batch = np.zeros((len(clips), lengths.max(initial=0)), np.int16)
    for row, samples in zip(batch, clips, strict=True):
        row[: len(samples)] = samples
    return batch, lengths
