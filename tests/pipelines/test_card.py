"""`speechmill card`: the card of a version that lies in a folder or a bucket."""

import json
from pathlib import Path

import pytest

from pipelines import card
from speech.artifacts import ALPHABET, ExportedModel, describe_files, write_sidecar
from speech.geometry import Geometry
from speech.model_card import CardSettings, CardSources, write
from speech.storage.objects import upload_folder


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version with a card of its own."""
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / ALPHABET).write_text(" \na\n")
    (folder / ExportedModel.FROZEN).write_bytes(b"graph")
    sidecar = {"geometry": Geometry(4, 2).to_dict(), "n_steps": 16, "beam_width": 500, "language": "cy"}
    files = describe_files(folder, [ExportedModel.FROZEN])
    write_sidecar(folder, ExportedModel.MODEL, {**sidecar, "files": files})
    settings = CardSettings(export_model_name="mine", export_license="MIT")
    write(settings, CardSources([ExportedModel.open(folder)]), folder)
    return folder


def test_it_is_the_version_s_own_with_the_flags_on_top(version: Path, capsys) -> None:
    card.main([str(version), "--export_author_id", "mill", "--language", "sv-SE", "--export_datasets", "a/b"])
    page = capsys.readouterr().out
    for line in ("author: mill", "model_name: mine", "license: mit", "language: sv", "- sv-SE", "- a/b"):
        assert f"{line}\n" in page
    assert "# mine 0.0.1" in page


def test_a_version_without_a_card_and_one_in_a_bucket(version: Path, s3_bucket: str, capsys) -> None:
    upload_folder(version, f"{s3_bucket}/with")
    card.main([f"{s3_bucket}/with"])
    assert "model_name: mine\n" in capsys.readouterr().out
    (version / "model_card.json").unlink()
    upload_folder(version, f"{s3_bucket}/without")
    for place in (str(version), f"{s3_bucket}/without"):
        card.main([place, "--export_license", "MIT"])
        page = capsys.readouterr().out
        assert "model_name: model\n" in page
        assert "license: mit\n" in page
        assert "language: cy\n" in page


def test_a_file_is_written_and_none_replaced(version: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "README.md"
    card.main([str(version), "--output", str(target)])
    before = target.read_text()
    assert before.startswith("---\nauthor: author\n")
    assert refusal(capsys, str(version), "--output", str(target)).startswith(f"error: --output {target} exists")
    assert target.read_text() == before


def test_refusals(version: Path, capsys) -> None:
    assert "VERSION is missing" in refusal(capsys)
    assert "no such folder" in refusal(capsys, str(version / "none"))
    (version / "model_card.json").write_text(json.dumps({})[:1])
    assert "model_card.json is damaged" in refusal(capsys, str(version))


def refusal(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        card.main(list(arguments))
    assert stopped.value.code == 2
    return capsys.readouterr().err
