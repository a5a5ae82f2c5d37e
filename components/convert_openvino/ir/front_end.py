"""The features as part of the network: samples in, windows of MFCC out, in float32 whatever the rest runs in.

The numbers are those of `speech.features.mfcc`; the Fourier transform is a product with the windowed basis.
"""

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset8 as ops

from components.convert_openvino.ir.network import ANY, Builder, constant, output, parameter
from speech.features.mfcc import LOG_FLOOR, dct_matrix, fft_length, hann, mel_matrix
from speech.geometry import Geometry
from speech.ir import names

# What keeps a node out of bf16 and f16. OpenVINO 2026 reads this name and writes another, which 2023 does not know.
_PRECISE = "precise_0"
_WRITTEN = '<attribute name="DisablePrecisionConversion" version="0" value="dynamic:f16" />'
_PORTABLE = '<attribute name="precise" version="0" />'


def audio_network(builder: Builder) -> ov.Model:
    """The network of a whole utterance: `input_samples` [N] in -1...1 -> `logits` [T, 1, n_classes]."""
    samples = parameter(names.SAMPLES, [ANY])
    windows = windows_of(samples, builder.geometry)
    zeros = builder.zero_state(windows)
    logits, *_ = builder.layers(windows, zeros, zeros)
    return builder.network([output(names.LOGITS, logits)], [samples])


def windows_of(samples: Any, geometry: Geometry) -> Any:
    """Samples in -1...1 [N] -> each frame's MFCC between its neighbours', [1, T, window_frames, n_input]."""
    return _context_windows(_mfcc(samples, geometry), geometry)


def portable(xml: str) -> str:
    """An IR's text with the marks of full precision as all versions of OpenVINO read them."""
    return xml.replace(_WRITTEN, _PORTABLE)


def _mfcc(samples: Any, geometry: Geometry) -> Any:
    """Samples [N] -> features [T, n_input]."""
    window, bins = geometry.window_samples, fft_length(geometry) // 2 + 1
    angles = 2 * np.pi / fft_length(geometry) * np.outer(np.arange(window), np.arange(bins))
    basis = hann(window)[:, np.newaxis] * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)  # [window, 2 bins]
    frames = _take(samples, _n_frames(samples, geometry), geometry.step_samples, window)  # [T, window]
    spectrum = _product(frames, basis, "AudioSpectrogram")  # [T, 2 bins]
    parts = _precise(ops.split(_precise(ops.multiply(spectrum, spectrum)), constant(np.array(1)), 2))
    magnitude = _precise(ops.sqrt(_precise(ops.add(parts.output(0), parts.output(1)))))  # [T, bins]
    energy = _product(magnitude, mel_matrix(geometry), "mel")  # [T, channels]
    log_energy = _precise(ops.log(_precise(ops.maximum(energy, constant(np.float32(LOG_FLOOR))))))
    return _product(log_energy, dct_matrix(geometry.n_input), "Mfcc")


def _n_frames(samples: Any, geometry: Geometry) -> Any:
    length = ops.gather(ops.shape_of(samples, "i64"), constant(np.array(0)), constant(np.array(0)))
    steps = ops.divide(
        ops.subtract(length, constant(np.array(geometry.window_samples))), constant(np.array(geometry.step_samples))
    )
    return ops.add(steps, constant(np.array(1)))


def _context_windows(features: Any, geometry: Geometry) -> Any:
    zeros = constant(np.zeros((geometry.n_context, geometry.n_input), np.float32))
    padded = _precise(ops.concat([zeros, features, zeros], 0))
    frames = ops.gather(ops.shape_of(features, "i64"), constant(np.array(0)), constant(np.array(0)))
    windows = _take(padded, frames, 1, geometry.window_frames)  # [T, window_frames, n_input]
    return ops.unsqueeze(windows, constant(np.array([0])))


def _take(values: Any, rows: Any, step: int, width: int) -> Any:
    """Overlapping stretches of `width` from values [N, ...], one every `step`: [rows, width, ...]."""
    limit = ops.multiply(rows, constant(np.array(step)))
    starts = ops.range(constant(np.array(0)), limit, constant(np.array(step)), "i64")  # [rows]
    indices = ops.add(ops.unsqueeze(starts, constant(np.array([1]))), constant(np.arange(width)[np.newaxis]))
    return _precise(ops.gather(values, indices, constant(np.array(0))))


def _product(x: Any, matrix: np.ndarray, name: str) -> Any:
    rows = _precise(constant(np.ascontiguousarray(matrix.T, np.float32)))  # a constant in f16 would not do
    return _precise(ops.matmul(x, rows, False, True, name=name))


def _precise(node: Any) -> Any:
    node.get_rt_info()[_PRECISE] = True
    return node
