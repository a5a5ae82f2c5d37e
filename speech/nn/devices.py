"""Process-wide settings of TensorFlow; to be made before its first operation."""

import tensorflow as tf


def configure(intra_op_threads: int, inter_op_threads: int, log_placement: bool) -> None:
    """Set the number of threads (0: TensorFlow decides) and whether devices of operations are logged."""
    if intra_op_threads:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
    if inter_op_threads:
        tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)
    if log_placement:
        tf.debugging.set_log_device_placement(True)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
