"""The forward pass and the loss against a reference written in NumPy from the model's description."""

import numpy as np
import pytest
import tensorflow as tf

from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL, initial_weights, layer_of, weight_shapes
from speech.nn.dropout import DropoutRates, Noise
from speech.nn.model import AcousticModel, ctc_loss

GEOMETRIES = [Geometry(24, 5), Geometry(16, 29, layer_norm=True), Geometry(40, 3, relu_clip=0.5)]


def random_weights(geometry: Geometry, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        name: generator.normal(0, 0.3, shape).astype(np.float32) + (1.0 if name.endswith("gamma") else 0.0)
        for name, shape in weight_shapes(geometry).items()
    }


def reference(weights: dict[str, np.ndarray], geometry: Geometry, features: np.ndarray) -> np.ndarray:
    """float64 logits `[T, C]` of one clip's features `[T, n_input]`."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        x = np.clip(x @ w[f"{name}/weights"] + w[f"{name}/bias"], 0, geometry.relu_clip)
        if geometry.layer_norm:
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
            x = x * w[f"{name}/LayerNorm/gamma"] + w[f"{name}/LayerNorm/beta"]
        return x

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    padded = np.pad(features, ((geometry.n_context,) * 2, (0, 0)))
    x = np.stack([padded[t : t + geometry.window_frames].reshape(-1) for t in range(len(features))])
    x = dense("layer_3", dense("layer_2", dense("layer_1", x)))
    c = h = np.zeros(geometry.n_hidden)
    outputs = []
    for frame in x:
        i, g, f, o = np.split(np.concatenate([frame, h]) @ w[KERNEL] + w[BIAS], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return dense("layer_5", np.stack(outputs)) @ w["layer_6/weights"] + w["layer_6/bias"]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("compiled", [False, True])
def test_logits_are_the_references(geometry: Geometry, compiled: bool) -> None:
    weights = random_weights(geometry)
    features = np.random.default_rng(1).normal(0, 2, (2, 20, 26)).astype(np.float32)
    features[1, 13:] = 0  # a shorter clip in the batch
    model = AcousticModel(geometry, weights)
    run = tf.function(model.logits) if compiled else model.logits
    logits = run(tf.constant(features)).numpy()
    assert logits.shape == (20, 2, geometry.n_classes)
    np.testing.assert_allclose(logits[:, 0], reference(weights, geometry, features[0]), rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(logits[:13, 1], reference(weights, geometry, features[1, :13]), rtol=1e-4, atol=2e-5)


def test_streaming_in_pieces_equals_the_whole() -> None:
    geometry = Geometry(24, 5)
    model = AcousticModel(geometry, random_weights(geometry), trainable=False)
    windows = model.windows(tf.random.stateless_normal([1, 30, 26], [1, 2]))
    c = h = tf.zeros([1, 24])
    whole, _, _ = model.stream(windows, c, h)
    pieces = []
    for start in range(0, 30, 7):
        logits, c, h = model.stream(windows[start : start + 7], c, h)
        pieces.append(logits)
    np.testing.assert_allclose(tf.concat(pieces, 0), whole, atol=1e-5)


def noise(step: int) -> Noise:
    return Noise(tf.constant(7), tf.constant(step), tf.constant(0))


def test_dropout_keeps_the_mean_and_follows_its_seed() -> None:
    geometry = Geometry(512, 5)
    model = AcousticModel(geometry, random_weights(geometry))
    features = tf.random.stateless_normal([1, 10, 26], [1, 2])
    plain = model.logits(features, dropout=DropoutRates())
    np.testing.assert_array_equal(plain, model.logits(features))
    dropped = [model.logits(features, dropout=DropoutRates(0.5), noise=noise(step)) for step in (0, 0, 1)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert np.abs(dropped[0] - dropped[2]).max() > 1e-3


def test_initial_weights_are_glorot_uniform_and_seeded() -> None:
    geometry = Geometry(64, 28)
    weights = initial_weights(geometry, 1)
    assert {name: value.shape for name, value in weights.items()} == weight_shapes(geometry)
    limit = np.sqrt(6 / (128 + 256))
    assert np.abs(weights[KERNEL]).max() == pytest.approx(limit, rel=1e-2)
    assert weights[KERNEL].std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert not weights["layer_1/bias"].any()
    again, other = initial_weights(geometry, 1), initial_weights(geometry, 2)
    np.testing.assert_array_equal(weights["layer_2/weights"], again["layer_2/weights"])
    assert np.abs(weights["layer_2/weights"] - other["layer_2/weights"]).max() > 0.01


def test_wrong_weights_are_named() -> None:
    weights = random_weights(Geometry(8, 5))
    with pytest.raises(InputError, match=r"layer_1/bias has the shape \[8\], expected \[9\]"):
        AcousticModel(Geometry(9, 5), weights)
    del weights[KERNEL]
    with pytest.raises(InputError, match="lack cudnn_lstm"):
        AcousticModel(Geometry(8, 5), weights)


def test_layers_of_variables() -> None:
    assert layer_of(f"{KERNEL}/Adam") == "lstm"
    assert layer_of("layer_6/weights/Adam_1") == "layer_6"
    assert layer_of("beta2_power") == "beta2_power"


def brute_force_ctc(logits: np.ndarray, labels: list[int]) -> float:
    """-log of the summed probability of all paths that collapse to `labels`, by enumeration."""
    import itertools

    blank = logits.shape[1] - 1
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(blank + 1), repeat=len(logits)):
        collapsed = [symbol for symbol, _ in itertools.groupby(path) if symbol != blank]
        if collapsed == labels:
            total += np.prod([probabilities[t, symbol] for t, symbol in enumerate(path)])
    return -np.log(total)


def test_ctc_loss_is_the_sum_over_all_paths() -> None:
    logits = np.random.default_rng(0).normal(0, 1, (5, 2, 3)).astype(np.float32)
    labels = np.array([[0, 0], [1, 0]], np.int32)
    found = ctc_loss(tf.constant(logits), tf.constant([5, 4]), tf.constant(labels), tf.constant([2, 1])).numpy()
    assert found[0] == pytest.approx(brute_force_ctc(logits[:, 0].astype(float), [0, 0]), rel=1e-5)
    assert found[1] == pytest.approx(brute_force_ctc(logits[:4, 1].astype(float), [1]), rel=1e-5)
