"""Artifacts are verified on arrival: what flipped on the way is named by whoever received it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from speech.artifacts import Clips, ExportedModel, IntermediateRepresentation, describe_files, write_sidecar
from speech.errors import InputError
from speech.model_files.door import open as open_model
from speech.storage import checked_files
from speech.storage.checked_files import SEAL, check_files, sealed, unsealed

RECORD = "model.json"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A folder with two files and their record."""
    for name in ("output_graph.pb", "output_graph.tflite"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    write_sidecar(tmp_path, RECORD, {"files": describe_files(tmp_path, ["output_graph.pb", "output_graph.tflite"])})
    return tmp_path


def flip(path: Path) -> None:
    """One bit, with size and time as before."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize("name", ["output_graph.pb", "output_graph.tflite"])
def test_a_flipped_bit_is_named(artifact: Path, name: str) -> None:
    ExportedModel.open(artifact)
    flip(artifact / name)
    with pytest.raises(InputError, match=f"{name} is damaged: model.json records another sha256"):
        ExportedModel.open(artifact)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        open_model(artifact / name)  # by its own name, too


@pytest.mark.parametrize("name", [IntermediateRepresentation.XML, IntermediateRepresentation.BIN])
def test_a_flipped_bit_of_an_ir(tmp_path: Path, name: str) -> None:
    names = [IntermediateRepresentation.XML, IntermediateRepresentation.BIN]
    for one in names:
        (tmp_path / one).write_bytes(b"<net>" * 100)
    write_sidecar(tmp_path, IntermediateRepresentation.MODEL, {"files": describe_files(tmp_path, names)})
    IntermediateRepresentation.open(tmp_path)
    flip(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        IntermediateRepresentation.open(tmp_path)


def test_a_file_is_read_once_while_it_stays_the_same(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps open the same artifact several times."""
    record = artifact / RECORD
    description = json.loads(record.read_text())
    check_files(record, description)
    monkeypatch.setattr("speech.storage.checked_files.sha256", lambda path: pytest.fail(f"{path} is read again"))
    check_files(record, description)


DIGEST = "0" * 64


@pytest.mark.parametrize(
    "files",
    [
        3,
        ["output_graph.pb"],
        {"output_graph.pb": 3},
        {"output_graph.pb": {"bytes": "many", "sha256": DIGEST}},
        {"output_graph.pb": {"bytes": 1}},
        {"../outside": {"bytes": 1, "sha256": DIGEST}},
        {"/etc/passwd": {"bytes": 1, "sha256": DIGEST}},
        {"a//b": {"bytes": 1, "sha256": DIGEST}},
        {"": {"bytes": 1, "sha256": DIGEST}},
    ],
)
def test_a_record_that_no_step_wrote_is_one_line(artifact: Path, files: Any) -> None:
    """Its names lead nowhere else, and its values are no traceback."""
    (artifact / RECORD).write_text(json.dumps({"geometry": {}, "files": files}))
    with pytest.raises(InputError, match=r"model\.json: damaged"):
        ExportedModel.open(artifact)
    with pytest.raises(InputError, match=r"model\.json: damaged"):
        open_model(artifact / "output_graph.pb")


def test_an_ir_whose_network_lies_elsewhere(tmp_path: Path) -> None:
    """The name of the network is a stranger's, too."""
    (tmp_path / "a.xml").write_bytes(b"<net/>")
    record = {"files": describe_files(tmp_path, ["a.xml"]), "xml": "../outside.xml"}
    write_sidecar(tmp_path, IntermediateRepresentation.MODEL, record)
    with pytest.raises(InputError, match="not among its files"):
        _ = IntermediateRepresentation.open(tmp_path).xml


def test_a_record_says_what_was_written(artifact: Path) -> None:
    record = artifact / RECORD
    said = json.loads(record.read_text())
    assert SEAL in said
    assert SEAL not in ExportedModel(artifact).sidecar
    for change in ({"language": "cy"}, {SEAL: "0" * 64}, {SEAL: 3}):
        record.write_text(json.dumps({**said, **change}))
        with pytest.raises(InputError, match=r"model\.json is damaged: .* if it was changed on purpose, remove"):
            ExportedModel.open(artifact)
    changed = {name: value for name, value in said.items() if name != SEAL} | {"language": "cy"}
    record.write_text(json.dumps(changed, indent=1))  # as a person does it
    assert ExportedModel.open(artifact).sidecar["language"] == "cy"


def test_a_digest_is_of_the_content_and_not_of_its_layout(tmp_path: Path) -> None:
    content = sealed({"b": [1.5, None, "é"], "a": {"2": 1, "10": 2}})
    again = json.loads(json.dumps(content, indent=3, sort_keys=True))
    assert unsealed(tmp_path / RECORD, again) == {"b": [1.5, None, "é"], "a": {"2": 1, "10": 2}}


def test_clips_are_those_that_the_import_wrote(tmp_path: Path) -> None:
    for name in ("train.csv", "shards/train-00000.tar", "alphabet.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 100)
    files = describe_files(tmp_path, ["train.csv", "shards/train-00000.tar", "alphabet.txt"])
    write_sidecar(tmp_path, Clips.SETS, {"sets": ["train"], "release": "en", "files": files})
    Clips.open(tmp_path)
    flip(tmp_path / "shards/train-00000.tar")
    checked_files._WHOLE.clear()  # another process opens it
    with pytest.raises(InputError, match=r"train-00000\.tar is damaged: sets\.json records another sha256"):
        Clips.open(tmp_path)
