"""Freezing and converting: the files, the self-check, and the errors."""

import json
import sys
from pathlib import Path

import pytest

from components.export import onnx, selfcheck, step, tflite
from components.export.settings import ExportSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, ExportedModel
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files import memmapped_file
from speech.model_files.variables import initial_weights
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from tests.components.export.conftest import GEOMETRY, LETTERS, make_checkpoint
from tests.fixtures.records import record_again


def test_all_formats_in_one_folder(checkpoint: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    step.freeze(ExportSettings(export_language="cy", export_beam_width=123), checkpoint, model)
    step.convert_mmap(model, model)
    step.convert_tflite(model, model)
    opened = ExportedModel.open(model)
    names = {"output_graph.pb", "output_graph.pbmm", "output_graph.tflite", "alphabet.txt"}
    assert {path.name for path in model.iterdir()} == names | {"model.json"}
    assert set(opened.sidecar["files"]) == names
    assert opened.geometry == GEOMETRY
    assert opened.alphabet == LETTERS
    assert (opened.sidecar["checkpoint"], opened.sidecar["language"], opened.sidecar["beam_width"]) == (
        "best_dev-5",
        "cy",
        123,
    )
    assert opened.sidecar["selfcheck_max_difference"] < 1e-5
    assert opened.sidecar["converted_nodes"] == 5
    assert opened.sidecar["tflite_weights"] == "int8"
    assert 0 < opened.sidecar["tflite_difference"] < 0.1
    assert len(memmapped_file.MemmappedPackage.open(model / "output_graph.pbmm").regions) == 6


def test_exports_are_reproducible(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        step.freeze(ExportSettings(), checkpoint, tmp_path / name)
    one, two = (tmp_path / name / ExportedModel.FROZEN for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_separate_artifacts(checkpoint: Path, tmp_path: Path) -> None:
    step.freeze(ExportSettings(n_steps=4), checkpoint, tmp_path / "model")
    step.convert_mmap(tmp_path / "model", tmp_path / "mapped")
    sidecar = json.loads((tmp_path / "mapped/model.json").read_text())
    assert set(sidecar["files"]) == {"output_graph.pbmm", "alphabet.txt"}
    assert sidecar["n_steps"] == 4
    step.convert_tflite(tmp_path / "model", tmp_path / "converted", quantize=False)
    opened = ExportedModel.open(tmp_path / "converted")
    assert set(opened.sidecar["files"]) == {"output_graph.tflite", "alphabet.txt"}
    assert opened.sidecar["tflite_weights"] == "float32"
    assert opened.sidecar["tflite_difference"] < 1e-5


def test_the_selfcheck_sees_a_changed_weight(checkpoint: Path, tmp_path: Path) -> None:
    step.freeze(ExportSettings(), checkpoint, tmp_path / "model")
    weights = initial_weights(GEOMETRY, 1)
    weights["layer_5/bias"] = weights["layer_5/bias"] + 1.0
    with pytest.raises(InputError, match="log probabilities differ from the checkpoint's by"):
        selfcheck.check_frozen(tmp_path / "model/output_graph.pb", weights, GEOMETRY)


@pytest.mark.parametrize("quantize", [False, True])
def test_the_selfcheck_of_tflite_sees_a_wrong_matrix(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantize: bool
) -> None:
    step.freeze(ExportSettings(), checkpoint, tmp_path / "model")
    right = tflite.write

    def wrong(path, weights, *rest):
        right(path, {**weights, "layer_2/weights": weights["layer_2/weights"].T}, *rest)

    monkeypatch.setattr(tflite, "write", wrong)
    with pytest.raises(InputError, match="away from the float model" if quantize else "probabilities differ"):
        step.convert_tflite(tmp_path / "model", tmp_path / "model", quantize)
    assert not (tmp_path / "model/output_graph.tflite").exists()
    assert set(ExportedModel.open(tmp_path / "model").sidecar["files"]) == {"output_graph.pb", "alphabet.txt"}


def test_the_selfcheck_of_tflite_sees_another_alphabet(checkpoint: Path, tmp_path: Path) -> None:
    step.freeze(ExportSettings(), checkpoint, tmp_path / "model")
    step.convert_tflite(tmp_path / "model", tmp_path / "model")
    path = tmp_path / "model/output_graph.tflite"
    with pytest.raises(InputError, match="its alphabet is not that of the model"):
        selfcheck.check_tflite(path, {}, GEOMETRY, Alphabet((" ", "x", "y", "z")), quantized=True)


def test_the_selfcheck_sees_a_changed_mapped_constant(checkpoint: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    step.freeze(ExportSettings(), checkpoint, model)
    step.convert_mmap(model, model)
    content = bytearray((model / "output_graph.pbmm").read_bytes())
    content[400] ^= 1
    (model / "output_graph.pbmm").write_bytes(content)
    record_again(model)
    with pytest.raises(InputError, match=r"differs from .*output_graph.pb: convert it again"):
        selfcheck.check_mapped(model / "output_graph.pb", model / "output_graph.pbmm")


def test_alphabets(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    (checkpoint / ALPHABET).unlink()
    with pytest.raises(
        InputError,
        match=r"no alphabet: .* lies beside it: give .* as --alphabet_config_path",
    ):
        step.freeze(ExportSettings(), checkpoint, tmp_path / "model")
    Alphabet((" ", "a")).save(tmp_path / "short.txt")
    with pytest.raises(InputError, match="2 symbols, but the model has 4 labels"):
        step.freeze(ExportSettings(alphabet_config_path=str(tmp_path / "short.txt")), checkpoint, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint in it"):
        step.freeze(ExportSettings(), tmp_path, tmp_path / "model")
    with pytest.raises(InputError, match="model.json is missing"):
        step.convert_mmap(tmp_path, tmp_path / "mapped")


def test_a_checkpoint_trained_with_cudnn_and_without_state_files(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", name="deepspeech-0.9.3-732522", cudnn=True)
    LETTERS.save(tmp_path / "letters.txt")
    settings = ExportSettings(alphabet_config_path=str(tmp_path / "letters.txt"))
    assert step.freeze(settings, checkpoint, tmp_path / "model").sidecar["checkpoint"] == "deepspeech-0.9.3-732522"


def test_bytes_output_mode(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", Geometry(16, 255))
    (checkpoint / ALPHABET).unlink()
    step.freeze(ExportSettings(bytes_output_mode=True), checkpoint, tmp_path / "model")
    step.convert_tflite(tmp_path / "model", tmp_path / "model")
    assert ExportedModel.open(tmp_path / "model").alphabet.bytes_mode


def test_rates_that_the_checkpoint_does_not_record(checkpoint: Path, tmp_path: Path) -> None:
    settings = ExportSettings(audio_sample_rate=8000, feature_win_len=64, relu_clip=5.0)
    made = step.freeze(settings, checkpoint, tmp_path / "model").geometry
    assert (made.audio_sample_rate, made.feature_win_len, made.feature_win_step, made.relu_clip) == (8000, 64, 20, 5.0)
    converted = step.convert_tflite(tmp_path / "model", tmp_path / "model")
    assert converted.geometry == made


def test_a_damaged_best_checkpoint_gives_way_to_the_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    weights = initial_weights(GEOMETRY, 2)
    snapshots.save(checkpoint, "train-9", Snapshot(GEOMETRY, weights, {}, 9, 0.001, 0.9, 0.999))
    snapshots.write_state(checkpoint, Checkpoint.LAST, ["train-9"])
    data = checkpoint / "best_dev-5.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:5000])
    made = step.freeze(ExportSettings(), checkpoint, tmp_path / "model")
    assert (made.sidecar["checkpoint"], made.sidecar["global_step"]) == ("train-9", 9)
    assert "cut short; taking" in capsys.readouterr().err
    with pytest.raises(InputError, match="cut short"):
        step.freeze(ExportSettings(load_evaluate="best"), checkpoint, tmp_path / "best")


def test_a_variable_of_another_shape(tmp_path: Path) -> None:
    weights = initial_weights(GEOMETRY, 1)
    weights["layer_3/weights"] = weights["layer_3/weights"][:, :-1]
    snapshots.save(tmp_path, "train-1", Snapshot(GEOMETRY, weights, {}, 1, 0.001, 0.9, 0.999))
    with pytest.raises(InputError, match=r"layer_3/weights has the shape \[64, 63\], expected"):
        step.freeze(ExportSettings(), tmp_path, tmp_path / "model")


def test_an_earlier_export_does_not_stay_beside_a_new_one(checkpoint: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    step.freeze(ExportSettings(), checkpoint, model)
    step.convert_tflite(model, model)
    step.freeze(ExportSettings(n_steps=8), checkpoint, model)
    assert {path.name for path in model.iterdir()} == {"output_graph.pb", "alphabet.txt", "model.json"}


def test_a_checkpoint_folder_is_not_overwritten(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    with pytest.raises(InputError, match="holds a checkpoint"):
        step.freeze(ExportSettings(), checkpoint, checkpoint)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before


def test_a_graph_without_names_for_its_weights(checkpoint: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    step.freeze(ExportSettings(), checkpoint, model)
    content = (model / "output_graph.pb").read_bytes()
    (model / "output_graph.pb").write_bytes(content.replace(b"layer_5/weights", b"layer_5/weighty"))
    record_again(model)
    with pytest.raises(InputError, match="it lacks layer_5/weights in float32"):
        step.convert_tflite(model, model)


def test_onnx_wants_its_runtime(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step.freeze(ExportSettings(), checkpoint, tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"needs onnxruntime: pip install .speechmill\[onnx\]"):
        step.convert_onnx(tmp_path, tmp_path)
    assert not (tmp_path / ExportedModel.ONNX).exists()


def test_the_training_travels_with_the_model(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    sidecar = {"geometry": GEOMETRY.to_dict(), "start": "from scratch", "train_clips": 3, "train_hours": 0.5}
    (checkpoint / Checkpoint.MODEL).write_text(json.dumps({**sidecar, "train_files": ["/private/train.csv"]}))
    (checkpoint / Checkpoint.HISTORY).write_text(json.dumps({"epochs": [{}, {}], "best_dev_loss": 1.5}))
    assert step.freeze(ExportSettings(), checkpoint, tmp_path / "model").sidecar["training"] == {
        "start": "from scratch",
        "train_clips": 3,
        "train_hours": 0.5,
        "epochs": 2,
        "best_dev_loss": 1.5,
    }


def test_onnx(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    step.freeze(ExportSettings(), checkpoint, tmp_path)
    made = step.convert_onnx(tmp_path, tmp_path)
    assert set(made.sidecar["files"]) == {"output_graph.pb", "output_graph.onnx", "alphabet.txt"}
    assert made.sidecar["onnx_difference"] < 1e-5
    right = onnx.write

    def wrong(path, weights, *rest):
        right(path, {**weights, "layer_2/weights": weights["layer_2/weights"].T}, *rest)

    monkeypatch.setattr(onnx, "write", wrong)
    with pytest.raises(InputError, match="probabilities differ"):
        step.convert_onnx(tmp_path, tmp_path)
    assert not (tmp_path / ExportedModel.ONNX).exists()
