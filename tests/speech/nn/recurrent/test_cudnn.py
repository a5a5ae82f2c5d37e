"""cuDNN's LSTM, without a GPU: its parameters against a reference in NumPy, the way back, the graph and its shapes."""

import numpy as np
import pytest
import tensorflow as tf

from speech.geometry import Geometry
from speech.model_files.variables import initial_weights
from speech.nn.devices import Compute
from speech.nn.dropout import DropoutRates, Noise
from speech.nn.model import AcousticModel
from speech.nn.recurrent import cudnn

HIDDEN = 6


def weights(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    kernel = generator.normal(0, 1, (2 * HIDDEN, 4 * HIDDEN)).astype(np.float32)
    return kernel, generator.normal(0, 1, 4 * HIDDEN).astype(np.float32)


def numpy_parameters(kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """From the columns of each gate (ours: i, c, f, o) to cuDNN's order (i, f, c, o), matrix by matrix."""
    column = {gate: slice(k * HIDDEN, (k + 1) * HIDDEN) for k, gate in enumerate("icfo")}
    matrices = [kernel[rows, column[gate]].T for rows in (slice(HIDDEN), slice(HIDDEN, None)) for gate in "ifco"]
    biases = [bias[column[gate]] for gate in "ifco"] + [np.zeros(HIDDEN, np.float32)] * 4
    return np.concatenate([part.ravel() for part in (*matrices, *biases)])


def test_parameters_are_packed_as_cudnn_reads_them() -> None:
    kernel, bias = weights()
    packed = cudnn.pack(tf.constant(kernel), tf.constant(bias)).numpy()
    assert packed.shape == (8 * HIDDEN * HIDDEN + 8 * HIDDEN,)
    np.testing.assert_array_equal(packed, numpy_parameters(kernel, bias))


def test_there_and_back() -> None:
    kernel, bias = weights(1)
    again = cudnn.unpack(cudnn.pack(tf.constant(kernel), tf.constant(bias)), HIDDEN)
    np.testing.assert_array_equal(again[0], kernel)
    np.testing.assert_array_equal(again[1], bias)
    parameters = np.random.default_rng(2).normal(0, 1, 8 * HIDDEN * HIDDEN + 8 * HIDDEN).astype(np.float32)
    once = cudnn.pack(*cudnn.unpack(tf.constant(parameters), HIDDEN))
    matrices = slice(8 * HIDDEN * HIDDEN)
    np.testing.assert_array_equal(once[matrices], parameters[matrices])
    of_input, of_state = np.split(parameters[8 * HIDDEN * HIDDEN :], 2)
    np.testing.assert_allclose(once[8 * HIDDEN * HIDDEN :][: 4 * HIDDEN], of_input + of_state, rtol=1e-6)


def test_cudnns_equations_on_its_parameters_are_our_lstm() -> None:
    """One frame by cuDNN's documentation, from the packed vector alone."""
    kernel, bias = weights(3)
    packed = cudnn.pack(tf.constant(kernel), tf.constant(bias)).numpy()
    matrices = packed[: 8 * HIDDEN * HIDDEN].reshape(8, HIDDEN, HIDDEN)
    biases = packed[8 * HIDDEN * HIDDEN :].reshape(8, HIDDEN)
    x, h, c = np.random.default_rng(4).normal(0, 1, (3, HIDDEN))

    def gate(k: int) -> np.ndarray:
        return matrices[k] @ x + matrices[4 + k] @ h + biases[k] + biases[4 + k]

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    new_c = sigmoid(gate(1)) * c + sigmoid(gate(0)) * np.tanh(gate(2))
    new_h = sigmoid(gate(3)) * np.tanh(new_c)
    from speech.nn.recurrent.lstm import lstm

    states = [tf.constant(state[np.newaxis], tf.float32) for state in (c, h)]
    inputs = tf.constant(x[np.newaxis, np.newaxis], tf.float32)
    _, found_c, found_h = lstm(inputs, tf.constant(kernel), tf.constant(bias), *states)
    np.testing.assert_allclose(found_c[0], new_c, rtol=1e-5)
    np.testing.assert_allclose(found_h[0], new_h, rtol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.float16])
def test_the_graph_for_gpus_is_whole(dtype: tf.DType) -> None:
    geometry = Geometry(16, 5)
    with tf.Graph().as_default() as graph:
        model = AcousticModel(geometry, initial_weights(geometry, 1), compute=Compute(dtype, cudnn=True))
        features = tf.compat.v1.placeholder(tf.float32, [4, 30, 26])
        noise = Noise(tf.constant(1), tf.constant(1), tf.constant(0))
        with tf.device("/GPU:0"):
            logits = model.logits(features, dropout=DropoutRates(0.1, 0.1, 0.1, 0.1), noise=noise)
            losses = model.losses(logits, tf.fill([4], 30), tf.zeros([4, 3], tf.int32), tf.fill([4], 3))
            gradients = tf.gradients(tf.reduce_sum(losses), list(model.variables.values()))
        assert logits.dtype == tf.float32
        assert logits.shape == (30, 4, 6)
        assert losses.shape == (4,)
        for (name, variable), gradient in zip(model.variables.items(), gradients, strict=True):
            assert gradient is not None, name
            assert gradient.dtype == tf.float32
            assert gradient.shape.is_compatible_with(variable.shape), name
        operators = {operation.type: operation for operation in graph.get_operations()}
        assert operators["CudnnRNNV2"].get_attr("T") == dtype
        assert operators["CudnnRNNV2"].get_attr("rnn_mode") == b"lstm"
        assert "CudnnRNNBackpropV2" in operators


def test_the_loss_for_gpus_is_the_loss_for_processors() -> None:
    geometry = Geometry(16, 5)
    start = initial_weights(geometry, 1)
    logits = tf.random.stateless_normal([20, 3, 6], [1, 2])
    labels, n_labels = tf.constant([[0, 1, 1, 4], [2, 2, 0, 0], [3, 0, 0, 0]]), tf.constant([4, 2, 1])
    found = []
    for cudnn_loss in (False, True):
        model = AcousticModel(geometry, start, compute=Compute(cudnn=cudnn_loss))
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = model.losses(logits, tf.constant([20, 15, 9]), labels, n_labels)
        found.append((losses.numpy(), tape.gradient(losses, logits).numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)
