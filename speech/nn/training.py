"""One optimizer step of the acoustic model: loss, gradients, Adam; and the way from and to checkpoints."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from speech.nn.batches import Batch
from speech.nn.checkpoints import Snapshot
from speech.nn.model import AcousticModel, Dropout, ctc_loss
from speech.variables import MOMENTS


@dataclass(frozen=True)
class Adam:
    """Adam as TensorFlow 1.15 computes it (epsilon beside the square root of the raw second moment)."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


class Trainer:
    """The model with its optimizer state; every step depends only on that state, the batch and the seed."""

    def __init__(self, bundle: Snapshot, adam: Adam, dropout: Dropout, learning_rate: float, seed: int) -> None:
        """Start from `bundle`; what it lacks (moments, learning rate, beta powers) starts fresh."""
        self.geometry, self.adam, self.dropout, self.seed = bundle.geometry, adam, dropout, seed
        self.model = AcousticModel(bundle.geometry, bundle.weights)
        self.variables = list(self.model.variables.values())
        self._moments = {
            f"{name}/{moment}": tf.Variable(
                bundle.moments.get(f"{name}/{moment}", np.zeros(variable.shape, np.float32)), trainable=False
            )
            for name, variable in self.model.variables.items()
            for moment in MOMENTS
        }
        self._learning_rate = _scalar(learning_rate if bundle.learning_rate is None else bundle.learning_rate)
        self._beta1_power = _scalar(adam.beta1 if bundle.beta1_power is None else bundle.beta1_power)
        self._beta2_power = _scalar(adam.beta2 if bundle.beta2_power is None else bundle.beta2_power)
        self._global_step = tf.Variable(bundle.global_step, dtype=tf.int64, trainable=False)
        features = tf.TensorSpec([None, None, bundle.geometry.n_input], tf.float32)
        counts = tf.TensorSpec([None], tf.int32)
        signature = [features, counts, tf.TensorSpec([None, None], tf.int32), counts]
        self._step = tf.function(self._train_step, input_signature=signature, autograph=False)
        self._gradients = tf.function(self._loss_and_gradients, input_signature=signature, autograph=False)
        self._losses = tf.function(self._clip_losses, input_signature=signature, autograph=False)

    @property
    def learning_rate(self) -> float:
        """Adam's learning rate."""
        return float(self._learning_rate.numpy())

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate.assign(value)

    @property
    def global_step(self) -> int:
        """Optimizer steps since the first initialisation, over all runs."""
        return int(self._global_step.numpy())

    def train(self, batch: Batch) -> tuple[np.ndarray, bool]:
        """One optimizer step. Returns the clips' losses `[B]` and whether the weights were updated.

        Nothing is updated when a loss or a gradient is not finite.
        """
        losses, applied = self._step(batch.features, batch.n_frames, batch.labels, batch.n_labels)
        return losses.numpy(), bool(applied.numpy())

    def try_gradients(self, batch: Batch) -> None:
        """The passes of a training step without its update."""
        self._gradients(batch.features, batch.n_frames, batch.labels, batch.n_labels)

    def losses(self, batch: Batch) -> np.ndarray:
        """The clips' CTC losses `[B]`, without dropout."""
        return self._losses(batch.features, batch.n_frames, batch.labels, batch.n_labels).numpy()

    def _clip_losses(
        self, features: tf.Tensor, n_frames: tf.Tensor, labels: tf.Tensor, n_labels: tf.Tensor
    ) -> tf.Tensor:
        return ctc_loss(self.model.logits(features), n_frames, labels, n_labels)

    def _train_step(
        self, features: tf.Tensor, n_frames: tf.Tensor, labels: tf.Tensor, n_labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        losses, gradients = self._gradients(features, n_frames, labels, n_labels)
        finite = tf.reduce_all(tf.math.is_finite(losses))
        for gradient in gradients:
            finite &= tf.math.is_finite(tf.reduce_sum(tf.square(gradient)))
        applied = tf.cond(finite, lambda: self._apply(gradients), lambda: tf.constant(False))
        return losses, applied

    def _loss_and_gradients(
        self, features: tf.Tensor, n_frames: tf.Tensor, labels: tf.Tensor, n_labels: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        seed = tf.stack([tf.cast(self.seed, tf.int32), tf.cast(self._global_step * 4, tf.int32)])
        with tf.GradientTape() as tape:
            logits = self.model.logits(features, dropout=self.dropout, seed=seed)
            losses = ctc_loss(logits, n_frames, labels, n_labels)
            loss = tf.reduce_mean(losses)
        return losses, tape.gradient(loss, self.variables)

    def _apply(self, gradients: list[tf.Tensor]) -> tf.Tensor:
        updates = []
        for (name, variable), gradient in zip(self.model.variables.items(), gradients, strict=True):
            m, v = (self._moments[f"{name}/{moment}"] for moment in MOMENTS)
            updates.append(
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle,
                    m=m.handle,
                    v=v.handle,
                    beta1_power=self._beta1_power,
                    beta2_power=self._beta2_power,
                    lr=self._learning_rate,
                    beta1=self.adam.beta1,
                    beta2=self.adam.beta2,
                    epsilon=self.adam.epsilon,
                    grad=gradient,
                )
            )
        with tf.control_dependencies(updates):
            self._beta1_power.assign(self._beta1_power * self.adam.beta1)
            self._beta2_power.assign(self._beta2_power * self.adam.beta2)
            self._global_step.assign_add(1)
            return tf.constant(True)

    def snapshot(self, training_state: dict[str, object]) -> Snapshot:
        """Everything a checkpoint holds, as it is now."""
        return Snapshot(
            self.geometry,
            {name: variable.numpy() for name, variable in self.model.variables.items()},
            {name: moment.numpy() for name, moment in self._moments.items()},
            global_step=self.global_step,
            learning_rate=float(self._learning_rate.numpy()),
            beta1_power=float(self._beta1_power.numpy()),
            beta2_power=float(self._beta2_power.numpy()),
            training_state=training_state,
        )

    def restore(self, bundle: Snapshot) -> None:
        """Put weights, moments and beta powers of a checkpoint back; step count and learning rate stay."""
        for name, variable in self.model.variables.items():
            variable.assign(bundle.weights[name])
        for name, moment in self._moments.items():
            moment.assign(bundle.moments[name])
        self._beta1_power.assign(bundle.beta1_power)
        self._beta2_power.assign(bundle.beta2_power)


def _scalar(value: float) -> tf.Variable:
    return tf.Variable(value, dtype=tf.float32, trainable=False)
