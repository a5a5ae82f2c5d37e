"""The LSTM's frames as operators in C++ (`cpp/lstm.cpp`), for processors that have their instructions.

They are compiled on first use; where they cannot be, `lstm.py` computes the same by operators of TensorFlow. Images
compile them ahead: `python -m speech.nn --output speech/nn/cpp`.
"""

import ctypes
import platform
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import tensorflow as tf

from speech.native_library import NativeLibrary, NoCompilerError
from speech.processors import cores

LIBRARY = NativeLibrary(
    "lstm",
    Path(__file__).parent / "cpp",
    version=tf.__version__,
    flags=(f"-I{tf.sysconfig.get_include()}", f"-L{tf.sysconfig.get_lib()}", "-l:libtensorflow_framework.so.2"),
)
# The kernels for products of each type, by their numbers in `kKernels`, the fastest first.
KERNELS = {tf.float32: (1, 0), tf.bfloat16: (2,)}
NAMES = {0: "AVX2", 1: "AVX-512", 2: "AVX-512 BF16"}


def has_machine() -> bool:
    """Whether there are kernels for processors of this kind."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def kernel_of(dtype: tf.DType) -> int | None:
    """The kernel that computes with products in `dtype` on this processor, None if there is none."""
    wanted = KERNELS.get(dtype, ())
    loaded = _load() if wanted else None
    return next((kernel for kernel in wanted if loaded and loaded[1].speech_lstm_runs_here(kernel)), None)


def describe(dtype: tf.DType) -> str:
    """What computes the LSTM on this processor, for a log."""
    kernel = kernel_of(dtype)
    return "LSTM by TensorFlow's operators" if kernel is None else f"LSTM in {NAMES[kernel]}"


def forward(
    projected: tf.Tensor, weights: tf.Tensor, state_c: tf.Tensor, state_h: tf.Tensor, kernel: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Projected inputs `[T, B, 4H]` -> gate activations `[T, B, 4H]`, cells and outputs `[T, B, H]`.

    `projected` is float32 or bfloat16, `weights` is the whole kernel `[2H, 4H]`, the states
    are `[B, H]`. All results are float32.
    """
    results = _operators().speech_lstm(projected, weights, state_c, state_h, kernel=kernel)
    frames, batch = projected.shape[:2]
    hidden = state_c.shape[-1]
    for result, width in zip(results, (4 * hidden, hidden, hidden), strict=True):
        result.set_shape([frames, batch, width])
    return tuple(results)


def backward(
    d_outputs: tf.Tensor,
    d_last_c: tf.Tensor,
    d_last_h: tf.Tensor,
    activations: tf.Tensor,
    cells: tf.Tensor,
    state_c: tf.Tensor,
    weights: tf.Tensor,
    kernel: int,
    dtype: tf.DType,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gradients of the outputs `[T, B, H]` and last states -> of the gates, the bias `[4H]` and both first states.

    Those of the gates are meant before activation, `[T, B, 4H]`, in `dtype`, the others float32.
    """
    d_gates, d_bias, d_state_c, d_state_h = _operators().speech_lstm_gradient(
        d_outputs, d_last_c, d_last_h, activations, cells, state_c, weights, T=dtype, kernel=kernel
    )
    d_gates.set_shape(activations.shape)
    d_bias.set_shape([activations.shape[-1]])
    for state in (d_state_c, d_state_h):
        state.set_shape(state_c.shape)
    return d_gates, d_bias, d_state_c, d_state_h


@lru_cache(maxsize=1)
def _load() -> tuple[Any, ctypes.CDLL] | None:
    """The operators, and the library that they are in."""
    if not has_machine():
        return None
    try:
        with LIBRARY.for_this_process() as path:
            operators, library = tf.load_op_library(str(path)), ctypes.CDLL(str(path))
    except (NoCompilerError, tf.errors.NotFoundError, OSError) as error:
        print(f"warning: the LSTM trains slower than it could, without its C++ operators: {error}", file=sys.stderr)
        return None
    library.speech_lstm_set_threads(tf.config.threading.get_intra_op_parallelism_threads() or cores())
    return operators, library


def _operators() -> Any:
    loaded = _load()
    assert loaded is not None, "a kernel came from here"
    return loaded[0]
