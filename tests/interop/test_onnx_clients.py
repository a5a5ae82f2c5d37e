"""The ONNX model in ONNX Runtime: valid, with a free number of frames and clips, and the checkpoint's numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.export import onnx
from speech.geometry import Geometry
from speech.model_files.variables import initial_weights
from speech.nn.model import AcousticModel
from tests.peers.environments import Peer


@pytest.mark.parametrize("geometry", [Geometry(64, 29), Geometry(48, 255, layer_norm=True)])
@pytest.mark.parametrize(("frames", "clips"), [(16, 1), (75, 2)])
def test_numbers(peer: Callable[[str], Peer], tmp_path: Path, geometry: Geometry, frames: int, clips: int) -> None:
    weights, numbers = initial_weights(geometry, 2), np.random.default_rng(3)
    onnx.write(tmp_path / "m.onnx", weights, geometry, {"beam_width": "500", "alphabet": " \nå\n"})
    shape = (clips, frames, geometry.window_frames, geometry.n_input)
    inputs = {"input_node": numbers.normal(0, 5, shape).astype(np.float32)}
    states = numbers.normal(0, 1, (2, clips, geometry.n_hidden)).astype(np.float32)
    inputs |= {"previous_state_c": states[0], "previous_state_h": states[1]}
    np.savez(tmp_path / "in.npz", **inputs)
    given = ("--model", tmp_path / "m.onnx", "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz")
    answer = peer("onnxruntime").drive("onnx_runtime", *given)
    flat = inputs["input_node"].transpose(1, 0, 2, 3).reshape(frames, clips, -1)
    logits, new_c, new_h = AcousticModel(geometry, weights, trainable=False).stream(flat, *states)
    expected = np.exp(logits - np.max(logits, axis=2, keepdims=True))
    expected /= expected.sum(axis=2, keepdims=True)
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(found["logits"], expected, atol=1e-5)
    np.testing.assert_allclose(found["new_state_c"], new_c, atol=1e-5)
    np.testing.assert_allclose(found["new_state_h"], new_h, atol=1e-5)
    assert answer["inputs"]["input_node"] == ["batch", "frames", 19, 26]
    assert answer["outputs"]["logits"] == ["frames", "batch", geometry.n_classes]
    assert answer["metadata"] == {"beam_width": "500", "alphabet": " \nå\n"}
