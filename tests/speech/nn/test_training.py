"""One optimizer step against Adam written in NumPy; faults; the way through a checkpoint."""

import numpy as np
import pytest
import tensorflow as tf

from speech.geometry import Geometry
from speech.nn import checkpoints
from speech.nn.batches import Batch, subset
from speech.nn.checkpoints import Snapshot
from speech.nn.model import AcousticModel, Dropout, ctc_loss
from speech.nn.training import Adam, Trainer
from speech.variables import initial_weights

GEOMETRY = Geometry(16, 5)


def batch(seed: int = 0, clips: int = 3) -> Batch:
    generator = np.random.default_rng(seed)
    features = generator.normal(0, 2, (clips, 20, 26)).astype(np.float32)
    labels = generator.integers(0, 5, (clips, 6)).astype(np.int32)
    counts = np.full(clips, 20, np.int32), np.full(clips, 6, np.int32)
    tensors = (tf.constant(features), tf.constant(counts[0]), tf.constant(labels), tf.constant(counts[1]))
    return Batch(0, np.arange(clips), *tensors)


def fresh(dropout: Dropout | None = None) -> Trainer:
    bundle = Snapshot(GEOMETRY, initial_weights(GEOMETRY, 1))
    return Trainer(bundle, Adam(), dropout or Dropout(), 0.01, seed=3)


def numpy_adam(steps: list[dict[str, np.ndarray]], weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """TensorFlow 1's Adam: lr_t = lr * sqrt(1 - b2^t) / (1 - b1^t); w -= lr_t * m / (sqrt(v) + epsilon)."""
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    m = {name: np.zeros_like(value) for name, value in weights.items()}
    v = {name: np.zeros_like(value) for name, value in weights.items()}
    for t, gradients in enumerate(steps, 1):
        rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        for name, gradient in gradients.items():
            m[name] = 0.9 * m[name] + 0.1 * gradient
            v[name] = 0.999 * v[name] + 0.001 * gradient**2
            weights[name] -= rate * m[name] / (np.sqrt(v[name]) + 1e-8)
    return weights


def gradients_of(weights: dict[str, np.ndarray], data: Batch) -> dict[str, np.ndarray]:
    model = AcousticModel(GEOMETRY, weights)
    with tf.GradientTape() as tape:
        losses = ctc_loss(model.logits(data.features), data.n_frames, data.labels, data.n_labels)
        loss = tf.reduce_mean(losses)
    names = list(model.variables)
    return dict(zip(names, (g.numpy() for g in tape.gradient(loss, list(model.variables.values()))), strict=True))


def test_two_steps_are_adams() -> None:
    trainer, data = fresh(), batch()
    before = trainer.snapshot({}).weights
    gradients = [gradients_of(before, data)]
    losses, applied = trainer.train(data)
    assert applied
    assert losses == pytest.approx(fresh().losses(data), rel=1e-5)
    gradients.append(gradients_of(trainer.snapshot({}).weights, data))
    trainer.train(data)
    expected, found = numpy_adam(gradients, before), trainer.snapshot({})
    for name in expected:
        np.testing.assert_allclose(found.weights[name], expected[name], atol=2e-5, err_msg=name)
    assert found.global_step == 2
    assert found.beta1_power == pytest.approx(0.9**3)  # the peers start the powers at beta, not at 1
    assert found.beta2_power == pytest.approx(0.999**3)


def test_a_batch_without_finite_loss_changes_nothing() -> None:
    trainer, data = fresh(), batch()
    before = trainer.snapshot({})
    labels, n_frames = np.array(data.labels), np.array(data.n_frames)
    labels[1], n_frames[1] = 2, 10  # six times the same symbol needs eleven frames
    data.labels, data.n_frames = tf.constant(labels), tf.constant(n_frames)
    losses, applied = trainer.train(data)
    assert not applied
    assert np.isfinite(losses).tolist() == [True, False, True]
    after = trainer.snapshot({})
    assert after.global_step == 0
    for name, value in before.weights.items():
        np.testing.assert_array_equal(after.weights[name], value)
    losses, applied = trainer.train(subset(data, np.isfinite(losses)))
    assert applied
    assert len(losses) == 2


def test_through_a_checkpoint_bit_for_bit(tmp_path) -> None:
    dropout = Dropout(0.2, 0.1, 0.1, 0.3)
    straight = fresh(dropout)
    for number in range(4):
        straight.train(batch(number))
    first = fresh(dropout)
    for number in range(2):
        first.train(batch(number))
    prefix = checkpoints.save(tmp_path, "train-2", first.snapshot({"epoch": 1}))
    loaded = checkpoints.load(prefix)
    assert loaded.training_state == {"epoch": 1}
    second = Trainer(loaded, Adam(), dropout, 123.0, seed=3)
    for number in range(2, 4):
        second.train(batch(number))
    ours, theirs = straight.snapshot({}), second.snapshot({})
    for name in ours.weights:
        np.testing.assert_array_equal(ours.weights[name], theirs.weights[name])
    for name in ours.moments:
        np.testing.assert_array_equal(ours.moments[name], theirs.moments[name])
    assert ours.learning_rate == theirs.learning_rate == pytest.approx(0.01)


def test_restore_keeps_step_and_rate() -> None:
    trainer = fresh()
    kept = trainer.snapshot({})
    trainer.train(batch())
    trainer.learning_rate = 0.5
    trainer.restore(kept)
    assert trainer.global_step == 1
    assert trainer.learning_rate == 0.5
    np.testing.assert_array_equal(trainer.snapshot({}).weights["layer_1/weights"], kept.weights["layer_1/weights"])
