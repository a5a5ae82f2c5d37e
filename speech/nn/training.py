"""One optimizer step of the acoustic model: loss, gradients, Adam; and the way from and to checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from speech.model_files.variables import MOMENTS
from speech.nn.batches import Batch
from speech.nn.devices import Compute, Devices, single
from speech.nn.dropout import DropoutRates, Noise
from speech.nn.input_scaling import BIAS, WEIGHTS, InputScaling
from speech.nn.model import AcousticModel
from speech.nn.snapshots import Snapshot

FIRST_LOSS_SCALE = 2.0**15  # of float16, whose gradients vanish below 6e-8
LOSS_SCALE_GROWS_AFTER = 2000  # steps without an overflow


@dataclass(frozen=True)
class Adam:
    """Adam as TensorFlow 1.15 computes it (epsilon beside the square root of the raw second moment)."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class Heard:
    """What the model makes of a batch, without dropout."""

    losses: np.ndarray  # [B] CTC losses
    likeliest: np.ndarray  # [B, T] the likeliest class of each frame, int32


@dataclass(frozen=True)
class StepResult:
    """What came of a step. All but `losses` is about the whole batch, and equal on all workers."""

    losses: np.ndarray  # [B] of this worker's clips
    mean_loss: float
    applied: bool  # whether the weights were updated
    n_clips: int
    n_not_finite: int  # clips whose loss is not finite
    stop: bool  # whether a worker asked to stop behind this step
    gradient_norm: float = 0.0  # of all gradients of the batch's mean loss as one vector


class Trainer:
    """The model with its optimizer state; every step depends only on that state, the batch and the seed.

    A batch is split over the devices, and each device's share into `parts` that are computed one after another. Their
    gradients are added up, so the step is that of the whole batch in any case.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        adam: Adam,
        dropout: DropoutRates,
        learning_rate: float,
        seed: int,
        *,
        compute: Compute | None = None,
        devices: Devices | None = None,
        parts: int = 1,
        scaling: InputScaling | None = None,
    ) -> None:
        """Start from `snapshot`; what it lacks (moments, learning rate, beta powers) starts fresh.

        With a `scaling` layer 1 learns as if its inputs were standardised.
        """
        self._scaling = scaling.of_windows(snapshot.geometry) if scaling else None
        moments = self._scaling.inner_moments(snapshot.moments) if self._scaling else snapshot.moments
        self.geometry, self.adam, self.dropout, self.seed = snapshot.geometry, adam, dropout, seed
        self.devices, self.parts = devices or single(), parts
        compute = compute or Compute(cudnn=self.devices.on_gpu)
        with self.devices.strategy.scope():
            self.model = AcousticModel(snapshot.geometry, snapshot.weights, compute=compute)
            self._moments = {
                f"{name}/{moment}": tf.Variable(
                    moments.get(f"{name}/{moment}", np.zeros(variable.shape, np.float32)), trainable=False
                )
                for name, variable in self.model.variables.items()
                for moment in MOMENTS
            }
            self._learning_rate = _scalar(learning_rate if snapshot.learning_rate is None else snapshot.learning_rate)
            self._beta1_power = _scalar(adam.beta1 if snapshot.beta1_power is None else snapshot.beta1_power)
            self._beta2_power = _scalar(adam.beta2 if snapshot.beta2_power is None else snapshot.beta2_power)
            self._global_step = tf.Variable(snapshot.global_step, dtype=tf.int64, trainable=False)
        self.variables = list(self.model.variables.values())
        self._loss_scale = 1.0
        self._steps_at_scale = 0
        if compute.dtype == tf.float16:
            state = snapshot.training_state
            self._loss_scale = float(state.get("loss_scale", FIRST_LOSS_SCALE))
            self._steps_at_scale = int(state.get("steps_at_loss_scale", 0))
        features = tf.TensorSpec([None, None, snapshot.geometry.n_input], tf.float32)
        counts, scalar = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.float32)
        clips = [features, counts, tf.TensorSpec([None, None], tf.int32), counts, tf.TensorSpec([None], tf.float32)]
        step = [*clips, tf.TensorSpec([], tf.int32), scalar, scalar, scalar, tf.TensorSpec([], tf.bool)]
        self._step = tf.function(self._train_step, input_signature=step, autograph=False)
        self._heard = tf.function(self._clips_heard, input_signature=clips, autograph=False)
        self._sum = tf.function(self._sum_of_workers, autograph=False)

    @property
    def learning_rate(self) -> float:
        """Adam's learning rate, which checkpoints hold; a step may take a multiple of it."""
        return float(self._learning_rate.numpy())

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate.assign(value)

    @property
    def global_step(self) -> int:
        """Optimizer steps since the first initialisation, over all runs."""
        return int(self._global_step.numpy())

    def train(self, batch: Batch, *, stop: bool = False, rate_factor: float = 1.0) -> StepResult:
        """One optimizer step; all workers take it together, each with its share of the batch.

        Its learning rate is `rate_factor` times the trainer's.

        Nothing is updated when a loss or a gradient is not finite. In float16 that is first taken for an overflow, and
        tried again with half the loss scale.
        """
        while True:
            result = self._take_step(batch, stop=stop, rate_factor=rate_factor)
            if result.applied or result.n_not_finite or self._loss_scale <= 1.0:
                break
            self._loss_scale, self._steps_at_scale = self._loss_scale / 2.0, 0
        if result.applied and self.model.compute.dtype == tf.float16:
            self._steps_at_scale += 1
            if self._steps_at_scale == LOSS_SCALE_GROWS_AFTER:
                self._loss_scale, self._steps_at_scale = self._loss_scale * 2.0, 0
        return result

    def try_gradients(self, batch: Batch) -> None:
        """A training step without its update."""
        self._take_step(batch, update=False)

    def heard(self, batch: Batch) -> Heard:
        """Losses and likeliest classes of this worker's clips; the other workers are not needed."""
        losses, likeliest = self._heard(*_padded(batch, self.devices.n_local))
        clips = len(batch.clips)
        return Heard(losses.numpy()[:clips], likeliest.numpy()[:clips])

    def sum_of_workers(self, values: np.ndarray) -> np.ndarray:
        """The element-wise sum of what each worker gives; all workers take part."""
        if self.devices.n_workers == 1:
            return values
        return self._sum(tf.constant(values, tf.float64)).numpy()

    def _take_step(
        self, batch: Batch, *, stop: bool = False, rate_factor: float = 1.0, update: bool = True
    ) -> StepResult:
        clips = _padded(batch, self.devices.n_local * self.parts)
        losses, totals, applied = self._step(
            *clips, batch.first_clip, float(stop), self._loss_scale, rate_factor, tf.constant(update)
        )
        n_clips, loss_sum, n_not_finite, stops, gradient_norm = (float(total) for total in totals)
        return StepResult(
            losses=losses.numpy()[: len(batch.clips)],
            mean_loss=loss_sum / n_clips if n_clips else float("nan"),
            applied=bool(applied.numpy()),
            n_clips=round(n_clips),
            n_not_finite=round(n_not_finite),
            stop=stops > 0,
            gradient_norm=gradient_norm,
        )

    # What follows is traced: once, for all shapes of batches.

    def _sum_of_workers(self, values: tf.Tensor) -> tf.Tensor:
        def share() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            first = tf.equal(self._local_replica(), 0)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(first, values, tf.zeros_like(values)))

        return self._of_first_replica(self.devices.strategy.run(share))

    def _clips_heard(self, *clips: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def share() -> tuple[tf.Tensor, tf.Tensor]:
            features, n_frames, labels, n_labels, _ = self._share(clips)
            logits = self.model.logits(features)  # [T, B, C]
            likeliest = tf.transpose(tf.argmax(logits, 2, output_type=tf.int32))  # [B, T]
            return self.model.losses(logits, n_frames, labels, n_labels), likeliest

        losses, likeliest = self.devices.strategy.run(share)
        return self._concatenated(losses), self._concatenated(likeliest)

    def _train_step(self, *arguments: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        *clips, first_clip, stop, loss_scale, rate_factor, update = arguments
        losses, totals, applied = self.devices.strategy.run(
            lambda: self._replica_step(clips, first_clip, stop, loss_scale, rate_factor, update)
        )
        return self._concatenated(losses), self._of_first_replica(totals), self._of_first_replica(applied)

    def _local_replica(self) -> Any:
        return tf.distribute.get_replica_context().replica_id_in_sync_group % self.devices.n_local

    def _share(self, clips: Any) -> list[tf.Tensor]:
        """The rows of this worker's clips that this device computes."""
        rows = tf.shape(clips[0])[0] // self.devices.n_local
        start = self._local_replica() * rows
        return [tensor[start : start + rows] for tensor in clips]

    def _concatenated(self, of_replicas: Any) -> tf.Tensor:
        return tf.concat(self.devices.strategy.experimental_local_results(of_replicas), 0)

    def _of_first_replica(self, of_replicas: Any) -> tf.Tensor:
        return self.devices.strategy.experimental_local_results(of_replicas)[0]

    def _replica_step(
        self,
        clips: Any,
        first_clip: tf.Tensor,
        stop: tf.Tensor,
        loss_scale: tf.Tensor,
        rate_factor: tf.Tensor,
        update: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """One device's share of a step."""
        share = self._share(clips)
        first_clip += tf.cast(self._local_replica(), tf.int32) * tf.shape(share[0])[0]
        losses, gradients = self._loss_and_gradients(share, first_clip, loss_scale)
        weights, finite = share[-1], tf.math.is_finite(losses)
        counted = weights > 0
        totals = tf.stack(
            [
                tf.reduce_sum(weights),
                tf.reduce_sum(tf.where(counted, losses, 0.0)),
                tf.reduce_sum(tf.cast(counted & ~finite, tf.float32)),
                stop,
            ]
        )
        context = tf.distribute.get_replica_context()
        *gradients, totals = context.all_reduce(tf.distribute.ReduceOp.SUM, [*gradients, totals])
        factor = 1.0 / (tf.maximum(totals[0], 1.0) * loss_scale)
        gradients = [gradient * factor for gradient in gradients]
        good = update & (totals[0] > 0) & tf.math.is_finite(totals[1])
        half_square = tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients])
        good &= tf.math.is_finite(half_square)
        applied = tf.cond(good, lambda: self._apply(gradients, rate_factor), lambda: tf.constant(False))
        return losses, tf.concat([totals, [tf.sqrt(2.0 * half_square)]], 0), applied

    def _loss_and_gradients(
        self, clips: list[tf.Tensor], first_clip: tf.Tensor, loss_scale: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Losses `[B]`, and the gradients of their weighted sum times `loss_scale`, part by part."""
        if self.parts == 1:
            return self._part(clips, first_clip, loss_scale)
        rows = tf.shape(clips[0])[0] // self.parts

        def add(part: tf.Tensor, losses: tf.TensorArray, sums: list[tf.Tensor]) -> tuple[Any, ...]:
            start = part * rows
            share = [tensor[start : start + rows] for tensor in clips]
            found, gradients = self._part(share, first_clip + start, loss_scale)
            return part + 1, losses.write(part, found), [one + two for one, two in zip(sums, gradients, strict=True)]

        losses = tf.TensorArray(tf.float32, size=self.parts, element_shape=[None])
        zeros = [tf.zeros(variable.shape) for variable in self.variables]
        _, losses, sums = tf.while_loop(
            lambda part, *_: part < self.parts, add, (0, losses, zeros), parallel_iterations=1
        )
        return losses.concat(), sums

    def _part(
        self, clips: list[tf.Tensor], first_clip: tf.Tensor, loss_scale: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        features, n_frames, labels, n_labels, weights = clips
        noise = Noise(tf.constant(self.seed), self._global_step, first_clip)
        with tf.GradientTape() as tape:
            logits = self.model.logits(features, dropout=self.dropout, noise=noise)
            losses = self.model.losses(logits, n_frames, labels, n_labels)
            loss = tf.reduce_sum(losses * weights) * loss_scale
        return losses, tape.gradient(loss, self.variables)

    def _apply(self, gradients: list[tf.Tensor], rate_factor: tf.Tensor) -> tf.Tensor:
        updates, rate = [], self._learning_rate * rate_factor
        by_name = dict(zip(self.model.variables, gradients, strict=True))
        for name, gradient in by_name.items():
            if self._scaling and name == WEIGHTS:
                continue
            m, v = (self._moments[f"{name}/{moment}"] for moment in MOMENTS)
            updates.append(
                tf.raw_ops.ResourceApplyAdam(
                    var=self.model.variables[name].handle,
                    m=m.handle,
                    v=v.handle,
                    beta1_power=self._beta1_power,
                    beta2_power=self._beta2_power,
                    lr=rate,
                    beta1=self.adam.beta1,
                    beta2=self.adam.beta2,
                    epsilon=self.adam.epsilon,
                    grad=gradient,
                )
            )
        if self._scaling:
            with tf.control_dependencies(updates):
                updates.append(self._apply_scaled(by_name[WEIGHTS], by_name[BIAS], rate))
        # Each device updates its own copies, from equal gradients; so the operators that know nothing of copies do.
        with tf.control_dependencies(updates):
            for power, beta in ((self._beta1_power, self.adam.beta1), (self._beta2_power, self.adam.beta2)):
                tf.raw_ops.AssignVariableOp(resource=power.handle, value=power.read_value() * beta)
            tf.raw_ops.AssignAddVariableOp(resource=self._global_step.handle, value=tf.constant(1, tf.int64))
            return tf.constant(True)

    def _apply_scaled(self, gradient: tf.Tensor, of_bias: tf.Tensor, rate: tf.Tensor) -> tf.Operation:
        """Adam on layer 1's weights of standardised inputs, and what it comes to for the weights and the bias here.

        With x' = (x - mean) / deviation the same sums have the weights w' = deviation w and the bias b' = b + mean w.
        """
        assert self._scaling is not None
        adam, (mean, deviation) = self.adam, (self._scaling.mean, self._scaling.deviation)
        m, v = (self._moments[f"{WEIGHTS}/{moment}"] for moment in MOMENTS)
        inner = (gradient - mean * of_bias) / deviation  # [inputs, H]
        first = m.read_value() * adam.beta1 + inner * (1.0 - adam.beta1)
        second = v.read_value() * adam.beta2 + tf.square(inner) * (1.0 - adam.beta2)
        rate = rate * tf.sqrt(1.0 - self._beta2_power.read_value()) / (1.0 - self._beta1_power.read_value())
        step = rate * first / (tf.sqrt(second) + adam.epsilon) / deviation
        weights, bias = (self.model.variables[name] for name in (WEIGHTS, BIAS))
        moved, raised = weights.read_value() - step, bias.read_value() + tf.reduce_sum(mean * step, 0)
        pairs = ((m, first), (v, second), (weights, moved), (bias, raised))
        return tf.group([tf.raw_ops.AssignVariableOp(resource=to.handle, value=value) for to, value in pairs])

    def snapshot(self, training_state: dict[str, object], into: Snapshot | None = None) -> Snapshot:
        """Everything a checkpoint holds, as it is now.

        The arrays of `into`, an earlier snapshot, are used again: fresh memory costs several times as much as the copy.
        """
        if self.model.compute.dtype == tf.float16:
            scale = {"loss_scale": self._loss_scale, "steps_at_loss_scale": self._steps_at_scale}
            training_state = {**training_state, **scale}
        moments = _copies(self._moments, into.moments if into else {})
        return Snapshot(
            self.geometry,
            _copies(self.model.variables, into.weights if into else {}),
            self._scaling.outer_moments(moments) if self._scaling else moments,
            global_step=self.global_step,
            learning_rate=float(self._learning_rate.numpy()),
            beta1_power=float(self._beta1_power.numpy()),
            beta2_power=float(self._beta2_power.numpy()),
            training_state=training_state,
        )

    def restore(self, snapshot: Snapshot | None) -> None:
        """Put weights, moments and beta powers of a checkpoint back; step count and learning rate stay.

        Of several workers the chief gives the snapshot and the others None; they all take part.
        """
        powers = {"beta1_power": self._beta1_power, "beta2_power": self._beta2_power}
        for name, variable in {**self.model.variables, **self._moments, **powers}.items():
            value = np.zeros(variable.shape, np.float32)
            if snapshot is not None:
                moments = self._scaling.inner_moments(snapshot.moments) if self._scaling else snapshot.moments
                values = {**snapshot.weights, **moments}
                value = values[name] if name in values else np.asarray(getattr(snapshot, name), np.float32)
            variable.assign(self.sum_of_workers(value).astype(np.float32))


def _copies(variables: Mapping[str, tf.Variable], into: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The variables' values, in the arrays of `into` where it has them."""
    for name, variable in variables.items():
        if name in into:
            value = variable.read_value()
            np.copyto(into[name], np.asarray(memoryview(value)) if "CPU" in value.device else value.numpy())
        else:
            into[name] = variable.numpy()
    return into


def _padded(batch: Batch, shares: int) -> list[tf.Tensor]:
    """The batch's tensors and the weights of its clips, filled up to equal shares with clips that do not count."""
    missing = -len(batch.clips) % shares if len(batch.clips) else shares
    weights = tf.concat([tf.ones([len(batch.clips)]), tf.zeros([missing])], 0)
    if not missing:
        return [batch.features, batch.n_frames, batch.labels, batch.n_labels, weights]
    n_frames = tf.concat([batch.n_frames, tf.fill([missing], tf.shape(batch.features)[1])], 0)
    n_labels = tf.concat([batch.n_labels, tf.ones([missing], tf.int32)], 0)
    features, labels = (
        tf.pad(batch.features, [[0, missing], [0, 0], [0, 0]]),
        tf.pad(batch.labels, [[0, missing], [0, 0]]),
    )
    return [features, n_frames, labels, n_labels, weights]


def _scalar(value: float) -> tf.Variable:
    return tf.Variable(value, dtype=tf.float32, trainable=False)
