"""Our IRs in earlier versions of OpenVINO and in the Open Model Zoo's hands; the Model Optimizer's IR beside ours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from components.convert_openvino import step
from components.convert_openvino.settings import OpenVinoSettings
from components.convert_openvino.transcribe import Transcriber
from speech.ir.runner import core
from tests.components.convert_openvino.conftest import GEOMETRY, WIDE
from tests.components.convert_openvino.models import ALPHABET, chirp, make_weights, reference, states, windows
from tests.peers.environments import Peer

CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
ALLOWED = {"f32": 1e-5, "f16": 2e-3, "int8": 5e-2}
VERSIONS = pytest.mark.parametrize("version", ["openvino-2023", "openvino-2024"])


@pytest.fixture(scope="module")
def irs(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All forms in each precision."""
    made = {}
    for precision in ALLOWED:
        made[precision] = tmp_path_factory.mktemp(precision)
        settings = OpenVinoSettings(precision=precision, stateful=True, with_features=True)
        step.run(settings, str(wide), made[precision])
    return made


@VERSIONS
@pytest.mark.parametrize("precision", ALLOWED)
def test_numbers_in_earlier_versions(
    peer: Callable[[str], Peer], irs: dict[str, Path], version: str, precision: str, tmp_path: Path
) -> None:
    x, (c, h) = windows(WIDE, 21), states(WIDE)
    np.savez(tmp_path / "in.npz", **{"input_node": x, "previous_state_c:0": c, "previous_state_h": h})
    client = peer(version)
    arguments = ("--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz")
    answer = client.drive("openvino_client", "--model", irs[precision] / "output_graph.xml", *arguments)
    assert answer["version"].startswith(version[-4:])
    with np.load(tmp_path / "out.npz") as file:
        results = [file[f"output_{port}"] for port in range(3)]
    expected = reference(make_weights(WIDE), WIDE, x, c, h)
    for result, theirs, factor in zip(results, expected, (1, 3, 1), strict=True):
        assert np.abs(result - theirs).max() < factor * ALLOWED[precision]


@VERSIONS
@pytest.mark.parametrize("computed_in", ["f32", "bf16"])
def test_stateful_and_audio_networks_in_earlier_versions(
    peer: Callable[[str], Peer], irs: dict[str, Path], version: str, computed_in: str, tmp_path: Path
) -> None:
    x, samples = windows(WIDE, 21), chirp(1.0).astype(np.float32) / 32768
    for form, inputs in (("stateful", {"input_node": x}), ("audio", {"input_samples": samples})):
        np.savez(tmp_path / "in.npz", **inputs)
        model = irs["f32"] / f"output_graph_{form}.xml"
        arguments = ("--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz", "--precision", computed_in)
        peer(version).drive("openvino_client", "--model", model, *arguments)
        exact = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        expected = exact.create_infer_request().infer(inputs)[0]
        with np.load(tmp_path / "out.npz") as file:
            assert np.abs(file["output_0"] - expected).max() < {"f32": 2e-5, "bf16": 5e-2}[computed_in]


@VERSIONS
@pytest.mark.parametrize("precision", ALLOWED)
def test_the_open_model_zoos_demo_finds_everything_by_name(
    peer: Callable[[str], Peer], irs: dict[str, Path], version: str, precision: str, tmp_path: Path
) -> None:
    x = windows(WIDE, 48)
    np.savez(tmp_path / "in.npz", windows=x.reshape(3, 16, 19, 26))
    arguments = ("--windows", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz")
    answer = peer(version).drive("open_model_zoo", "--model", irs[precision] / "output_graph.xml", *arguments)
    assert answer["profiles"] == ["example", "mds09x_en"]
    zeros = np.zeros((1, WIDE.n_hidden))
    expected = reference(make_weights(WIDE), WIDE, x, zeros, zeros)[0][:, 0]
    with np.load(tmp_path / "out.npz") as file:
        for profile in answer["profiles"]:
            assert np.abs(file[profile] - expected).max() < ALLOWED[precision]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["mo-2023", "mo-2024"])
def test_the_same_command_line_gives_the_same_network(
    peer: Callable[[str], Peer], frozen: Path, optimizer: str, tmp_path: Path
) -> None:
    """`mo` and this step with the guide's options: the same inputs, outputs in the same order, the same numbers."""
    from components.convert_openvino.__main__ import main

    options = (
        *("--input_model", str(frozen)),
        *("--input", "input_lengths->[16],input_node[1,16,19,26],previous_state_h[1,64],previous_state_c[1,64]"),
        *("--output", f"{CELL}/GatherNd_1,{CELL}/GatherNd,logits"),
    )
    peer(optimizer).run("mo", *options, "--output_dir", tmp_path / "theirs")
    main([*options, "--output_dir", str(tmp_path / "ours")])
    x, (c, h) = windows(GEOMETRY, 16), states(GEOMETRY)
    results = []
    for folder in ("theirs", "ours"):
        network = core().compile_model(
            tmp_path / folder / "output_graph.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        request = network.create_infer_request()
        inputs = {"input_node": x, "previous_state_c": c, "previous_state_h": h}
        request.infer({find_input(network, name): value for name, value in inputs.items()})
        results.append([request.get_output_tensor(port).data.copy() for port in range(3)])
    for theirs, ours in zip(*results, strict=True):
        assert theirs.shape == ours.shape
        assert np.abs(theirs - ours).max() < 2e-3  # both keep the weights in f16


def find_input(network: ov.CompiledModel, name: str) -> str:
    """The first of the input's names in the IR."""
    return next(known for port in network.inputs for known in port.get_names() if known.split(":")[0] == name)


@pytest.mark.slow
def test_an_ir_of_the_model_optimizer_can_be_tried(peer: Callable[[str], Peer], frozen: Path, tmp_path: Path) -> None:
    peer("mo-2023").run(
        "mo",
        *("--input_model", frozen, "--output_dir", tmp_path, "--compress_to_fp16=False"),
        *("--input", "input_lengths->[16],input_node[1,16,19,26],previous_state_h[1,64],previous_state_c[1,64]"),
        *("--output", f"{CELL}/GatherNd_1,{CELL}/GatherNd,logits"),
    )
    ours = step.run(OpenVinoSettings(precision="f32"), str(frozen), tmp_path / "ours")
    theirs = Transcriber(tmp_path / "output_graph.xml", alphabet=ALPHABET, precision="f32")
    assert theirs.transcribe(chirp(2.0)) == Transcriber(ours.xml, precision="f32").transcribe(chirp(2.0))
