"""How streaming models are fed."""

import numpy as np

from speech.features.streaming import context_windows, run_in_steps
from speech.geometry import Geometry

GEOMETRY = Geometry(n_hidden=3, n_labels=1, n_input=2, n_context=1)


def test_windows_are_each_frame_between_its_neighbours() -> None:
    features = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
    windows = context_windows(features, GEOMETRY)
    assert windows.shape == (4, 3, 2)
    assert windows[0].tolist() == [[0, 0], [1, 2], [3, 4]]
    assert windows[2].tolist() == [[3, 4], [5, 6], [7, 8]]
    assert windows[3].tolist() == [[5, 6], [7, 8], [0, 0]]


def test_calls_get_full_chunks_and_the_state_of_the_call_before() -> None:
    seen = []

    def step(windows: np.ndarray, length: int, state_c: np.ndarray, state_h: np.ndarray):
        seen.append((windows.copy(), length, float(state_c[0, 0]), float(state_h[0, 0])))
        middle = windows[0, :, 1, :]  # the frames themselves, [n_steps, n_input] = [n_steps, n_classes]
        return middle[:, np.newaxis], state_c + 1, state_h + 10

    features = np.arange(1, 15, dtype=np.float32).reshape(7, 2)
    outputs = run_in_steps(features, GEOMETRY, 3, step)
    assert outputs.tolist() == features.tolist()
    assert [length for _, length, _, _ in seen] == [3, 3, 1]
    assert [(c, h) for _, _, c, h in seen] == [(0, 0), (1, 10), (2, 20)]
    assert all(windows.shape == (1, 3, 3, 2) for windows, _, _, _ in seen)
    assert not seen[2][0][0, 1:].any()  # behind the clip: zeros


def test_no_frames_make_no_call() -> None:
    outputs = run_in_steps(np.zeros((0, 2), np.float32), GEOMETRY, 3, lambda *given: 1 / 0)
    assert outputs.shape == (0, 2)
