"""Checkpoints, OpenVINO IRs and TFLite models are measured as the frozen graph is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.evaluate import step
from components.evaluate.settings import EvaluateSettings
from speech.artifacts import Evaluation
from speech.nn import snapshots
from tests.components.evaluate.conftest import GEOMETRY, LETTERS
from tests.fixtures.tflite_model import write_tflite
from tests.speech.nn.test_model import random_weights

QUIET = EvaluateSettings(report_count=0, bootstrap_samples=0)


@pytest.fixture(scope="module")
def frozen(exported: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return step.run(QUIET, exported, [clips / "test.csv"], tmp_path_factory.mktemp("frozen") / "out")


def same(made: Evaluation, frozen: Evaluation, tolerance: float = 1e-4) -> bool:
    texts = [
        [row["res"] for row in json.loads((one.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))]
        for one in (made, frozen)
    ]
    assert texts[0] == texts[1]
    assert made.scores["loss"] == pytest.approx(frozen.scores["loss"], rel=tolerance)
    return True


def save_checkpoint(folder: Path) -> None:
    for name, seed in (("train-2", 9), ("best_dev-1", 0)):
        bundle = snapshots.Snapshot(GEOMETRY, random_weights(GEOMETRY, seed), {}, 1, 0.001, 0.9, 0.999)
        snapshots.save(folder, name, bundle)
    snapshots.write_state(folder, "checkpoint", ["train-2"])
    snapshots.write_state(folder, "best_dev_checkpoint", ["best_dev-1"])


def test_checkpoint(frozen: Evaluation, clips: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c")
    LETTERS.save(tmp_path / "letters.txt")
    settings = EvaluateSettings(report_count=0, alphabet_config_path=str(tmp_path / "letters.txt"))
    made = step.run(settings, tmp_path / "c", [clips / "test.csv"], tmp_path / "best")
    assert same(made, frozen)
    assert made.scores["model"]["kind"] == "checkpoint"
    assert made.scores["model"]["file"].startswith("best_dev-1")
    LETTERS.save(tmp_path / "c" / "alphabet.txt")
    last = step.run(
        EvaluateSettings(report_count=0, load_evaluate="last"), tmp_path / "c", [clips / "test.csv"], tmp_path / "last"
    )
    assert last.scores["loss"] != pytest.approx(made.scores["loss"], rel=0.01)


@pytest.mark.parametrize("n_steps", [0, 16])
def test_openvino_with_free_and_with_fixed_sizes(
    frozen: Evaluation, exported: Path, clips: Path, tmp_path: Path, n_steps: int
) -> None:
    pytest.importorskip("openvino")
    from components.convert_openvino import step as convert
    from components.convert_openvino.settings import OpenVinoSettings

    settings = OpenVinoSettings(precision="f32", n_steps=n_steps)
    convert.run(settings, str(exported / "output_graph.pb"), tmp_path / "ir")
    made = step.run(QUIET, tmp_path / "ir", [clips / "test.csv"], tmp_path / "out")
    assert same(made, frozen)
    assert made.scores["model"]["kind"] == "OpenVINO IR"
    (tmp_path / "ir" / "openvino.json").unlink()  # an IR of another tool: sizes from the network, alphabet beside it
    bare = step.run(QUIET, tmp_path / "ir" / "output_graph.xml", [clips / "test.csv"], tmp_path / "bare")
    assert same(bare, frozen)


@pytest.mark.parametrize("quantize", [False, True])
def test_tflite(frozen: Evaluation, clips: Path, tmp_path: Path, quantize: bool) -> None:
    path = tmp_path / "m" / "output_graph.tflite"
    path.parent.mkdir()
    write_tflite(path, GEOMETRY, random_weights(GEOMETRY), LETTERS, n_steps=4, quantize=quantize)
    made = step.run(QUIET, tmp_path / "m", [clips / "test.csv"], tmp_path / "out")
    assert made.scores["emissions"]["engine"] == ("file" if quantize else "batch")
    if quantize:
        assert made.scores["loss"] == pytest.approx(frozen.scores["loss"], rel=0.1)
    else:
        assert same(made, frozen)
        assert made.scores["emissions"]["checked_clips"] == 3


def test_an_openvino_ir_is_measured_without_tensorflow(exported: Path, clips: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from components.convert_openvino import step as convert
    from components.convert_openvino.settings import OpenVinoSettings

    convert.run(OpenVinoSettings(), str(exported / "output_graph.pb"), tmp_path / "ir")
    paths = {"--model": tmp_path / "ir", "--test_files": clips / "dev.csv", "--evaluation": tmp_path / "e"}
    argv = ["evaluate", *(f"{flag}={path}" for flag, path in paths.items())]
    code = (
        f"import sys; sys.argv = {argv!r}; from components.evaluate.__main__ import main; main(); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Evaluation.open(tmp_path / "e").scores["test_clips"] == 4
