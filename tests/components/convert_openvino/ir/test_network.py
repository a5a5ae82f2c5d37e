"""The networks compute what the model's definition says, in every form and precision."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from components.convert_openvino.ir.network import ANY, Builder, to_f16
from speech.geometry import Geometry
from speech.ir import names
from speech.ir.runner import core
from tests.components.convert_openvino.models import make_weights, reference, states, windows

GEOMETRY = Geometry(n_hidden=64, n_labels=28)
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(params=[0, 512], ids=["frame by frame", "in one operator"])
def int8_lstm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the LSTM of an int8 network, whatever its width."""
    monkeypatch.setattr("components.convert_openvino.ir.network.STEPWISE_FROM", request.param)


def infer(network: ov.Model, *inputs: np.ndarray, **properties: Any) -> list[np.ndarray]:
    request = core().compile_model(network, "CPU", EXACT | properties).create_infer_request()
    request.infer(list(inputs))
    return [request.get_output_tensor(port).data.copy() for port in range(len(network.outputs))]


@pytest.mark.parametrize("frames", [1, 16, 37])
@pytest.mark.parametrize(
    "geometry",
    [
        GEOMETRY,
        replace(GEOMETRY, layer_norm=True),
        replace(GEOMETRY, n_hidden=50, n_context=4, n_labels=255),
        replace(GEOMETRY, relu_clip=0.5),
    ],
    ids=["plain", "layer norm", "other sizes", "other clip"],
)
def test_float32_is_exact(geometry: Geometry, frames: int) -> None:
    weights, x, (c, h) = make_weights(geometry), windows(geometry, frames), states(geometry)
    expected = reference(weights, geometry, x, c, h)
    assert expected[0].max() > 4 / geometry.n_classes  # far from uniform: a mistake would show
    for n_steps in (ANY, frames):
        for ours, theirs in zip(infer(Builder(geometry, weights).streaming(n_steps), x, c, h), expected, strict=True):
            assert ours.shape == theirs.shape
            assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.usefixtures("int8_lstm")
@pytest.mark.parametrize(("precision", "allowed"), [("f16", 2e-3), ("int8", 5e-2)])
@pytest.mark.parametrize("n_hidden", [64, 50])  # not a multiple of what plugins quantize together
def test_compressed_weights_are_close(precision: str, allowed: float, n_hidden: int) -> None:
    geometry = replace(GEOMETRY, n_hidden=n_hidden)
    weights, x, (c, h) = make_weights(geometry), windows(geometry, 40), states(geometry)
    expected = reference(weights, geometry, x, c, h)
    probabilities, new_c, new_h = infer(Builder(geometry, weights, precision).streaming(), x, c, h)
    assert 0 < np.abs(probabilities - expected[0]).max() < allowed
    assert np.abs(new_h - expected[2]).max() < allowed
    assert np.abs(new_c - expected[1]).max() < 3 * allowed


@pytest.mark.usefixtures("int8_lstm")
def test_int8_without_quantized_inputs_is_the_model_with_rounded_weights() -> None:
    """What is left of the difference then comes from float32 alone: the integers and scales mean what they should."""
    from components.convert_openvino.ir.quantize import quantize_rows
    from speech.model_files.variables import KERNEL

    weights, x, (c, h) = make_weights(GEOMETRY), windows(GEOMETRY, 20), states(GEOMETRY)
    rounded = dict(weights)
    for name in ("layer_2/weights", "layer_3/weights", "layer_5/weights"):
        integers, scales = quantize_rows(weights[name].T)
        rounded[name] = (integers * scales).T
    halves = [quantize_rows(half.T) for half in np.split(weights[KERNEL], 2)]
    rounded[KERNEL] = np.concatenate([(integers * scales).T for integers, scales in halves])
    for name in ("layer_1/weights", "layer_6/weights"):
        rounded[name] = weights[name].astype(np.float16).astype(np.float32)
    network = Builder(GEOMETRY, weights, "int8").streaming()
    ours = infer(network, x, c, h, DYNAMIC_QUANTIZATION_GROUP_SIZE=0)
    for result, expected in zip(ours, reference(rounded, GEOMETRY, x, c, h), strict=True):
        assert np.abs(result - expected).max() < 1e-5


@pytest.mark.usefixtures("int8_lstm")
@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
def test_batches_dynamic_and_fixed(precision: str) -> None:
    weights, x, (c, h) = make_weights(GEOMETRY), windows(GEOMETRY, 9, batch=3), states(GEOMETRY, batch=3)
    builder = Builder(GEOMETRY, weights, precision)
    one_by_one = [infer(builder.streaming(), x[i : i + 1], c[i : i + 1], h[i : i + 1]) for i in range(3)]
    for network in (builder.streaming(ANY, ANY), builder.streaming(9, 3)):
        probabilities, new_c, new_h = infer(network, x, c, h)
        for i, (expected, expected_c, expected_h) in enumerate(one_by_one):
            assert np.abs(probabilities[:, i : i + 1] - expected).max() < 1e-5
            assert np.abs(new_c[i] - expected_c).max() < 1e-5
            assert np.abs(new_h[i] - expected_h).max() < 1e-5


@pytest.mark.usefixtures("int8_lstm")
@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_a_network_for_one_utterance_can_be_reshaped_for_several(precision: str) -> None:
    weights, x, (c, h) = make_weights(GEOMETRY), windows(GEOMETRY, 5, batch=2), states(GEOMETRY, batch=2)
    expected = reference(weights, GEOMETRY, x, c, h)
    for batch, frames in ((2, 5), (ANY, ANY)):
        network = Builder(GEOMETRY, weights, precision).streaming(16)
        shapes = {"input_node": [batch, frames, 19, 26]}
        network.reshape(shapes | {name: [batch, 64] for name in ("previous_state_c", "previous_state_h")})
        for ours, theirs in zip(infer(network, x, c, h), expected, strict=True):
            assert ours.shape == theirs.shape
            assert np.abs(ours - theirs).max() < {"f32": 1e-5, "int8": 0.1}[precision]


@pytest.mark.usefixtures("int8_lstm")
@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
def test_states_carry_an_utterance_from_call_to_call(precision: str) -> None:
    builder, x = Builder(GEOMETRY, make_weights(GEOMETRY), precision), windows(GEOMETRY, 30)
    zeros = np.zeros((1, 64), np.float32)
    whole, *_ = infer(builder.streaming(), x, zeros, zeros)
    first, c, h = infer(builder.streaming(), x[:, :11], zeros, zeros)
    second, *_ = infer(builder.streaming(), x[:, 11:], c, h)
    assert np.abs(np.concatenate([first, second]) - whole).max() < 1e-5

    request = core().compile_model(builder.stateful(), "CPU", EXACT).create_infer_request()
    for _ in range(2):  # two utterances: the second starts afresh
        request.reset_state()
        parts = [request.infer([x[:, frames]])[0].copy() for frames in (slice(0, 11), slice(11, 30))]
        assert np.abs(np.concatenate(parts) - whole).max() < 1e-5


@pytest.mark.usefixtures("int8_lstm")
@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_every_client_finds_its_tensors_by_name(precision: str, tmp_path: Path) -> None:
    ov.save_model(Builder(GEOMETRY, make_weights(GEOMETRY), precision).streaming(), tmp_path / "a.xml", False)
    network = core().read_model(tmp_path / "a.xml")
    cell = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
    for name in ("input_node", "previous_state_c", "previous_state_h"):
        for spelling in (name, f"{name}:0"):
            assert name in network.input(spelling).get_names()
    for name, spellings in {
        "logits": ("logits", "logits:0"),
        "new_state_c": (
            *("new_state_c", "new_state_c:0"),
            *(f"{cell}/GatherNd", f"{cell}/GatherNd:0", f"{cell}/BlockLSTM/TensorIterator.2"),
        ),
        "new_state_h": (
            *("new_state_h", "new_state_h:0"),
            *(f"{cell}/GatherNd_1", f"{cell}/GatherNd_1:0", f"{cell}/BlockLSTM/TensorIterator.1"),
        ),
    }.items():
        for spelling in spellings:
            assert name in network.output(spelling).get_names()
    assert str(network.input("input_node").get_partial_shape()) == "[1,?,19,26]"
    assert str(network.input("previous_state_c").get_partial_shape()) == "[1,64]"
    assert str(network.output("logits").get_partial_shape()) == "[?,1,29]"


def test_outputs_come_in_the_order_asked_for() -> None:
    network = Builder(GEOMETRY, make_weights(GEOMETRY)).streaming(outputs=("new_state_h", "logits"))
    assert [
        sorted(names.aliases(name) & output.get_names()) != []
        for name, output in zip(("new_state_h", "logits"), network.outputs, strict=True)
    ] == [True, True]


def test_weights_beyond_f16_stay_finite() -> None:
    assert to_f16(np.array([1e9, -1e9, 0.5], np.float32)).tolist() == [65504.0, -65504.0, 0.5]
