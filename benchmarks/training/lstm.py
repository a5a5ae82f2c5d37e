"""The LSTM's variants side by side, forward and backward: the one that is used, and those that it was chosen over.

    python -m benchmarks.training.lstm [--shapes 256:32:150 2048:64:50] [--repeats 5] [--xla]

A shape is WIDTH:BATCH:FRAMES. Operations are those of both products, 2 x 2H x 4H a frame and clip, three times for
forward and backward. The variants take turns; the best of the repeats counts, by processor time.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402

import speech.nn  # noqa: E402, F401
from speech.nn.recurrent import recurrence  # noqa: E402
from speech.nn.recurrent.lstm import lstm  # noqa: E402

Function = Callable[..., tf.Tensor]


def block(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, c: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    """BlockLSTM, the operator of the peers."""
    none = tf.zeros([c.shape[-1]])
    return tf.raw_ops.BlockLSTM(
        seq_len_max=tf.cast(tf.shape(inputs)[0], tf.int64),
        x=inputs,
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
    ).h


def automatic(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, c: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    """The input's product in front of the loop, and TensorFlow's own gradient, frame by frame."""
    n_hidden = c.shape[-1]
    from_input, from_state = tf.split(kernel, 2)
    projected = tf.matmul(tf.reshape(inputs, [-1, n_hidden]), from_input) + bias
    projected = tf.reshape(projected, [tf.shape(inputs)[0], -1, 4 * n_hidden])  # [T, B, 4H]

    def frame(t: tf.Tensor, c: tf.Tensor, h: tf.Tensor, outputs: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        i, g, f, o = tf.split(projected[t] + tf.matmul(h, from_state), 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return t + 1, c, h, outputs.write(t, h)

    frames = tf.shape(inputs)[0]
    outputs = tf.TensorArray(tf.float32, size=frames, element_shape=[None, None])
    return tf.while_loop(lambda t, *_: t < frames, frame, (0, c, h, outputs))[3].stack()


def in_type(dtype: tf.DType, *, operators: bool = True) -> Function:
    """The one that is used, or what it is where the operators in C++ are not to be had."""

    def run(*arguments: tf.Tensor) -> tf.Tensor:
        kernel_of = recurrence.kernel_of
        if not operators:
            recurrence.kernel_of = lambda _: None
        try:
            return lstm(*arguments, compute_dtype=dtype)[0]
        finally:
            recurrence.kernel_of = kernel_of

    return run


def runner(function: Function, shape: tuple[int, int, int], *, xla: bool) -> Callable[[], object]:
    """Forward and backward pass over random numbers, compiled."""
    hidden, batch, frames = shape
    sizes = [(frames, batch, hidden), (2 * hidden, 4 * hidden), (4 * hidden,)]
    arguments = [tf.random.stateless_normal(size, [1, k], stddev=hidden**-0.5) for k, size in enumerate(sizes)]
    state = tf.zeros([batch, hidden])

    @tf.function(autograph=False, jit_compile=xla)
    def step(*parameters: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            loss = tf.reduce_sum(tf.square(function(*parameters, state, state)))
        return tape.gradient(loss, parameters)

    return lambda: step(*arguments)[1].numpy()


def product(shape: tuple[int, int, int], dtype: tf.DType) -> Callable[[], object]:
    """The product of all frames with the kernel: the fastest that there is."""
    hidden, batch, frames = shape
    left, right = (
        tf.cast(tf.random.stateless_normal(size, [1, 2]), dtype)
        for size in ((frames * batch, 2 * hidden), (2 * hidden, 4 * hidden))
    )
    return lambda: [tf.matmul(left, right)[0, 0].numpy() for _ in range(3)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["256:32:150", "2048:64:50"], metavar="WIDTH:BATCH:FRAMES")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--xla", action="store_true", help="also compiled by XLA")
    arguments = parser.parse_args()
    print("| width | batch | frames | variant | CPU s | wall s | GFLOP/CPU s | GFLOP/s |\n|" + "---|" * 8, flush=True)
    for text in arguments.shapes:
        hidden, batch, frames = shape = tuple(map(int, text.split(":")))
        variants = {
            "BlockLSTM": runner(block, shape, xla=False),
            "input first, automatic gradient": runner(automatic, shape, xla=False),
            "input first, gradients in one product": runner(in_type(tf.float32, operators=False), shape, xla=False),
            f"the same, {recurrence.describe(tf.float32)}": runner(in_type(tf.float32), shape, xla=False),
            "bfloat16": runner(in_type(tf.bfloat16, operators=False), shape, xla=False),
            f"bfloat16, {recurrence.describe(tf.bfloat16)}": runner(in_type(tf.bfloat16), shape, xla=False),
            "the products alone": product(shape, tf.float32),
            "the products alone, bfloat16": product(shape, tf.bfloat16),
        }
        if arguments.xla:
            variants["input first, by XLA"] = runner(in_type(tf.float32, operators=False), shape, xla=True)
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        for repeat in range(arguments.repeats + 1):
            for name, run in variants.items():
                wall, cpu = time.perf_counter(), time.process_time()
                run()
                if repeat:  # the first time compiles
                    spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
        work = 3 * 2 * 2 * hidden * 4 * hidden * batch * frames
        for name, times in spent.items():
            cpu, wall = (min(cost[k] for cost in times) for k in (0, 1))
            cells = [hidden, batch, frames, name, f"{cpu:.3f}", f"{wall:.3f}"]
            print("| " + " | ".join(map(str, [*cells, f"{work / cpu / 1e9:.0f}", f"{work / wall / 1e9:.0f}"])) + " |")


if __name__ == "__main__":
    main()
