"""The LSTM of the acoustic model: cuDNN-compatible cell, gates in the order i, c, f, o, no forget bias, no peephole."""

import tensorflow as tf


def lstm(
    inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, state_c: tf.Tensor, state_h: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Run the LSTM over `inputs` `[T, B, H]` from the states `[B, H]`.

    `kernel` is `[2H, 4H]` (rows: input, then state), `bias` `[4H]`. Returns the cell states and the outputs of every
    frame, both `[T, B, H]`. Uses BlockLSTM, the operator of the native clients.
    """
    n_hidden = state_c.shape[-1]
    no_peephole = tf.zeros([n_hidden], inputs.dtype)
    block = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.cast(tf.shape(inputs)[0], tf.int64),
        x=inputs,
        cs_prev=state_c,
        h_prev=state_h,
        w=kernel,
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=bias,
        forget_bias=0.0,
        cell_clip=-1.0,
        use_peephole=False,
    )
    return block.cs, block.h
