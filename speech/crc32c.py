"""The checksum of TensorFlow's files: of a checkpoint's blocks and tensors, and of the records of event files."""

import google_crc32c
import numpy as np

from speech.wire import Bytes

_MASK_DELTA = 0xA282EAD8


def masked_crc32c(data: Bytes) -> int:
    """The CRC-32C of `data` as TensorFlow and LevelDB store it: rotated, plus a constant."""
    crc = google_crc32c.value(np.frombuffer(data, np.uint8))  # takes no memoryview, and numpy's arrays without a copy
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
