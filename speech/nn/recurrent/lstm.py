"""The LSTM of the acoustic model: cuDNN-compatible cell, gates in the order i, c, f, o, no forget bias, no peephole.

Only what depends on the frame before is computed frame by frame, by the operators of `recurrence.py` or else in a loop
of TensorFlow's. The projection of the inputs is one matrix product in front; the gradients of both halves of the kernel
are one product each behind, over the stacked gradients of the gates (automatic differentiation would form them frame by
frame). `benchmarks/training/lstm.py` compares it with BlockLSTM, the operator of the native clients, which gives the
same numbers.
"""

from collections.abc import Callable

import tensorflow as tf

from speech.nn.recurrent import recurrence
from speech.nn.recurrent.recurrence import Frames, Gradients, Operators

# From this width on, 16-bit products of one frame take the weights as the left factor: oneDNN packs the right one anew
# in each call, and the weights no longer fit into the caches then. Measured: benchmarks/training/lstm.py.
WEIGHTS_LEFT_FROM_WIDTH = 768


def lstm(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    state_c: tf.Tensor,
    state_h: tf.Tensor,
    compute_dtype: tf.DType = tf.float32,
    plain: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run the LSTM over `inputs` `[T, B, H]`, in float32 or in `compute_dtype`, from the states `[B, H]`.

    `plain` keeps to TensorFlow's operators.

    `kernel` is `[2H, 4H]` (rows: input, then state), `bias` `[4H]`. Matrix products are computed in `compute_dtype`,
    gates and states in float32. Returns the outputs of every frame `[T, B, H]` and the states after the last, `[B, H]`.
    """

    @tf.custom_gradient
    def run(
        inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, state_c: tf.Tensor, state_h: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], Callable[..., tuple[tf.Tensor, ...]]]:
        n_hidden = state_c.shape[-1]
        from_input = tf.cast(kernel[:n_hidden], compute_dtype)
        flat = tf.cast(tf.reshape(inputs, [-1, n_hidden]), compute_dtype)  # [T * B, H]
        # oneDNN adds the bias inside of its product; in 16 bits, as in the dense layers, this is the only rounding.
        projected = tf.nn.bias_add(tf.matmul(flat, from_input), tf.cast(bias, compute_dtype))
        projected = tf.reshape(projected, [tf.shape(inputs)[0], -1, 4 * n_hidden])  # [T, B, 4H]
        native = None if plain else recurrence.kernel_of(compute_dtype)
        frames = _Loop(kernel, compute_dtype) if native is None else Operators(kernel, compute_dtype, native)
        forward = frames.forward(projected, state_c, state_h)

        def gradients(d_outputs: tf.Tensor, d_last_c: tf.Tensor, d_last_h: tf.Tensor) -> tuple[tf.Tensor, ...]:
            d_sums = frames.backward((d_outputs, d_last_c, d_last_h), forward, state_c)
            d_flat = tf.reshape(d_sums.gates, [-1, 4 * n_hidden])  # [T * B, 4H]
            earlier_outputs = tf.concat([state_h[tf.newaxis], forward.outputs[:-1]], 0)
            earlier_outputs = tf.cast(tf.reshape(earlier_outputs, [-1, n_hidden]), compute_dtype)
            d_kernel = [tf.matmul(rows, d_flat, transpose_a=True) for rows in (flat, earlier_outputs)]
            d_inputs = tf.reshape(tf.matmul(d_flat, from_input, transpose_b=True), tf.shape(inputs))
            d_kernel = tf.cast(tf.concat(d_kernel, 0), tf.float32)
            return tf.cast(d_inputs, inputs.dtype), d_kernel, d_sums.bias, d_sums.state_c, d_sums.state_h

        return (forward.outputs, forward.cells[-1], forward.outputs[-1]), gradients

    return run(inputs, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias), state_c, state_h)


def _stack(frames: tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, size=frames, element_shape=[None, None])


class _Loop:
    """The frames in a loop of TensorFlow's operators; the same interface as `Operators`."""

    def __init__(self, weights: tf.Tensor, dtype: tf.DType) -> None:
        n_hidden = weights.shape[-1] // 4
        self.dtype = dtype
        self.from_state = tf.cast(weights[n_hidden:], dtype)  # [H, 4H]
        self.flipped = tf.transpose(self.from_state)  # once, or each frame's product packs it anew
        self.weights_left = dtype != tf.float32 and n_hidden >= WEIGHTS_LEFT_FROM_WIDTH

    def _of_state(self, h: tf.Tensor) -> tf.Tensor:
        """`h @ from_state`, `[B, H]` -> `[B, 4H]`."""
        h = tf.cast(h, self.dtype)
        if self.weights_left:
            return tf.transpose(tf.cast(tf.matmul(self.flipped, h, transpose_b=True), tf.float32))
        return tf.cast(tf.matmul(h, self.from_state), tf.float32)

    def _of_gates(self, gates: list[tf.Tensor]) -> tf.Tensor:
        """From the four gates' gradients `[B, H]` to that of the state, `concat(gates) @ flipped` `[B, H]`."""
        if not self.weights_left:
            return tf.cast(tf.matmul(tf.cast(tf.concat(gates, 1), self.dtype), self.flipped), tf.float32)
        # A product a gate: oneDNN is a fifth slower with one over all 4H. The sum of the four is in float32.
        blocks = tf.split(self.from_state, 4, axis=1)
        products = [
            tf.matmul(block, tf.cast(gate, self.dtype), transpose_b=True)
            for block, gate in zip(blocks, gates, strict=True)
        ]
        return tf.transpose(tf.add_n([tf.cast(product, tf.float32) for product in products]))

    def forward(self, projected: tf.Tensor, state_c: tf.Tensor, state_h: tf.Tensor) -> Frames:
        frames = tf.shape(projected)[0]

        def frame(
            t: tf.Tensor,
            c: tf.Tensor,
            h: tf.Tensor,
            gates: tf.TensorArray,
            cells: tf.TensorArray,
            outputs: tf.TensorArray,
        ) -> tuple[tf.Tensor, ...]:
            i, g, f, o = tf.split(tf.cast(projected[t], tf.float32) + self._of_state(h), 4, axis=1)
            i, g, f, o = tf.sigmoid(i), tf.tanh(g), tf.sigmoid(f), tf.sigmoid(o)
            c = f * c + i * g
            h = o * tf.tanh(c)
            return t + 1, c, h, gates.write(t, tf.concat([i, g, f, o], 1)), cells.write(t, c), outputs.write(t, h)

        start = (0, state_c, state_h, _stack(frames), _stack(frames), _stack(frames))
        _, _, _, *stacks = tf.while_loop(lambda t, *_: t < frames, frame, start, parallel_iterations=1)
        return Frames(*(stack.stack() for stack in stacks))

    def backward(self, d_results: tuple[tf.Tensor, ...], forward: Frames, state_c: tf.Tensor) -> Gradients:
        d_outputs, d_last_c, d_last_h = d_results
        frames = tf.shape(d_outputs)[0]
        earlier_cells = tf.concat([state_c[tf.newaxis], forward.cells[:-1]], 0)

        def frame(t: tf.Tensor, d_c: tf.Tensor, d_h: tf.Tensor, gates: tf.TensorArray) -> tuple[tf.Tensor, ...]:
            i, g, f, o = tf.split(forward.activations[t], 4, axis=1)
            d_h += d_outputs[t]
            squashed = tf.tanh(forward.cells[t])
            d_c += d_h * o * (1.0 - squashed * squashed)
            d_gates = [
                d_c * g * i * (1.0 - i),
                d_c * i * (1.0 - g * g),
                d_c * earlier_cells[t] * f * (1.0 - f),
                d_h * squashed * o * (1.0 - o),
            ]
            return t - 1, d_c * f, self._of_gates(d_gates), gates.write(t, tf.concat(d_gates, 1))

        start = (frames - 1, d_last_c, d_last_h, _stack(frames))
        _, d_c, d_h, gates = tf.while_loop(lambda t, *_: t >= 0, frame, start, parallel_iterations=1)
        d_gates = gates.stack()
        # BiasAddGrad sums four times as fast as reduce_sum.
        return Gradients(tf.cast(d_gates, self.dtype), tf.raw_ops.BiasAddGrad(out_backprop=d_gates), d_c, d_h)
