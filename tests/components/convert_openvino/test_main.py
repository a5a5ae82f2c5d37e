"""The command line, the component's signature, and what the step does not import."""

import inspect
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from components.convert_openvino.__main__ import main
from components.convert_openvino.component import convert_openvino
from components.convert_openvino.settings import OpenVinoSettings
from speech.ir.runner import core
from speech.storage.objects import list_keys, write_object
from tests.fixtures.commands import exit_code

ROOT = Path(__file__).parents[3]
CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = exit_code(main, *arguments)
    output = capsys.readouterr()
    return code, output.out, output.err


def test_the_guides_command_with_one_word_changed(
    frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(
        capsys,
        *("--input_model", frozen, "-o", tmp_path, "--framework", "tf", "--data_type", "FP32"),
        *("--input", "input_lengths->[16],input_node[1,16,19,26],previous_state_h[1,64],previous_state_c[1,64]"),
        *("--output", f"{CELL}/GatherNd_1,{CELL}/GatherNd,logits"),
    )
    assert code == 0
    assert err == "note: --framework does nothing here: the kind of the input is read from the file\n"
    network = core().read_model(tmp_path / "output_graph.xml")
    assert str(network.input("input_node").get_partial_shape()) == "[1,16,19,26]"
    shapes = [str(output.get_partial_shape()) for output in network.outputs]
    assert shapes == ["[1,64]", "[1,64]", "[16,1,29]"]
    assert f"{CELL}/GatherNd_1:0" in network.outputs[0].get_names()


def test_the_command_of_the_guide_for_deepspeech_05(
    frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(
        capsys,
        *("--input_model", frozen, "-o", tmp_path, "--data_type=FP32", "--disable_nhwc_to_nchw"),
        *("--freeze_placeholder_with_value", "input_lengths->[16]", "--input_shape", "[1,16,19,26],[1,64],[1,64]"),
        *("--input", "input_node,previous_state_h/read,previous_state_c/read"),
        *("--output", "raw_logits,lstm_fused_cell/GatherNd,lstm_fused_cell/GatherNd_1,logits"),
    )
    assert (code, err) == (
        0, "note: --disable_nhwc_to_nchw does nothing here: the network has no images whose channels could change "
        "places\n",
    )  # fmt: skip
    network = core().read_model(tmp_path / "output_graph.xml")
    values = np.random.default_rng(0).normal(size=(1, 16, 19, 26)).astype(np.float32)
    state = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    compiled = core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    made = compiled({"input_node": values, "previous_state_c/read": state, "previous_state_h/read:0": state})
    raw = made["raw_logits"]  # [T, B, C]
    exponentials = np.exp(raw - raw.max(axis=-1, keepdims=True))
    assert np.allclose(exponentials / exponentials.sum(axis=-1, keepdims=True), made["logits"], atol=1e-6)
    assert np.array_equal(made["lstm_fused_cell/GatherNd"], made["new_state_c"])
    assert np.array_equal(made["lstm_fused_cell/GatherNd_1"], made["new_state_h"])


def test_flags_that_would_change_the_model_are_refused(
    frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, expected in (
        (("--mean_values", "[127,127,127]"), "error: --mean_values is not taken over: it scales"),
        (("--saved_model_dir=x",), "give the frozen graph, the export's folder"),
    ):
        code, _, err = run(capsys, "--input_model", frozen, *flags, "-o", tmp_path / "ir")
        assert (code, err.count("\n")) == (2, 1)
        assert expected in err


def test_short_flags_and_names(mapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "-m", mapped, "-n", "speech", "-o", tmp_path, "--compress_to_fp16=False", "-b", 2)
    assert (code, err) == (0, "")
    assert f"{tmp_path}/speech.xml: f32, made of output_graph.pbmm" in out
    assert str(core().read_model(tmp_path / "speech.xml").input("input_node").get_partial_shape()) == "[2,?,19,26]"


def test_wrong_input_is_one_line_and_code_2(frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in (
        ((), "--input_model is missing"),
        (("--input_model", tmp_path / "no.pb"), "no such file"),
        (("--input_model", frozen, "--precision", "int4"), "precision"),
        (("--input_model", frozen, "--n_steps", -1), "--n_steps -1 is not allowed"),
        (("--input_model", frozen, "--n_steps", 8, "--input", "input_lengths->[16]"), "--n_steps 8"),
        (("--input_model", frozen, "--input", "input_nodes"), "did you mean input_node"),
        (("--input_model", frozen, "--max_wer_increase", "nan"), "max_wer_increase"),
        (("--input_model", frozen, "--model_name", "a/b"), "model_name"),
        (("--input_model", frozen, "--precison", "f32"), "did you mean --precision"),
    ):
        code, out, err = run(capsys, *arguments, "--output_dir", tmp_path / "ir")
        assert (code, out) == (2, ""), arguments
        assert err.startswith("error: ")
        assert expected in err
        assert err.count("\n") == 1, err
        assert not (tmp_path / "ir").exists()


def test_the_components_parameters_are_the_settings() -> None:
    parameters = inspect.signature(convert_openvino.python_func).parameters
    given = {name: parameter.default for name, parameter in parameters.items()}
    for name in ("model", "ir", "dev_clips"):
        given.pop(name)
    assert given == {field.name: field.default for field in fields(OpenVinoSettings)}
    assert {name: parameters[name].annotation for name in given} == {
        field.name: type(field.default) for field in fields(OpenVinoSettings)
    }


def test_graphs_are_converted_without_tensorflow(frozen: Path, mapped: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from components.convert_openvino.__main__ import main
main(["--input_model", {str(frozen)!r}, "--output_dir", {str(tmp_path / "pb")!r}])
main(["--input_model", {str(mapped)!r}, "--output_dir", {str(tmp_path / "pbmm")!r}, "--precision", "int8"])
assert "openvino" in sys.modules
assert not [name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras", "kfp")]
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


def test_openvino_sends_no_messages() -> None:
    program = """
import sys
from components.convert_openvino import step
assert "openvino" in sys.modules
assert sys.modules["openvino_telemetry"] is None
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


def test_into_an_object_store(
    frozen: Path, tmp_path: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen: a folder named `s3:` on this machine."""
    monkeypatch.chdir(tmp_path)
    write_object(f"{s3_bucket}/ir/notes", b"theirs")
    for _ in range(2):
        code, out, err = run(capsys, "--input_model", frozen, "--output_dir", f"{s3_bucket}/ir")
        assert (code, err) == (0, "")
        assert out.splitlines()[-1].startswith(f"{s3_bucket}/ir/output_graph.xml: f16, made of ")
    names = {key for key, _ in list_keys(f"{s3_bucket}/")}
    made = {"alphabet.txt", "notes", "openvino.json", "output_graph.bin", "output_graph.xml"}
    assert names == {f"ir/{name}" for name in made}
    write_object(f"{s3_bucket}/mine/output_graph.bin", b"theirs")
    code, _, err = run(capsys, "--input_model", frozen, "--output_dir", f"{s3_bucket}/mine")
    assert code == 2
    assert "mine/output_graph.bin would be replaced" in err
    assert list_keys(f"{s3_bucket}/mine/") == [("mine/output_graph.bin", 6)]
    assert list(tmp_path.iterdir()) == []
