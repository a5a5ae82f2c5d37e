"""Summaries for TensorBoard, written by TensorFlow's own operators: the tensorboard package is needed only to look."""

import tensorflow as tf


class Summaries:
    """Writes scalars to a folder; without a folder it does nothing."""

    def __init__(self, folder: str) -> None:
        self._writer = tf.raw_ops.SummaryWriter(shared_name=folder) if folder else None
        if self._writer is not None:
            tf.raw_ops.CreateSummaryFileWriter(
                writer=self._writer, logdir=folder, max_queue=120, flush_millis=10_000, filename_suffix=""
            )

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add one point to the curve `name`."""
        if self._writer is not None:
            value_tensor, step_tensor = tf.constant(value, tf.float32), tf.constant(step, tf.int64)
            tf.raw_ops.WriteScalarSummary(writer=self._writer, step=step_tensor, tag=name, value=value_tensor)

    def close(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            tf.raw_ops.CloseSummaryWriter(writer=self._writer)
