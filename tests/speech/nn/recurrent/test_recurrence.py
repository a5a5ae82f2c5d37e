"""The operators in C++ against the loop of TensorFlow's: every kernel that this processor runs."""

import os
import platform
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from speech.native import compiling as native_library
from speech.native.compiling import NoCompilerError
from speech.native.processors import cores
from speech.nn.recurrent import recurrence
from speech.nn.recurrent.lstm import lstm
from speech.nn.recurrent.recurrence import Operators
from tests.peers.environments import REPOSITORY

KERNELS = [(tf.float32, 0), (tf.float32, 1), (tf.bfloat16, 2)]
# Frames, clips, units: one of each; whole and broken vectors, panels, tasks and tiles; more than a block of depth.
SHAPES = [(1, 1, 1), (7, 3, 12), (3, 9, 32), (5, 33, 33), (4, 8, 100), (3, 17, 256), (2, 5, 1100)]


def needs(kernel: int) -> None:
    loaded = recurrence._load()
    if loaded is None or not loaded[1].speech_lstm_runs_here(kernel):
        pytest.skip(f"this processor has no {recurrence.NAMES[kernel]}, or no compiler")


def numbers(shape: tuple[int, int, int], seed: int = 0) -> list[tf.Tensor]:
    frames, batch, hidden = shape
    generator = np.random.default_rng(seed)
    sizes = [(frames, batch, hidden), (2 * hidden, 4 * hidden), (4 * hidden,), (batch, hidden), (batch, hidden)]
    made = [tf.constant(generator.normal(0, 0.5, size), tf.float32) for size in sizes]
    made[1] *= hidden**-0.5
    return made


def everything(
    monkeypatch: pytest.MonkeyPatch, kernel: int | None, arguments: Sequence[tf.Tensor], dtype: tf.DType
) -> list[np.ndarray]:
    """Outputs, last states, and the gradients of all arguments of a loss that depends on all of them."""
    monkeypatch.setattr(recurrence, "kernel_of", lambda _: kernel)
    generator = np.random.default_rng(9)

    @tf.function(autograph=False)
    def run(*arguments: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            results = lstm(*arguments, compute_dtype=dtype)
            weights = [tf.constant(generator.normal(0, 1, arguments[3].shape[1]), tf.float32) for _ in results]
            loss = tf.add_n([tf.reduce_sum(one * weight) for one, weight in zip(results, weights, strict=True)])
        return [*results, *tape.gradient(loss, arguments)]

    return [result.numpy() for result in run(*arguments)]


@pytest.mark.parametrize(("dtype", "kernel"), KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_as_the_loop(
    monkeypatch: pytest.MonkeyPatch, dtype: tf.DType, kernel: int, shape: tuple[int, int, int]
) -> None:
    needs(kernel)
    arguments = numbers(shape)
    ours = everything(monkeypatch, kernel, arguments, dtype)
    theirs = everything(monkeypatch, None, arguments, dtype)
    tolerance = 1e-5 if dtype == tf.float32 else 0.01  # the loop rounds each product to bfloat16
    for one, two in zip(ours, theirs, strict=True):
        assert one.dtype == two.dtype == np.float32
        assert np.abs(one - two).max() <= tolerance * np.abs(two).max()


def test_a_plain_lstm_asks_for_no_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(recurrence, "kernel_of", asked.append)
    assert recurrence.describe(tf.float32, plain=True) == "LSTM by TensorFlow's operators"
    lstm(*numbers((3, 2, 8)), plain=True)
    assert asked == []
    lstm(*numbers((3, 2, 8)))
    assert asked == [tf.float32]


def test_avx2_and_avx512_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel in (0, 1):
        needs(kernel)
    arguments = numbers((5, 7, 70))
    for one, two in zip(*(everything(monkeypatch, kernel, arguments, tf.float32) for kernel in (0, 1)), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    loaded = recurrence._load()
    if loaded is None:
        pytest.skip("no compiler")
    yield loaded[1].speech_lstm_set_threads
    loaded[1].speech_lstm_set_threads(cores())


@pytest.mark.parametrize(("dtype", "kernel"), KERNELS)
def test_the_number_of_threads_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, set_threads: Callable[[int], None], dtype: tf.DType, kernel: int
) -> None:
    needs(kernel)
    arguments, found = numbers((20, 10, 300)), []
    for threads in (1, 2, 5):
        set_threads(threads)
        found.append(everything(monkeypatch, kernel, arguments, dtype))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("dtype", "kernel"), KERNELS)
def test_what_is_too_small_is_zero_in_all_threads(
    set_threads: Callable[[int], None], dtype: tf.DType, kernel: int
) -> None:
    """TensorFlow's threads make denormal numbers 0; threads that do not would show in the results."""
    needs(kernel)
    frames, batch, hidden = 60, 4, 256
    inputs, weights, _, state, _ = numbers((frames, batch, hidden))
    made = Operators(weights, dtype, kernel).forward(tf.cast(tf.tile(inputs, [1, 1, 4]), dtype), state, state)
    d_outputs = tf.random.stateless_normal([frames, batch, hidden], [1, 2], stddev=1e-37)
    results = []
    for threads in (1, 4):
        set_threads(threads)
        nothing = tf.zeros_like(state)
        gradients = Operators(weights, tf.float32, kernel).backward((d_outputs, nothing, nothing), made, state)
        results.append([gradient.numpy() for gradient in gradients])
    tiny = np.finfo(np.float32).tiny
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not ((two != 0) & (np.abs(two) < tiny)).any()
    assert (np.abs(results[1][0]) > 0).any()


@pytest.mark.parametrize(("dtype", "kernel"), KERNELS)
def test_a_clip_does_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch, dtype: tf.DType, kernel: int) -> None:
    needs(kernel)
    inputs, weights, bias, state_c, state_h = numbers((6, 13, 40))
    together = everything(monkeypatch, kernel, [inputs, weights, bias, state_c, state_h], dtype)
    alone = everything(monkeypatch, kernel, [inputs[:, 9:10], weights, bias, state_c[9:10], state_h[9:10]], dtype)
    for k in (0, 3):  # the outputs, and the gradient of the inputs
        np.testing.assert_allclose(together[k][:, 9:10], alone[k], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "kernel"), KERNELS)
def test_activations_are_exact_for_all_sizes_of_numbers(dtype: tf.DType, kernel: int) -> None:
    """Sigmoid and tanh by themselves: no product, the gates are the projected inputs."""
    needs(kernel)
    values = np.concatenate([np.linspace(-100, 100, 4001), 10.0 ** np.arange(-30, 30), -(10.0 ** np.arange(-30, 30))])
    projected = tf.cast(tf.constant(np.repeat(values[:, None], 4, 1)[None], tf.float32), dtype)  # [1, N, 4]
    zeros = tf.zeros([len(values), 1])
    activations, cells, outputs = (
        result.numpy()[0].astype(np.float64)
        for result in Operators(tf.zeros([2, 4]), dtype, kernel).forward(projected, zeros, zeros)
    )
    x = tf.cast(projected, tf.float64).numpy()[0, :, 0]
    with np.errstate(over="ignore"):
        sigmoid, tanh = 1 / (1 + np.exp(-x)), np.tanh(x)
    for gate in (0, 2, 3):
        np.testing.assert_allclose(activations[:, gate], sigmoid, rtol=5e-7, atol=2e-38)
    np.testing.assert_allclose(activations[:, 1], tanh, rtol=5e-7, atol=1e-37)
    np.testing.assert_allclose(cells[:, 0], sigmoid * tanh, rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(outputs[:, 0], sigmoid * np.tanh(sigmoid * tanh), rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize(("dtype", "kernel"), KERNELS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_seen(monkeypatch: pytest.MonkeyPatch, dtype: tf.DType, kernel: int, bad: float) -> None:
    """Training stops at a loss that is not finite; the LSTM must not hide it."""
    needs(kernel)
    arguments = numbers((4, 5, 40))
    spoilt = arguments[0].numpy()
    spoilt[1, 2, 3] = bad
    outputs, *_ = everything(monkeypatch, kernel, [tf.constant(spoilt), *arguments[1:]], dtype)
    if np.isnan(bad):
        assert np.isnan(outputs[1:, 2]).all()
    others = np.delete(outputs, 2, axis=1)
    assert np.isfinite(others).all()
    assert np.isfinite(outputs[0]).all()


@pytest.mark.parametrize(("dtype", "kernel"), KERNELS)
def test_shapes_that_do_not_fit_are_refused(dtype: tf.DType, kernel: int) -> None:
    needs(kernel)
    weights, state = tf.zeros([24, 48]), tf.zeros([3, 12])
    for projected, other_state in (
        (tf.zeros([5, 3, 48]), tf.zeros([4, 12])),
        (tf.zeros([5, 3, 44]), state),
        (tf.zeros([5, 48]), state),
        (tf.zeros([5, 3, 47]), state),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="has another shape"):
            recurrence._operators().speech_lstm(tf.cast(projected, dtype), weights, state, other_state, kernel=kernel)
    with pytest.raises(tf.errors.InvalidArgumentError, match="lacks the instructions"):
        recurrence._operators().speech_lstm(tf.zeros([5, 3, 48], dtype), weights, state, state, kernel=9)


@pytest.mark.parametrize(("dtype", "kernel"), KERNELS)
def test_no_frames_and_no_clips(dtype: tf.DType, kernel: int) -> None:
    needs(kernel)
    for frames, batch in ((0, 3), (4, 0)):
        state = tf.ones([batch, 12])
        operators = Operators(tf.zeros([24, 48]), dtype, kernel)
        made = operators.forward(tf.zeros([frames, batch, 48], dtype), state, state)
        assert [result.shape for result in made] == [(frames, batch, 48), (frames, batch, 12), (frames, batch, 12)]
        d_gates, d_bias, d_c, d_h = operators.backward((made.outputs, state, 2 * state), made, state)
        assert d_gates.shape == (frames, batch, 48)
        assert d_gates.dtype == dtype
        assert not d_bias.numpy().any()
        np.testing.assert_array_equal(d_c, state)
        np.testing.assert_array_equal(d_h, 2 * state)


def test_without_a_compiler_tensorflow_computes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> Path:
        raise NoCompilerError("no C++ compiler found")

    copy = tmp_path / "cpp"
    shutil.copytree(recurrence.LIBRARY.sources, copy, ignore=shutil.ignore_patterns("*.so"))
    monkeypatch.setattr(recurrence, "LIBRARY", replace(recurrence.LIBRARY, sources=copy))
    monkeypatch.setattr(native_library, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(native_library.NativeLibrary, "build", fails)
    recurrence._load.cache_clear()
    try:
        if sys.platform == "linux":
            assert recurrence.kernel_of(tf.float32) is None
            assert recurrence.describe(tf.float32) == "LSTM by TensorFlow's operators"
            assert capsys.readouterr().err == (
                "warning: the LSTM trains slower than it could, without its C++ operators: no C++ compiler found\n"
            )
    finally:
        recurrence._load.cache_clear()


def test_warnings_are_errors_here(tmp_path: Path) -> None:
    needs(0)
    library = replace(recurrence.LIBRARY, flags=("-Wall", "-Wextra", "-Werror", *recurrence.LIBRARY.flags))
    result = subprocess.run(library.command(tmp_path / "library.so"), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_other_machines_have_nothing_to_compile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(sys, "argv", ["speech.nn.recurrent", "--output", "unused"])
    runpy.run_module("speech.nn.recurrent", run_name="__main__")
    assert capsys.readouterr().out.startswith("nothing to compile")
    recurrence._load.cache_clear()
    assert recurrence.kernel_of(tf.float32) is None
    recurrence._load.cache_clear()


def test_command(tmp_path: Path) -> None:
    """What the Dockerfile of the train step runs."""
    needs(0)
    command = [sys.executable, "-m", "speech.nn.recurrent", "--output", str(tmp_path)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=os.environ)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()) == tmp_path / recurrence.LIBRARY.file_name
