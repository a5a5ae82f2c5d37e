"""The DeepSpeech acoustic model: three dense layers over a window of frames, an LSTM, a dense layer, the output layer.

Variables carry DeepSpeech's names, so that its checkpoints load here and ours load there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from speech.errors import InputError
from speech.geometry import Geometry
from speech.nn.lstm import lstm
from speech.variables import BIAS, KERNEL, LAYER_NORM_EPSILON, weight_shapes


@dataclass(frozen=True)
class Dropout:
    """Dropout rates behind the dense layers; layer 5's has the peers' index 6."""

    layer_1: float = 0.0
    layer_2: float = 0.0
    layer_3: float = 0.0
    layer_5: float = 0.0


class AcousticModel:
    """The variables of the model and the forward pass that training, evaluation and export share."""

    def __init__(self, geometry: Geometry, weights: Mapping[str, np.ndarray], *, trainable: bool = True) -> None:
        """Take float32 `weights` by DeepSpeech's variable names; raises InputError if one is missing or misshapen."""
        self.geometry = geometry
        for name, shape in weight_shapes(geometry).items():
            if name not in weights:
                raise InputError(f"the weights lack {name}: expected a DeepSpeech model of geometry {geometry}")
            if tuple(weights[name].shape) != shape:
                raise InputError(f"{name} has the shape {list(weights[name].shape)}, expected {list(shape)}")
        make = tf.Variable if trainable else tf.constant
        self.variables = {name: make(weights[name], dtype=tf.float32, name=name) for name in weight_shapes(geometry)}

    def windows(self, features: tf.Tensor) -> tf.Tensor:
        """Features `[B, T, n_input]` -> each frame with its zero-padded context, `[T, B, window_frames * n_input]`."""
        context, frames = self.geometry.n_context, tf.shape(features)[1]
        padded = tf.pad(tf.transpose(features, [1, 0, 2]), [[context, context], [0, 0], [0, 0]])
        return tf.concat([padded[k : k + frames] for k in range(self.geometry.window_frames)], axis=2)

    def logits(
        self, features: tf.Tensor, *, dropout: Dropout | None = None, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Features `[B, T, n_input]` of whole clips -> logits `[T, B, n_classes]`, blank last.

        `dropout` needs `seed`, an int32 pair that differs from step to step.
        """
        state = tf.zeros([tf.shape(features)[0], self.geometry.n_hidden])
        return self.stream(self.windows(features), state, state, dropout=dropout, seed=seed)[0]

    def stream(
        self,
        windows: tf.Tensor,
        state_c: tf.Tensor,
        state_h: tf.Tensor,
        *,
        dropout: Dropout | None = None,
        seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Windows `[T, B, window_frames * n_input]`, states `[B, H]` -> logits `[T, B, n_classes]`, new states."""
        frames, batch = tf.shape(windows)[0], tf.shape(windows)[1]
        x = tf.reshape(windows, [-1, self.geometry.window_frames * self.geometry.n_input])  # [T * B, inputs]
        for number, name in enumerate(("layer_1", "layer_2", "layer_3")):
            x = _drop(self._dense(name, x), getattr(dropout, name, 0.0), seed, number)
        x = tf.reshape(x, [frames, batch, self.geometry.n_hidden])  # [T, B, H]
        outputs, state_c, state_h = lstm(x, self.variables[KERNEL], self.variables[BIAS], state_c, state_h)
        x = tf.reshape(outputs, [-1, self.geometry.n_hidden])  # [T * B, H]
        x = _drop(self._dense("layer_5", x), getattr(dropout, "layer_5", 0.0), seed, 3)
        x = tf.nn.bias_add(tf.matmul(x, self.variables["layer_6/weights"]), self.variables["layer_6/bias"])
        return tf.reshape(x, [frames, batch, self.geometry.n_classes]), state_c, state_h

    def _dense(self, name: str, x: tf.Tensor) -> tf.Tensor:
        x = tf.nn.bias_add(tf.matmul(x, self.variables[f"{name}/weights"]), self.variables[f"{name}/bias"])
        x = tf.minimum(tf.nn.relu(x), self.geometry.relu_clip)
        if self.geometry.layer_norm:
            beta, gamma = self.variables[f"{name}/LayerNorm/beta"], self.variables[f"{name}/LayerNorm/gamma"]
            mean, variance = tf.nn.moments(x, axes=[1], keepdims=True)
            x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, LAYER_NORM_EPSILON)
        return x


def _drop(x: tf.Tensor, rate: float, seed: tf.Tensor | None, layer: int) -> tf.Tensor:
    if rate <= 0.0 or seed is None:
        return x
    keep = tf.random.stateless_uniform(tf.shape(x), seed=tf.add(seed, [0, layer]), dtype=x.dtype) >= rate
    return tf.where(keep, x / (1.0 - rate), 0.0)


def ctc_loss(logits: tf.Tensor, n_frames: tf.Tensor, labels: tf.Tensor, n_labels: tf.Tensor) -> tf.Tensor:
    """CTC loss of each clip `[B]`: logits `[T, B, C]` (blank last), labels `[B, L]` padded, label counts `[B]`."""
    mask = tf.sequence_mask(n_labels, tf.shape(labels)[1])
    return tf.raw_ops.CTCLoss(
        inputs=logits,
        labels_indices=tf.where(mask),
        labels_values=tf.boolean_mask(labels, mask),
        sequence_length=n_frames,
        preprocess_collapse_repeated=False,
        ctc_merge_repeated=True,
        ignore_longer_outputs_than_inputs=False,
    ).loss


def frames_needed(labels: np.ndarray) -> int:
    """The fewest frames that can carry `labels`: one each, and a blank between equal neighbours."""
    return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))
