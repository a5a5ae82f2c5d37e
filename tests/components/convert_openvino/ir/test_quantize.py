"""Rows as integers with a scale each."""

import numpy as np

from components.convert_openvino.ir.quantize import quantize_rows


def test_each_row_has_its_own_scale_and_uses_all_levels() -> None:
    matrix = np.random.default_rng(1).normal(0, 1, (600, 33)).astype(np.float32)
    matrix[1] *= 1e-6
    matrix[2] *= 1e6
    integers, scales = quantize_rows(matrix)
    assert (integers.dtype, scales.dtype, scales.shape) == (np.int8, np.float32, (600, 1))
    assert (np.abs(integers.astype(int)).max(axis=1) == 127).all()
    error = np.abs(integers * scales - matrix)
    assert (error <= scales * 0.5001).all()


def test_a_row_of_zeros_stays_zero() -> None:
    integers, scales = quantize_rows(np.zeros((2, 5), np.float32))
    assert not integers.any()
    assert np.isfinite(scales).all()
