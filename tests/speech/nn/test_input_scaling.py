"""Layer 1 of standardised inputs: the same sums, Adam as it would be there, and checkpoints as of any training."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from speech.alphabet import Alphabet
from speech.clips.manifest import read_manifest
from speech.geometry import Geometry
from speech.model_files.variables import initial_weights
from speech.nn import snapshots
from speech.nn.batches import Batch, ClipSet
from speech.nn.dropout import DropoutRates
from speech.nn.input_scaling import BIAS, INNER, WEIGHTS, InputScaling
from speech.nn.snapshots import Snapshot
from speech.nn.training import Adam, Trainer

GEOMETRY = Geometry(16, 5)
GENERATOR = np.random.default_rng(5)
SCALING = InputScaling(GENERATOR.normal(0, 5, 26), GENERATOR.uniform(0.3, 8, 26))
FRAMES = 20


def batch(features: np.ndarray) -> Batch:
    """Clips of features `[B, T, 26]`, with random labels."""
    clips = len(features)
    labels = np.random.default_rng(1).integers(0, 5, (clips, 6)).astype(np.int32)
    counts = np.full(clips, FRAMES, np.int32), np.full(clips, 6, np.int32)
    tensors = (tf.constant(features), tf.constant(counts[0]), tf.constant(labels), tf.constant(counts[1]))
    return Batch(0, np.arange(clips), *tensors)


def trainer(snapshot: Snapshot, scaling: InputScaling | None = SCALING) -> Trainer:
    return Trainer(snapshot, Adam(), DropoutRates(), 0.01, seed=3, scaling=scaling)


def fresh() -> tuple[Snapshot, Snapshot]:
    """A model of standardised inputs, and the same one of inputs as they are."""
    inner = initial_weights(GEOMETRY, 1)
    return Snapshot(GEOMETRY, inner), Snapshot(GEOMETRY, SCALING.of_windows(GEOMETRY).of_fresh(inner))


@pytest.fixture
def no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows without zeros at the edges, which are zeros whether features are standardised or not."""
    from speech.nn.model import AcousticModel

    def windows(self: AcousticModel, features: tf.Tensor) -> tf.Tensor:
        return tf.tile(tf.transpose(features, [1, 0, 2]), [1, 1, self.geometry.window_frames])

    monkeypatch.setattr(AcousticModel, "windows", windows)


def test_it_learns_what_a_model_of_standardised_features_does(no_padding: None) -> None:
    standardised = np.random.default_rng(0).normal(0, 1, (3, FRAMES, 26)).astype(np.float32)
    raw = (standardised * SCALING.deviation + SCALING.mean).astype(np.float32)
    inner, outer = fresh()
    one, two = trainer(inner, None), trainer(outer)
    for _ in range(5):
        assert two.train(batch(raw)).mean_loss == pytest.approx(one.train(batch(standardised)).mean_loss, rel=1e-3)
    expected = SCALING.of_windows(GEOMETRY).of_fresh(one.snapshot({}).weights)
    found = two.snapshot({}).weights
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], atol=2e-3, err_msg=name)
    unscaled = trainer(outer, None)
    for _ in range(5):
        unscaled.train(batch(raw))
    assert np.abs(unscaled.snapshot({}).weights[BIAS] - expected[BIAS]).max() > 0.02


def test_a_checkpoint_goes_on_exactly_and_is_like_any_other(tmp_path: Path) -> None:
    data = batch(np.random.default_rng(0).normal(3, 2, (3, FRAMES, 26)).astype(np.float32))
    straight, stopped = trainer(fresh()[1]), trainer(fresh()[1])
    for _ in range(2):
        straight.train(data)
        stopped.train(data)
    loaded = snapshots.load(snapshots.save(tmp_path, "train-2", stopped.snapshot({})))
    again = trainer(loaded)
    for _ in range(2):
        straight.train(data)
        again.train(data)
    one, two = straight.snapshot({}), again.snapshot({})
    for name, value in {**one.weights, **one.moments}.items():
        np.testing.assert_array_equal(value, {**two.weights, **two.moments}[name], err_msg=name)
    # The moments for others are those of the gradients as they are: the first one exactly.
    plain = trainer(fresh()[1], None)
    plain.train(data)
    once = trainer(fresh()[1])
    once.train(data)
    first = once.snapshot({}).moments[f"{WEIGHTS}/Adam"]
    np.testing.assert_allclose(first, plain.snapshot({}).moments[f"{WEIGHTS}/Adam"], atol=1e-5)
    assert not any(name.startswith(INNER) for name in plain.snapshot({}).moments)


def test_moments_of_another_trainer_are_taken_over() -> None:
    data = batch(np.random.default_rng(0).normal(3, 2, (3, FRAMES, 26)).astype(np.float32))
    plain = trainer(fresh()[1], None)
    plain.train(data)
    theirs, windows = plain.snapshot({}), SCALING.of_windows(GEOMETRY)
    inner = windows.inner_moments(theirs.moments)
    outer = windows.outer_moments(inner)
    np.testing.assert_allclose(outer[f"{WEIGHTS}/Adam"], theirs.moments[f"{WEIGHTS}/Adam"], atol=1e-5)
    assert all((inner[f"{name}/Adam_1"] >= 0).all() for name in (WEIGHTS, BIAS))
    assert trainer(theirs).train(data).applied
    assert windows.inner_moments({}) == {}  # a release that was trained without Adam


def test_mean_and_deviation_of_a_set(tones: Path) -> None:
    clips = ClipSet([read_manifest(tones / "train.csv")], Alphabet.load(tones / "alphabet.txt"), Geometry(16, 5))
    features = np.concatenate([clips.featurised(position).features for position in range(len(clips))])
    found = InputScaling.of(clips)
    np.testing.assert_allclose(found.mean, features.mean(0, np.float64), atol=6e-4)
    np.testing.assert_allclose(found.deviation, np.maximum(features.std(0, np.float64), 0.01), atol=6e-4)
    again = InputScaling.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.of_windows(GEOMETRY).mean.tobytes() == found.of_windows(GEOMETRY).mean.tobytes()
