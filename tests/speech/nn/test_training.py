"""One optimizer step against Adam written in NumPy; faults; the way through a checkpoint."""

import numpy as np
import pytest
import tensorflow as tf

from speech.geometry import Geometry
from speech.model_files.variables import initial_weights
from speech.nn import snapshots, training
from speech.nn.batches import Batch, subset
from speech.nn.devices import Compute
from speech.nn.dropout import DropoutRates
from speech.nn.model import AcousticModel, ctc_loss
from speech.nn.snapshots import Snapshot
from speech.nn.training import Adam, Trainer

GEOMETRY = Geometry(16, 5)


def batch(seed: int = 0, clips: int = 3) -> Batch:
    generator = np.random.default_rng(seed)
    features = generator.normal(0, 2, (clips, 20, 26)).astype(np.float32)
    labels = generator.integers(0, 5, (clips, 6)).astype(np.int32)
    counts = np.full(clips, 20, np.int32), np.full(clips, 6, np.int32)
    tensors = (tf.constant(features), tf.constant(counts[0]), tf.constant(labels), tf.constant(counts[1]))
    return Batch(0, np.arange(clips), *tensors)


def fresh(dropout: DropoutRates | None = None) -> Trainer:
    bundle = Snapshot(GEOMETRY, initial_weights(GEOMETRY, 1))
    return Trainer(bundle, Adam(), dropout or DropoutRates(), 0.01, seed=3)


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
    result = trainer.train(data)
    assert result.applied
    assert result.losses == pytest.approx(fresh().heard(data).losses, rel=1e-5)
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
    result = trainer.train(data)
    assert not result.applied
    assert result.n_not_finite == 1
    assert np.isfinite(result.losses).tolist() == [True, False, True]
    after = trainer.snapshot({})
    assert after.global_step == 0
    for name, value in before.weights.items():
        np.testing.assert_array_equal(after.weights[name], value)
    result = trainer.train(subset(data, np.isfinite(result.losses)))
    assert result.applied
    assert len(result.losses) == 2


def test_through_a_checkpoint_bit_for_bit(tmp_path) -> None:
    dropout = DropoutRates(0.2, 0.1, 0.1, 0.3)
    straight = fresh(dropout)
    for number in range(4):
        straight.train(batch(number))
    first = fresh(dropout)
    for number in range(2):
        first.train(batch(number))
    prefix = snapshots.save(tmp_path, "train-2", first.snapshot({"epoch": 1}))
    loaded = snapshots.load(prefix)
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


def test_a_snapshot_takes_the_memory_of_an_earlier_one() -> None:
    trainer = fresh()
    first = trainer.snapshot({})
    arrays = {**first.weights, **first.moments}
    trainer.train(batch())
    expected, second = trainer.snapshot({}), trainer.snapshot({"epoch": 1}, into=first)
    assert (second.global_step, second.training_state) == (1, {"epoch": 1})
    for name, value in {**expected.weights, **expected.moments}.items():
        np.testing.assert_array_equal(value, arrays[name], err_msg=name)
        assert {**second.weights, **second.moments}[name] is arrays[name]
    trainer.train(batch(1))
    np.testing.assert_array_equal(second.weights["layer_1/weights"], expected.weights["layer_1/weights"])


def test_restore_keeps_step_and_rate() -> None:
    trainer = fresh()
    kept = trainer.snapshot({})
    trainer.train(batch())
    trainer.learning_rate = 0.5
    trainer.restore(kept)
    assert trainer.global_step == 1
    assert trainer.learning_rate == 0.5
    np.testing.assert_array_equal(trainer.snapshot({}).weights["layer_1/weights"], kept.weights["layer_1/weights"])


DROPOUT = DropoutRates(0.2, 0.1, 0.1, 0.3)


def trained(data: list[Batch], **options: object) -> tuple[Trainer, list[float]]:
    bundle = Snapshot(GEOMETRY, initial_weights(GEOMETRY, 1))
    trainer = Trainer(bundle, Adam(), DROPOUT, 0.01, seed=3, **options)
    return trainer, [trainer.train(one).mean_loss for one in data]


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_a_batch_in_parts_is_the_same_step(parts: int) -> None:
    data = [batch(number, clips=5) for number in range(4)]
    whole, losses = trained(data)
    pieces, of_pieces = trained(data, parts=parts)
    assert of_pieces == pytest.approx(losses, rel=1e-5)
    for name, value in whole.snapshot({}).weights.items():
        np.testing.assert_allclose(pieces.snapshot({}).weights[name], value, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_mixed_precision_follows_float32(dtype: tf.DType) -> None:
    data = [batch(number % 3, clips=5) for number in range(12)]
    _, exact = trained(data)
    near, losses = trained(data, compute=Compute(dtype))
    assert losses != exact
    assert losses == pytest.approx(exact, rel=0.02)
    for value in near.snapshot({}).weights.values():
        assert value.dtype == np.float32


def test_the_plain_lstm_trains_to_the_same_numbers() -> None:
    data = [batch(number % 3, clips=5) for number in range(12)]
    fast, losses = trained(data)
    plain, by_tensorflow = trained(data, compute=Compute(plain_lstm=True))
    assert by_tensorflow == pytest.approx(losses, rel=1e-5)
    for name, value in fast.snapshot({}).weights.items():
        np.testing.assert_allclose(plain.snapshot({}).weights[name], value, atol=1e-3, err_msg=name)  # a step is 0.01


def test_float16_halves_its_loss_scale_until_it_fits_and_resumes_with_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "FIRST_LOSS_SCALE", 2.0**24)
    monkeypatch.setattr(training, "LOSS_SCALE_GROWS_AFTER", 3)
    data = [batch(number, clips=5) for number in range(6)]
    straight, _ = trained(data, compute=Compute(tf.float16))
    state = straight.snapshot({}).training_state
    assert 1.0 < state["loss_scale"] < 2.0**24
    first, _ = trained(data[:2], compute=Compute(tf.float16))
    loaded = snapshots.load(snapshots.save(tmp_path, "train-2", first.snapshot({})))
    second = Trainer(loaded, Adam(), DROPOUT, 0.01, seed=3, compute=Compute(tf.float16))
    for one in data[2:]:
        assert second.train(one).applied
    for name, value in straight.snapshot({}).weights.items():
        np.testing.assert_array_equal(second.snapshot({}).weights[name], value, err_msg=name)
    assert second.snapshot({}).training_state == state


def test_all_shapes_share_one_graph() -> None:
    trainer, _ = trained([batch(0, clips=3), batch(1, clips=5)])
    longer = batch(2, clips=2)
    longer.features, longer.n_frames = tf.pad(longer.features, [[0, 0], [0, 9], [0, 0]]), longer.n_frames + 9
    assert trainer.train(longer).applied
    trainer.heard(longer)
    assert trainer._step.experimental_get_tracing_count() == 1
    assert trainer._heard.experimental_get_tracing_count() == 1


def test_a_trial_changes_nothing() -> None:
    trainer = fresh()
    before = trainer.snapshot({})
    trainer.try_gradients(batch())
    assert trainer.global_step == 0
    for name, value in trainer.snapshot({}).weights.items():
        np.testing.assert_array_equal(value, before.weights[name])
