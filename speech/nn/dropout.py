"""Dropout whose noise belongs to the clip's place in the batch, not to the device that computes it.

A run on several devices, or one that computes a batch in parts, drops exactly what a run on one device drops.
"""

from dataclasses import dataclass

import tensorflow as tf

PHILOX = 1  # tf.random.Algorithm.PHILOX: four 32-bit words from each value of its counter


@dataclass(frozen=True)
class DropoutRates:
    """Dropout rates behind the dense layers; layer 5's has the peers' index 6."""

    layer_1: float = 0.0
    layer_2: float = 0.0
    layer_3: float = 0.0
    layer_5: float = 0.0


@dataclass(frozen=True)
class Noise:
    """Where the random numbers of an optimizer step come from."""

    seed: tf.Tensor  # of the run, scalar integer
    step: tf.Tensor  # the optimizer step, scalar integer
    first_clip: tf.Tensor  # the place of the first clip in the batch of all devices, scalar integer

    def kept(self, rate: float, layer: int, frames: tf.Tensor, batch: tf.Tensor, width: int) -> tf.Tensor:
        """What dropout at `rate` keeps, bool `[frames * batch, width]`; each value of a layer is drawn for itself."""
        halves = -(-width // 8) * 8  # a frame's 16-bit numbers, by whole values of the counter
        words = frames * (halves // 2)  # of a clip
        first = tf.cast(self.first_clip, tf.int64) * tf.cast(words // 4, tf.int64)
        stream = tf.cast(self.step, tf.int64) * 4 + layer
        drawn = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[batch, frames, halves // 2],
            key=tf.cast([self.seed], tf.uint64),
            counter=tf.bitcast(tf.stack([first, stream]), tf.uint64),
            alg=PHILOX,
            dtype=tf.uint32,
        )
        # As float32, the type that oneDNN transposes without complaint; bits are moved and not looked at.
        drawn = tf.bitcast(tf.transpose(tf.bitcast(drawn, tf.float32), [1, 0, 2]), tf.uint16)
        return tf.reshape(drawn, [-1, halves])[:, :width] >= tf.constant(round(rate * 65536), tf.uint16)
