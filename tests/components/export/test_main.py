"""The command line: the peers' flags in both spellings, names, archives, what is replaced and what is refused."""

import json
import sys
import zipfile
from pathlib import Path

import pytest

from components.export.__main__ import main
from speech import model_files
from speech.artifacts import ALPHABET, ExportedModel
from speech.storage.objects import delete_objects, download_folder, list_keys, upload_folder, write_object
from tests.components.export.conftest import make_checkpoint

CARD = "author_model_0.0.1.md"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["export", *map(str, arguments)])
    main()


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of an error of the input."""
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments)
    assert ended.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    return errors[0]


def test_all_that_clients_load_by_default(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--checkpoint_dir", checkpoint, "--export_dir", tmp_path / "model")
    files = {"output_graph.pb", "output_graph.pbmm", "output_graph.tflite", ALPHABET, CARD, "model_card.json"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == files | {"model.json"}
    model = ExportedModel.open(tmp_path / "model")
    assert set(model.sidecar["files"]) == files
    assert model.sidecar["tflite_weights"] == "int8"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_command_lines_of_deepspeech(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--noshow_progressbar", "--n_hidden", "2048", "--load_cudnn", "--export_tflite", "--nouse_allow_growth"]
    flags += [
        "--load_checkpoint_dir",
        checkpoint,
        "--export_dir",
        tmp_path,
        f"--alphabet_config_path={checkpoint}/{ALPHABET}",
    ]
    flags += ["--export_min_ds_version", "0.9.0", "--export_model_name", "tiny", "--export_author_id=me"]
    run(monkeypatch, *flags)
    assert "min_ds_version: 0.9.0" in (tmp_path / "me_tiny_0.0.1.md").read_text()
    notes = capsys.readouterr().err
    assert "note: --n_hidden does nothing here: it is read from the checkpoint" in notes
    assert "note: --load_cudnn does nothing here" in notes


def test_command_lines_of_coqui(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--checkpoint_dir", checkpoint, "--export_dir", tmp_path / "x", "--export_tflite", "true"]
    flags += ["--export_quantize", "false", "--n_steps", "4", "--export_beam_width", "77", "--export_language", "cy"]
    flags += ["--export_file_name", "welsh", "--export_min_stt_version", "1.0.0", "--load_evaluate", "best"]
    flags += ["--export_license", "MPL-2.0", "--export_contact_info", "me: @home", "--export_batch_size", "1"]
    run(monkeypatch, *flags, "--export_savedmodel", "false", "--export_description", "Tones, *four* of them.")
    model = ExportedModel.open(tmp_path / "x")
    assert {"welsh.pb", "welsh.pbmm", "welsh.tflite"} <= set(model.sidecar["files"])
    assert not any(path.name.startswith("output_graph") for path in (tmp_path / "x").iterdir())
    assert model_files.open(tmp_path / "x" / "welsh.tflite").n_steps == 4
    assert (model.sidecar["beam_width"], model.sidecar["language"]) == (77, "cy")
    assert model.sidecar["tflite_weights"] == "float32"
    page = (tmp_path / "x" / CARD).read_text()
    assert "min_stt_version: 1.0.0" in page
    assert 'contact_info: "me: @home"' in page
    assert "license: mpl-2.0" in page  # as model hubs write it
    assert "Tones, *four* of them." in page


def test_without_tflite(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--checkpoint_dir", checkpoint, "--export_dir", tmp_path, "--export_tflite", "false")
    assert set(ExportedModel.open(tmp_path).sidecar["files"]) & {"output_graph.pb", "output_graph.tflite"} == {
        "output_graph.pb"
    }
    assert "runtime: tensorflow" in (tmp_path / CARD).read_text()


def test_an_archive_with_the_scorer(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.scorer").write_bytes(b"scorer")
    flags = ["--checkpoint_dir", checkpoint, "--export_dir", f"{tmp_path}/cy/", "--export_zip"]
    run(monkeypatch, *flags, "--scorer", tmp_path / "some.scorer")
    with zipfile.ZipFile(tmp_path / "cy.zip") as archive:
        assert archive.testzip() is None
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert packed.pop("some.scorer") == b"scorer"
    assert packed == {path.name: path.read_bytes() for path in (tmp_path / "cy").iterdir()}


def test_an_earlier_export_is_replaced_and_other_files_stay(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint_dir", checkpoint, "--export_dir", tmp_path / "model"]
    run(monkeypatch, *given, "--export_model_version", "1.0.0")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    run(monkeypatch, *given, "--export_tflite", "false")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        "output_graph.pb",
        "output_graph.pbmm",
        ALPHABET,
        CARD,
        "model_card.json",
        "model.json",
        "notes.txt",
    }
    run(monkeypatch, *given, "--export_tflite", "false", "--remove_export")
    assert {path.name for path in (tmp_path / "model").iterdir()} == names
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"
    assert "note: --remove_export left alone what no export made: 1 in" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


FOREIGN = ["output_graph.pb", "output_graph.pbmm", "output_graph.tflite", "model.json", "alphabet.txt", CARD]


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("flags", [(), ("--remove_export",)])
def test_files_of_others_are_never_replaced(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    flags: tuple[str, ...],
) -> None:
    """Not even where they have the name of an output: peers' exports, somebody's alphabet or sidecar."""
    (tmp_path / name).write_text('{"mine": true}')
    told = refusal(monkeypatch, capsys, "--checkpoint_dir", checkpoint, "--export_dir", tmp_path, *flags)
    assert f"{name} would be replaced, but no record there says that this step wrote it: give another" in told
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: '{"mine": true}'}


def test_the_user_s_own_alphabet_stays_and_serves(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ALPHABET).write_bytes((checkpoint / ALPHABET).read_bytes())
    before = (tmp_path / ALPHABET).stat()
    given = ["--checkpoint_dir", checkpoint, "--export_dir", tmp_path, "--export_tflite", "false"]
    for flags in ((), ("--remove_export",)):
        run(monkeypatch, *given, *flags)
        after = (tmp_path / ALPHABET).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert ExportedModel.open(tmp_path).sidecar["files"][ALPHABET]["found"] is True


def test_an_export_that_was_killed_while_it_was_put_in_place(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next one knows the files for its own, and somebody else's for somebody else's."""
    given = ["--checkpoint_dir", checkpoint, "--export_dir", tmp_path / "model", "--export_tflite", "false"]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "output_graph.onnx").write_text("mine")
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target == tmp_path / "model" / "output_graph.pbmm":
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(patch, *given)
    assert (tmp_path / "model" / "output_graph.pb").is_file()
    assert not (tmp_path / "model" / "model.json").exists()
    capsys.readouterr()
    assert "output_graph.onnx would be replaced" in refusal(monkeypatch, capsys, *given, "--export_onnx")
    run(monkeypatch, *given)
    assert ExportedModel.open(tmp_path / "model").file("output_graph.pbmm")
    assert (tmp_path / "model" / "output_graph.onnx").read_text() == "mine"
    assert not list((tmp_path / "model").glob(".*"))


def test_a_failed_export_leaves_the_earlier_one(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--export_dir", tmp_path / "model", "--remove_export", "--export_tflite", "false"]
    run(monkeypatch, "--checkpoint_dir", checkpoint, *given)
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    capsys.readouterr()
    broken = make_checkpoint(tmp_path / "broken")
    (broken / ALPHABET).write_text(" \na\n")
    assert "2 symbols, but the model has 4 labels" in refusal(monkeypatch, capsys, "--checkpoint_dir", broken, *given)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", "broken"}


def test_refusals(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--checkpoint_dir", checkpoint, "--export_dir", tmp_path / "model")
    for flags, message in [
        (given[:2], "--export_dir is missing"),
        (given[2:], "--checkpoint_dir is missing"),
        ((*given, "--export_savedmodel"), "--export_savedmodel True is not allowed"),
        ((*given, "--export_batch_size", "8"), "an ONNX model"),
        ((*given, "--export_file_name", "a/b"), "--export_file_name 'a/b' is not allowed"),
        ((*given, "--export_model_version", "1/2"), "--export_model_version '1/2' is not allowed"),
        ((*given, "--n_steps", "0"), "--n_steps 0 is not allowed: at least 1"),
        ((*given, "--scorer_path", "missing.scorer"), "missing.scorer: no such file"),
        ((*given, "--evaluation", tmp_path), "not a complete evaluation"),
        ((*given, "--export_quantise"), "did you mean --export_quantize?"),
        (("--checkpoint_dir", tmp_path, *given[2:]), "no checkpoint in it"),
        ((*given[:2], "--export_dir", checkpoint), "holds a checkpoint"),
    ]:
        assert message in refusal(monkeypatch, capsys, *flags)
    assert list(tmp_path.iterdir()) == []


def test_object_storage(checkpoint: Path, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_folder(checkpoint, f"{s3_bucket}/checkpoint")
    flags = ["--checkpoint_dir", f"{s3_bucket}/checkpoint", "--export_dir", f"{s3_bucket}/models/cy", "--export_zip"]
    run(monkeypatch, *flags)
    download_folder(f"{s3_bucket}/models", tmp_path)
    files = ExportedModel.open(tmp_path / "cy").sidecar["files"]
    assert "output_graph.tflite" in files
    with zipfile.ZipFile(tmp_path / "cy.zip") as archive:
        assert set(archive.namelist()) == {*files, "model.json"}


def test_the_card_as_json(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--checkpoint_dir", checkpoint, "--export_dir", tmp_path, "--export_file_name", "en")
    card = json.loads((tmp_path / "model_card.json").read_text())
    recorded = ExportedModel.open(tmp_path).sidecar["files"]
    assert set(card["files"]) == {"en.pb", "en.pbmm", "en.tflite", ALPHABET}
    for name, about in card["files"].items():
        assert (about["bytes"], about["sha256"]) == (recorded[name]["bytes"], recorded[name]["sha256"])


def test_objects_of_others_are_never_replaced(
    checkpoint: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of an earlier export are, and are gone where this one has none."""
    uri = f"{s3_bucket}/models/cy"
    given = ["--checkpoint_dir", checkpoint, "--export_dir", uri, "--export_zip"]
    for name in ("cy.zip", "cy/output_graph.pb", "cy/model.json", "cy/alphabet.txt"):
        write_object(f"{s3_bucket}/models/{name}", b'{"mine": true}')
        assert f"{name} would be replaced" in refusal(monkeypatch, capsys, *given)
        assert [key for key, _ in list_keys(f"{s3_bucket}/")] == [f"models/{name}"]
        delete_objects([f"{s3_bucket}/models/{name}"])
    write_object(f"{uri}/notes.txt", b"mine")
    run(monkeypatch, *given)
    run(monkeypatch, *given, "--export_tflite", "false")
    names = {key.removeprefix("models/") for key, _ in list_keys(f"{s3_bucket}/models/")}
    made = {"model.json", "output_graph.pb", "output_graph.pbmm", ALPHABET, CARD, "model_card.json", "notes.txt"}
    assert names == {"cy.zip", *(f"cy/{name}" for name in made)}


def test_an_archive_of_somebody_else_stays(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint_dir", checkpoint, "--export_dir", tmp_path / "model", "--export_tflite", "false"]
    run(monkeypatch, *given)
    (tmp_path / "model.zip").write_bytes(b"mine")
    assert "model.zip would be replaced" in refusal(monkeypatch, capsys, *given, "--export_zip")
    assert (tmp_path / "model.zip").read_bytes() == b"mine"
    (tmp_path / "model.zip").unlink()
    for _ in range(2):
        run(monkeypatch, *given, "--export_zip")
        assert zipfile.is_zipfile(tmp_path / "model.zip")
