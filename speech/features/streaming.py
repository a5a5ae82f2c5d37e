"""How a streaming model is fed: each frame with its context, a few frames a call, the LSTM's state handed on."""

from collections.abc import Callable

import numpy as np

from speech.geometry import Geometry

# windows [1, n_steps, window_frames, n_input], frames that count, states c and h [1, H] -> outputs, new states
Step = Callable[[np.ndarray, int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def context_windows(features: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Features `[T, n_input]` -> each frame between its neighbours, zeros outside, `[T, window_frames, n_input]`."""
    padded = np.pad(features, ((geometry.n_context, geometry.n_context), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, geometry.window_frames, axis=0)  # [T, n_input, window]
    return view.transpose(0, 2, 1)


def run_in_steps(features: np.ndarray, geometry: Geometry, n_steps: int, step: Step) -> np.ndarray:
    """Feed a whole clip's features `[T, n_input]` to a streaming model, `n_steps` frames a call.

    The last call is filled up with zeros. Returns the outputs of the clip's frames, `[T, n_classes]`.
    """
    if not len(features):
        return np.zeros((0, geometry.n_classes), np.float32)
    windows = context_windows(features, geometry)
    state_c = state_h = np.zeros((1, geometry.n_hidden), np.float32)
    outputs = []
    for start in range(0, len(features), n_steps):
        length = min(n_steps, len(features) - start)
        chunk = np.zeros((1, n_steps, geometry.window_frames, geometry.n_input), np.float32)
        chunk[0, :length] = windows[start : start + length]
        logits, state_c, state_h = step(chunk, length, state_c, state_h)
        outputs.append(logits.reshape(n_steps, geometry.n_classes)[:length])
    return np.concatenate(outputs)
