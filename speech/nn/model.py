"""The DeepSpeech acoustic model: three dense layers over a window of frames, an LSTM, a dense layer, the output layer.

Variables carry DeepSpeech's names, so that its checkpoints load here and ours load there.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL, LAYER_NORM_EPSILON, weight_shapes
from speech.nn.devices import Compute
from speech.nn.dropout import DropoutRates, Noise
from speech.nn.recurrent import cudnn, lstm


class AcousticModel:
    """The variables of the model and the forward pass that training, evaluation and export share."""

    def __init__(
        self,
        geometry: Geometry,
        weights: Mapping[str, np.ndarray],
        *,
        trainable: bool = True,
        compute: Compute | None = None,
    ) -> None:
        """Take float32 `weights` by DeepSpeech's variable names; raises InputError if one is missing or misshapen."""
        self.compute = compute or Compute()
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
        self, features: tf.Tensor, *, dropout: DropoutRates | None = None, noise: Noise | None = None
    ) -> tf.Tensor:
        """Features `[B, T, n_input]` of whole clips -> float32 logits `[T, B, n_classes]`, blank last.

        `dropout` needs `noise`.
        """
        state = tf.zeros([tf.shape(features)[0], self.geometry.n_hidden])
        return self.stream(self.windows(features), state, state, dropout=dropout, noise=noise)[0]

    def stream(
        self,
        windows: tf.Tensor,
        state_c: tf.Tensor,
        state_h: tf.Tensor,
        *,
        dropout: DropoutRates | None = None,
        noise: Noise | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Windows `[T, B, window_frames * n_input]`, states `[B, H]` -> logits `[T, B, n_classes]`, new states."""
        geometry, frames, batch = self.geometry, tf.shape(windows)[0], tf.shape(windows)[1]

        def layer(name: str, number: int, x: tf.Tensor) -> tf.Tensor:
            rate = getattr(dropout, name, 0.0)
            kept = noise.kept(rate, number, frames, batch, geometry.n_hidden) if rate and noise is not None else None
            return self._dense(name, x, kept, rate)

        x = tf.reshape(windows, [-1, geometry.window_frames * geometry.n_input])  # [T * B, inputs]
        for number, name in enumerate(("layer_1", "layer_2", "layer_3")):
            x = layer(name, number, x)
        x = tf.reshape(x, [frames, batch, geometry.n_hidden])  # [T, B, H]
        recurrent = (x, self.variables[KERNEL], self.variables[BIAS], state_c, state_h, self.compute.dtype)
        if self.compute.cudnn:
            outputs, state_c, state_h = cudnn.lstm(*recurrent)
        else:
            outputs, state_c, state_h = lstm.lstm(*recurrent, plain=self.compute.plain_lstm)
        x = layer("layer_5", 3, tf.reshape(outputs, [-1, geometry.n_hidden]))  # [T * B, H]
        x = tf.matmul(tf.cast(x, tf.float32), self.variables["layer_6/weights"])  # narrow, so float32 costs nothing
        x = tf.nn.bias_add(x, self.variables["layer_6/bias"])
        return tf.reshape(x, [frames, batch, geometry.n_classes]), state_c, state_h

    def losses(self, logits: tf.Tensor, n_frames: tf.Tensor, labels: tf.Tensor, n_labels: tf.Tensor) -> tf.Tensor:
        """CTC loss of each clip, `[B]`, by the implementation that is fastest on the device."""
        if self.compute.cudnn:
            return tf.nn.ctc_loss(labels, logits, n_labels, n_frames, logits_time_major=True, blank_index=-1)
        return ctc_loss(logits, n_frames, labels, n_labels)

    def _dense(self, name: str, x: tf.Tensor, kept: tf.Tensor | None, rate: float) -> tf.Tensor:
        """Clipped ReLU layer, normalised if the geometry says so, with the values that are not `kept` dropped."""
        weights, bias = self.variables[f"{name}/weights"], self.variables[f"{name}/bias"]
        ceiling, dtype = self.geometry.relu_clip, self.compute.dtype
        if not self.geometry.layer_norm:
            return clipped_dense(x, weights, bias, ceiling, kept, rate, dtype)
        x = tf.cast(clipped_dense(x, weights, bias, ceiling, None, 0.0, dtype), tf.float32)
        beta, gamma = self.variables[f"{name}/LayerNorm/beta"], self.variables[f"{name}/LayerNorm/gamma"]
        mean, variance = tf.nn.moments(x, axes=[1], keepdims=True)
        x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, LAYER_NORM_EPSILON)
        return x if kept is None else tf.where(kept, x / (1.0 - rate), 0.0)


def clipped_dense(
    x: tf.Tensor,
    weights: tf.Tensor,
    bias: tf.Tensor,
    ceiling: float,
    kept: tf.Tensor | None,
    rate: float,
    dtype: tf.DType,
) -> tf.Tensor:
    """`min(relu(x @ weights + bias), ceiling)` with dropout, `[N, inputs]` -> `[N, H]` in `dtype`.

    The gradient reads what was clipped or dropped from the output, so nothing else is kept for it.
    """

    @tf.custom_gradient
    def run(
        x: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        # Dropout's factor goes into the weights, which are fewer than the values that it scales.
        scale = 1.0 if kept is None else 1.0 / (1.0 - rate)
        near, matrix = tf.cast(x, dtype), tf.cast(weights * scale, dtype)
        limit = tf.constant(ceiling * scale, dtype)
        y = tf.minimum(tf.nn.relu(tf.nn.bias_add(tf.matmul(near, matrix), tf.cast(bias * scale, dtype))), limit)
        if kept is not None:
            y = tf.where(kept, y, tf.zeros([], dtype))

        def gradients(d_y: tf.Tensor) -> tuple[tf.Tensor, ...]:
            passes = tf.logical_and(y > 0, y < limit)
            d_y = tf.where(passes, d_y, tf.zeros([], dtype))
            d_x = tf.cast(tf.matmul(d_y, matrix, transpose_b=True), x.dtype)
            d_weights = tf.cast(tf.matmul(near, d_y, transpose_a=True), tf.float32)
            d_bias = tf.raw_ops.BiasAddGrad(out_backprop=tf.cast(d_y, tf.float32))
            return d_x, d_weights * scale, d_bias * scale

        return y, gradients

    return run(x, tf.convert_to_tensor(weights), tf.convert_to_tensor(bias))


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
