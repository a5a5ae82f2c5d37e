"""Bending a spectrogram in time so that a few control points land where they should."""

import numpy as np
import numpy.typing as npt

from speech.augmentation.augmentation import Floats
from speech.augmentation.spectrogram import shifted

Doubles = npt.NDArray[np.float64]


def bend(array: Floats, points: Doubles, shifts: Doubles, *, order: int, smoothness: float, edge_points: int) -> Floats:
    """`[T, F]` with the value at `points[i]` (frame, bin) taken from `shifts[i]` frames before.

    In between, the shift is a polyharmonic spline of the given order; points on the edges stay: the four corners for
    `edge_points` 1, and n - 1 more on each edge for n.
    """
    fixed = _edge_points(array.shape[0], array.shape[1], edge_points)
    centres = np.concatenate([points, fixed])
    values = np.concatenate([shifts, np.zeros(len(fixed))])
    weights, plane = _spline(centres, values, order, smoothness)
    t = np.arange(array.shape[0], dtype=np.float64)[:, np.newaxis]
    f = np.arange(array.shape[1], dtype=np.float64)[np.newaxis]
    shift = plane[0] * t + plane[1] * f + plane[2]  # [T, F]
    for (centre_t, centre_f), weight in zip(centres, weights, strict=True):
        shift += weight * _radial((t - centre_t) ** 2 + (f - centre_f) ** 2, order)
    return shifted(array, shift, None)


def _edge_points(frames: int, bins: int, per_edge: int) -> Doubles:
    if not per_edge:
        return np.zeros((0, 2))
    t, f = np.meshgrid(np.linspace(0, frames - 1, per_edge + 1), np.linspace(0, bins - 1, per_edge + 1), indexing="ij")
    on_edge = (t == 0) | (t == frames - 1) | (f == 0) | (f == bins - 1)
    return np.stack([t[on_edge], f[on_edge]], axis=1)


def _spline(centres: Doubles, values: Doubles, order: int, smoothness: float) -> tuple[Doubles, Doubles]:
    """The weights `[K]` of the radial functions and the plane `[3]` below them that meet the values `[K]`."""
    count = len(centres)
    squares = ((centres[:, np.newaxis] - centres[np.newaxis]) ** 2).sum(axis=2)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _radial(squares, order) + smoothness * np.eye(count)
    system[:count, count:-1] = centres
    system[:count, -1] = 1
    system[count:, :count] = system[:count, count:].T
    # Too few points leave the plane open: the smallest solution is taken.
    solution = np.linalg.lstsq(system, np.concatenate([values, np.zeros(3)]), rcond=None)[0]
    return solution[:count], solution[count:]


def _radial(squares: Doubles, order: int) -> Doubles:
    """The polyharmonic function of a squared distance: r for order 1, r^2 log r for 2, r^3 for 3, ..."""
    squares = np.maximum(squares, 1e-10)
    if order % 2:
        return squares ** (order / 2)
    return 0.5 * squares ** (order // 2) * np.log(squares)
