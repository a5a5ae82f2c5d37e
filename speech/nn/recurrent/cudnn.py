"""cuDNN's LSTM with the variables of the CPU's: kernel and bias are packed into its one vector of parameters.

Source of the layout: NVIDIA's cuDNN documentation (cudnnGetRNNWeightParams; single layer, one direction): eight
matrices `[H, inputs]` by rows, first those that multiply the input, then those that multiply the state, each for the
gates input, forget, cell, output; behind them eight bias vectors in the same order. cuDNN adds both biases of a gate.
"""

import tensorflow as tf

CUDNN_GATES = (0, 2, 1, 3)  # input, forget, cell, output among our i, c, f, o; the permutation is its own inverse


def pack(kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Kernel `[2H, 4H]` (rows: input, then state; gates i, c, f, o) and bias `[4H]` -> parameters `[8H * H + 8H]`."""
    n_hidden = bias.shape[0] // 4
    by_gate = tf.reshape(kernel, [2, n_hidden, 4, n_hidden])  # [input or state, rows, gate, columns]
    matrices = tf.transpose(tf.gather(by_gate, CUDNN_GATES, axis=2), [0, 2, 3, 1])
    biases = tf.gather(tf.reshape(bias, [4, n_hidden]), CUDNN_GATES)
    return tf.concat([tf.reshape(matrices, [-1]), tf.reshape(biases, [-1]), tf.zeros_like(bias)], 0)


def unpack(parameters: tf.Tensor, n_hidden: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The inverse of `pack`, for any parameters of cuDNN: a gate's two biases are added up."""
    matrices, biases = tf.split(parameters, [8 * n_hidden * n_hidden, 8 * n_hidden])
    matrices = tf.reshape(matrices, [2, 4, n_hidden, n_hidden])  # [input or state, gate, columns, rows]
    kernel = tf.transpose(tf.gather(matrices, CUDNN_GATES, axis=1), [0, 3, 1, 2])
    biases = tf.reduce_sum(tf.reshape(biases, [2, 4, n_hidden]), 0)
    bias = tf.reshape(tf.gather(biases, CUDNN_GATES), [-1])
    return tf.reshape(kernel, [2 * n_hidden, 4 * n_hidden]), bias


def lstm(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    state_c: tf.Tensor,
    state_h: tf.Tensor,
    compute_dtype: tf.DType = tf.float32,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`recurrent.lstm.lstm` on a GPU: inputs `[T, B, H]`, states `[B, H]` -> outputs `[T, B, H]`, last states `[B, H]`.

    Padding behind a clip's end needs no lengths: the LSTM looks at the past alone.
    """
    output, last_h, last_c, _, _ = tf.raw_ops.CudnnRNNV2(
        input=tf.cast(inputs, compute_dtype),
        input_h=tf.cast(state_h[tf.newaxis], compute_dtype),
        input_c=tf.cast(state_c[tf.newaxis], compute_dtype),
        params=tf.cast(pack(tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)), compute_dtype),
        rnn_mode="lstm",
        input_mode="linear_input",
        direction="unidirectional",
        is_training=True,
    )
    return tf.cast(output, tf.float32), tf.cast(last_c[0], tf.float32), tf.cast(last_h[0], tf.float32)
