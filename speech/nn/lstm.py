"""The LSTM of the acoustic model: cuDNN-compatible cell, gates in the order i, c, f, o, no forget bias, no peephole.

Only what depends on the frame before is computed frame by frame. The projection of the inputs is one matrix product in
front of the loop; the gradients of both halves of the kernel are one product each behind it, over the stacked gradients
of the gates (automatic differentiation would form them frame by frame). `python -m benchmarks.lstm` compares it with
BlockLSTM, the operator of the native clients, which gives the same numbers.
"""

from collections.abc import Callable

import tensorflow as tf

# From this width on, 16-bit products of one frame take the weights as the left factor: oneDNN packs the right one anew
# in each call, and the weights no longer fit into the caches then. Measured: benchmarks/lstm.py.
WEIGHTS_LEFT_FROM_WIDTH = 768

Product = Callable[[tf.Tensor], tf.Tensor]
ProductOfGates = Callable[[list[tf.Tensor]], tf.Tensor]


def lstm(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    state_c: tf.Tensor,
    state_h: tf.Tensor,
    compute_dtype: tf.DType = tf.float32,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run the LSTM over `inputs` `[T, B, H]`, in float32 or in `compute_dtype`, from the states `[B, H]`.

    `kernel` is `[2H, 4H]` (rows: input, then state), `bias` `[4H]`. Matrix products are computed in `compute_dtype`,
    gates and states in float32. Returns the outputs of every frame `[T, B, H]` and the states after the last, `[B, H]`.
    """

    @tf.custom_gradient
    def run(
        inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, state_c: tf.Tensor, state_h: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, tf.Tensor, tf.Tensor], Callable[..., tuple[tf.Tensor, ...]]]:
        n_hidden = state_c.shape[-1]
        frames = tf.shape(inputs)[0]
        from_input, from_state = (tf.cast(half, compute_dtype) for half in tf.split(kernel, 2))
        flat = tf.cast(tf.reshape(inputs, [-1, n_hidden]), compute_dtype)  # [T * B, H]
        # oneDNN adds the bias inside of its product; in 16 bits, as in the dense layers, this is the only rounding.
        projected = tf.nn.bias_add(tf.matmul(flat, from_input), tf.cast(bias, compute_dtype))
        projected = tf.reshape(projected, [frames, -1, 4 * n_hidden])  # [T, B, 4H]
        flipped = tf.transpose(from_state)  # once, or each frame's product packs it anew
        weights_left = compute_dtype != tf.float32 and n_hidden >= WEIGHTS_LEFT_FROM_WIDTH
        by_state = _by_state(from_state, flipped, compute_dtype, weights_left)
        activations, cells, outputs = _forward(projected, by_state, state_c, state_h)

        def gradients(d_outputs: tf.Tensor, d_last_c: tf.Tensor, d_last_h: tf.Tensor) -> tuple[tf.Tensor, ...]:
            by_gates = _by_gates(from_state, flipped, compute_dtype, weights_left)
            earlier_cells = tf.concat([state_c[tf.newaxis], cells[:-1]], 0)
            d_gates, d_state_c, d_state_h = _backward(
                d_outputs, d_last_c, d_last_h, activations, cells, earlier_cells, by_gates
            )
            d_flat = tf.cast(tf.reshape(d_gates, [-1, 4 * n_hidden]), compute_dtype)  # [T * B, 4H]
            earlier_outputs = tf.concat([state_h[tf.newaxis], outputs[:-1]], 0)
            earlier_outputs = tf.cast(tf.reshape(earlier_outputs, [-1, n_hidden]), compute_dtype)
            d_kernel = [tf.matmul(rows, d_flat, transpose_a=True) for rows in (flat, earlier_outputs)]
            d_inputs = tf.reshape(tf.matmul(d_flat, from_input, transpose_b=True), tf.shape(inputs))
            return (
                tf.cast(d_inputs, inputs.dtype),
                tf.cast(tf.concat(d_kernel, 0), tf.float32),
                tf.raw_ops.BiasAddGrad(out_backprop=d_gates),  # sums four times as fast as reduce_sum
                d_state_c,
                d_state_h,
            )

        return (outputs, cells[-1], outputs[-1]), gradients

    return run(inputs, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias), state_c, state_h)


def _stack(frames: tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, size=frames, element_shape=[None, None])


def _by_state(from_state: tf.Tensor, flipped: tf.Tensor, dtype: tf.DType, weights_left: bool) -> Product:
    """The function `h @ from_state`, `[B, H]` -> `[B, 4H]`, float32 computed in `dtype`; `flipped` is the transpose."""
    if weights_left:
        return lambda h: tf.transpose(tf.cast(tf.matmul(flipped, tf.cast(h, dtype), transpose_b=True), tf.float32))
    return lambda h: tf.cast(tf.matmul(tf.cast(h, dtype), from_state), tf.float32)


def _by_gates(from_state: tf.Tensor, flipped: tf.Tensor, dtype: tf.DType, weights_left: bool) -> ProductOfGates:
    """The function from the four gates' gradients `[B, H]` to that of the state, `concat(gates) @ flipped` `[B, H]`."""
    if weights_left:
        # A product a gate: oneDNN is a fifth slower with one over all 4H. The sum of the four is in float32.
        blocks = tf.split(from_state, 4, axis=1)
        return lambda gates: tf.transpose(
            tf.add_n(
                [
                    tf.cast(tf.matmul(block, tf.cast(gate, dtype), transpose_b=True), tf.float32)
                    for block, gate in zip(blocks, gates, strict=True)
                ]
            )
        )
    return lambda gates: tf.cast(tf.matmul(tf.cast(tf.concat(gates, 1), dtype), flipped), tf.float32)


def _forward(
    projected: tf.Tensor, by_state: Product, state_c: tf.Tensor, state_h: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Projected inputs `[T, B, 4H]` -> gate activations `[T, B, 4H]`, cell states and outputs `[T, B, H]`."""
    frames = tf.shape(projected)[0]

    def frame(
        t: tf.Tensor, c: tf.Tensor, h: tf.Tensor, gates: tf.TensorArray, cells: tf.TensorArray, outputs: tf.TensorArray
    ) -> tuple[tf.Tensor, ...]:
        i, g, f, o = tf.split(tf.cast(projected[t], tf.float32) + by_state(h), 4, axis=1)
        i, g, f, o = tf.sigmoid(i), tf.tanh(g), tf.sigmoid(f), tf.sigmoid(o)
        c = f * c + i * g
        h = o * tf.tanh(c)
        return t + 1, c, h, gates.write(t, tf.concat([i, g, f, o], 1)), cells.write(t, c), outputs.write(t, h)

    start = (0, state_c, state_h, _stack(frames), _stack(frames), _stack(frames))
    _, _, _, *stacks = tf.while_loop(lambda t, *_: t < frames, frame, start, parallel_iterations=1)
    gates, cells, outputs = (stack.stack() for stack in stacks)
    return gates, cells, outputs


def _backward(
    d_outputs: tf.Tensor,
    d_last_c: tf.Tensor,
    d_last_h: tf.Tensor,
    activations: tf.Tensor,
    cells: tf.Tensor,
    earlier_cells: tf.Tensor,
    by_gates: ProductOfGates,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gradients of the outputs `[T, B, H]` -> those of the gates before activation `[T, B, 4H]`, and of both states."""
    frames = tf.shape(d_outputs)[0]

    def frame(t: tf.Tensor, d_c: tf.Tensor, d_h: tf.Tensor, gates: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        i, g, f, o = tf.split(activations[t], 4, axis=1)
        d_h += d_outputs[t]
        squashed = tf.tanh(cells[t])
        d_c += d_h * o * (1.0 - squashed * squashed)
        d_gates = [
            d_c * g * i * (1.0 - i),
            d_c * i * (1.0 - g * g),
            d_c * earlier_cells[t] * f * (1.0 - f),
            d_h * squashed * o * (1.0 - o),
        ]
        return t - 1, d_c * f, by_gates(d_gates), gates.write(t, tf.concat(d_gates, 1))

    start = (frames - 1, d_last_c, d_last_h, _stack(frames))
    _, d_c, d_h, gates = tf.while_loop(lambda t, *_: t >= 0, frame, start, parallel_iterations=1)
    return gates.stack(), d_c, d_h
