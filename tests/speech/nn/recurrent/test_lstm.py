"""Our LSTM against BlockLSTM, the operator that the peers train with and their clients run."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from speech.nn.recurrent import lstm as module
from speech.nn.recurrent import recurrence
from speech.nn.recurrent.lstm import lstm

FRAMES, BATCH, HIDDEN = 7, 3, 12


@pytest.fixture(params=["operators", "loop"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to compute the frames, the first where this processor has one of the kernels."""
    if request.param == "loop":
        monkeypatch.setattr(recurrence, "kernel_of", lambda _: None)
    elif recurrence.kernel_of(tf.float32) is None:
        pytest.skip("no kernel for this processor")


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "kernel_of", lambda _: None)


def block_lstm(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, c: tf.Tensor, h: tf.Tensor):
    none = tf.zeros([HIDDEN])
    block = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.constant(FRAMES, tf.int64),
        x=x,
        cs_prev=c,
        h_prev=h,
        w=kernel,
        wci=none,
        wcf=none,
        wco=none,
        b=bias,
        forget_bias=0.0,
        cell_clip=-1.0,
        use_peephole=False,
    )
    return block.h, block.cs[-1], block.h[-1]


def numbers(seed: int) -> list[tf.Tensor]:
    generator = np.random.default_rng(seed)
    shapes = [(FRAMES, BATCH, HIDDEN), (2 * HIDDEN, 4 * HIDDEN), (4 * HIDDEN,), (BATCH, HIDDEN), (BATCH, HIDDEN)]
    return [tf.constant(generator.normal(0, 0.5, shape), tf.float32) for shape in shapes]


def loss_and_gradients(function, arguments: list[tf.Tensor]):
    weights = [tf.constant(np.random.default_rng(9).normal(0, 1, n), tf.float32) for n in (HIDDEN,) * 3]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        results = function(*arguments)
        loss = tf.add_n([tf.reduce_sum(result * weight) for result, weight in zip(results, weights, strict=True)])
    return results, tape.gradient(loss, arguments)


@pytest.mark.parametrize("compiled", [False, True])
def test_outputs_states_and_gradients_are_blocklstms(compiled: bool, way: None) -> None:
    arguments = numbers(1)
    function = tf.function(lstm, autograph=False) if compiled else lstm
    ours, our_gradients = loss_and_gradients(function, arguments)
    theirs, _ = loss_and_gradients(block_lstm, arguments)
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    # BlockLSTM ignores gradients of the last cell state, so the whole is compared by differences.
    for position, gradient in enumerate(our_gradients):
        direction = np.random.default_rng(position).normal(0, 1, gradient.shape)
        found = float(np.sum(gradient.numpy() * direction))
        assert found == pytest.approx(numerical(arguments, position, direction), rel=2e-3, abs=2e-3)


def numerical(arguments: list[tf.Tensor], position: int, direction: np.ndarray) -> float:
    """Central difference of the loss, in float64 by an LSTM written in NumPy."""
    values = [argument.numpy().astype(np.float64) for argument in arguments]
    losses = []
    for sign in (1, -1):
        moved = [value + sign * 1e-5 * direction if k == position else value for k, value in enumerate(values)]
        losses.append(numpy_loss(*moved))
    return (losses[0] - losses[1]) / 2e-5


def numpy_loss(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, c: np.ndarray, h: np.ndarray) -> float:
    weights = [np.random.default_rng(9).normal(0, 1, n) for n in (HIDDEN,) * 3]

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    total = 0.0
    for frame in x:
        i, g, f, o = np.split(np.concatenate([frame, h], axis=1) @ kernel + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        total += np.sum(h * weights[0])
    return total + np.sum(c * weights[1]) + np.sum(h * weights[2])


def test_gradients_are_blocklstms_where_it_has_them(way: None) -> None:
    arguments = numbers(2)

    def outputs_only(function):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss = tf.reduce_sum(tf.square(function(*arguments)[0]))
        return tape.gradient(loss, arguments[:3])

    for one, two in zip(outputs_only(lstm), outputs_only(block_lstm), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights_left_from", [1, 10_000])
def test_bfloat16_products_stay_near(monkeypatch: pytest.MonkeyPatch, weights_left_from: int, loop: None) -> None:
    monkeypatch.setattr(module, "WEIGHTS_LEFT_FROM_WIDTH", weights_left_from)
    arguments = numbers(3)
    exact, near = lstm(*arguments)[0].numpy(), lstm(*arguments, compute_dtype=tf.bfloat16)[0].numpy()
    assert near.dtype == np.float32
    assert 0 < np.abs(exact - near).max() < 0.03


def test_weights_on_the_left_change_nothing(monkeypatch: pytest.MonkeyPatch, loop: None) -> None:
    arguments = numbers(4)
    both = []
    for weights_left_from in (1, 10_000):
        monkeypatch.setattr(module, "WEIGHTS_LEFT_FROM_WIDTH", weights_left_from)
        half = partial(lstm, compute_dtype=tf.bfloat16)
        both.append(loss_and_gradients(half, arguments))
    for one, two in zip([*both[0][0], *both[0][1]], [*both[1][0], *both[1][1]], strict=True):
        np.testing.assert_allclose(one, two, rtol=0.02, atol=0.02)
    exact = loss_and_gradients(lstm, arguments)
    for one, two in zip(both[0][1], exact[1], strict=True):
        assert np.linalg.norm(one - two) < 0.02 * np.linalg.norm(two)
