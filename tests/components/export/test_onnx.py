"""The ONNX file: its numbers in two runtimes (OpenVINO reads ONNX), with any number of frames and clips a call."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx as onnx_package
import onnxruntime
import pytest

from components.export import onnx
from speech.geometry import Geometry
from speech.ir.runner import core
from speech.nn.model import AcousticModel
from tests.speech.nn.test_model import random_weights

Outputs = Mapping[str, np.ndarray]


def run_openvino(path: Path, inputs: dict[str, np.ndarray]) -> Outputs:
    compiled = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {port.get_any_name(): value for port, value in compiled(inputs).items()}


def run_onnxruntime(path: Path, inputs: dict[str, np.ndarray]) -> Outputs:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip((port.name for port in session.get_outputs()), session.run(None, inputs), strict=True))


@pytest.mark.parametrize("geometry", [Geometry(48, 29), Geometry(32, 5, layer_norm=True), Geometry(16, 255)])
@pytest.mark.parametrize(("frames", "clips"), [(16, 1), (1, 1), (37, 3)])
@pytest.mark.parametrize("run", [run_openvino, run_onnxruntime])
def test_probabilities_and_states(
    tmp_path: Path, geometry: Geometry, frames: int, clips: int, run: Callable[..., Outputs]
) -> None:
    weights, numbers = random_weights(geometry), np.random.default_rng(3)
    onnx.write(tmp_path / "m.onnx", weights, geometry, {"beam_width": "500"})
    shape = (clips, frames, geometry.window_frames, geometry.n_input)
    windows = numbers.normal(0, 2, shape).astype(np.float32)
    state_c, state_h = numbers.normal(0, 1, (2, clips, geometry.n_hidden)).astype(np.float32)
    inputs = {"input_node": windows, "previous_state_c": state_c, "previous_state_h": state_h}
    outputs = run(tmp_path / "m.onnx", inputs)
    flat = windows.transpose(1, 0, 2, 3).reshape(frames, clips, -1)
    logits, new_c, new_h = AcousticModel(geometry, weights, trainable=False).stream(flat, state_c, state_h)
    expected = np.exp(logits - np.max(logits, axis=2, keepdims=True))
    expected /= expected.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)
    np.testing.assert_allclose(outputs["new_state_c"], new_c, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs["new_state_h"], new_h, rtol=1e-4, atol=1e-5)


def test_the_file_is_valid_and_describes_itself(tmp_path: Path) -> None:
    facts = {"beam_width": "500", "alphabet": " \nå\n"}
    onnx.write(tmp_path / "m.onnx", random_weights(Geometry(16, 2, layer_norm=True)), Geometry(16, 2, True), facts)
    model = onnx_package.load(tmp_path / "m.onnx")
    onnx_package.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == facts
    assert (model.producer_name, model.ir_version, model.opset_import[0].version) == ("speechmill", 8, 17)


def test_inputs_and_outputs(tmp_path: Path) -> None:
    geometry = Geometry(16, 5)
    onnx.write(tmp_path / "m.onnx", random_weights(geometry), geometry, {"alphabet": " \na\n"})
    model = core().read_model(str(tmp_path / "m.onnx"))
    ends = {port.get_any_name(): str(port.get_partial_shape()) for port in (*model.inputs, *model.outputs)}
    assert ends == {
        "input_node": "[?,?,19,26]",
        "previous_state_c": "[?,16]",
        "previous_state_h": "[?,16]",
        "logits": "[?,?,6]",
        "new_state_c": "[?,16]",
        "new_state_h": "[?,16]",
    }
