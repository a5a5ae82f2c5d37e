"""The LSTM's frames as operators in C++ (`cpp/lstm.cpp`), for processors that have their instructions.

They are compiled on first use; where they cannot be, `lstm.py` computes the same by operators of TensorFlow. Images
compile them ahead: `python -m speech.nn.recurrent --output speech/nn/recurrent/cpp`.
"""

import ctypes
import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from speech.native.compiling import NativeLibrary, NoCompilerError
from speech.native.processors import cores

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


def describe(dtype: tf.DType, plain: bool = False) -> str:
    """What computes the LSTM on this processor, for a log; `plain`: nothing but TensorFlow's operators may."""
    kernel = None if plain else kernel_of(dtype)
    return "LSTM by TensorFlow's operators" if kernel is None else f"LSTM in {NAMES[kernel]}"


class Frames(NamedTuple):
    """What the LSTM makes of all frames, in float32."""

    activations: tf.Tensor  # of the gates, [T, B, 4H]
    cells: tf.Tensor  # [T, B, H]
    outputs: tf.Tensor  # [T, B, H]


class Gradients(NamedTuple):
    """What the LSTM's gradient makes of all frames: the gates' in the type of the products, the others in float32."""

    gates: tf.Tensor  # before their activation, [T, B, 4H]
    bias: tf.Tensor  # [4H]
    state_c: tf.Tensor  # the first one, [B, H]
    state_h: tf.Tensor  # the first one, [B, H]


@dataclass(frozen=True)
class Operators:
    """The frames by the operators of one kernel, with `weights` `[2H, 4H]` and products in `dtype`."""

    weights: tf.Tensor
    dtype: tf.DType
    kernel: int

    def forward(self, projected: tf.Tensor, state_c: tf.Tensor, state_h: tf.Tensor) -> Frames:
        """Projected inputs `[T, B, 4H]`, float32 or bfloat16, and first states `[B, H]` -> all frames."""
        results = Frames(*_operators().speech_lstm(projected, self.weights, state_c, state_h, kernel=self.kernel))
        frames, batch = projected.shape[:2]
        hidden = state_c.shape[-1]
        for result, width in zip(results, (4 * hidden, hidden, hidden), strict=True):
            result.set_shape([frames, batch, width])
        return results

    def backward(self, d_results: tuple[tf.Tensor, ...], forward: Frames, state_c: tf.Tensor) -> Gradients:
        """Gradients of the outputs `[T, B, H]` and of the last cell and output `[B, H]` -> those of all else."""
        gradients = Gradients(
            *_operators().speech_lstm_gradient(
                *d_results, forward.activations, forward.cells, state_c, self.weights, T=self.dtype, kernel=self.kernel
            )
        )
        gradients.gates.set_shape(forward.activations.shape)
        gradients.bias.set_shape([forward.activations.shape[-1]])
        for state in (gradients.state_c, gradients.state_h):
            state.set_shape(state_c.shape)
        return gradients


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
