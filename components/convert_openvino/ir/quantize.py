"""Weights as 8-bit integers: one scale a row, symmetric about zero."""

from typing import Any

import numpy as np
import numpy.typing as npt

LEVELS = 127


def quantize_rows(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Matrix [rows, columns] -> integers [rows, columns] and scales [rows, 1], so that matrix ~ integers * scales.

    A row's scale is set by its largest weight: with 8 bits, clipping a few large weights never makes a row of normally
    or Laplace distributed weights more exact.
    """
    integers = np.empty(matrix.shape, np.int8)
    scales = np.abs(matrix).max(axis=1, keepdims=True).astype(np.float32) / np.float32(LEVELS)
    scales[scales == 0] = 1.0  # a row of zeros
    for start in range(0, len(matrix), 256):  # in blocks that stay in the cache
        rows = slice(start, start + 256)
        integers[rows] = np.rint(matrix[rows] / scales[rows])
    return integers, scales
