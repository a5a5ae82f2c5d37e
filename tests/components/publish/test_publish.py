"""A version is complete or absent, never changed, and made by one run alone."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from components.publish import step
from components.publish.model_bucket import CLAIM, open_target
from speech.artifacts import ALPHABET, ExportedModel, IntermediateRepresentation, write_sidecar
from speech.errors import InputError
from speech.model_files.checkpoints import find
from speech.storage.files import sha256, write_json
from speech.storage.objects import download_folder, list_keys, upload_file
from tests.components.publish.conftest import MADE, Settings, trained

VERSION_FILES = {
    "SHA256SUMS", "alphabet.txt", "model.json", "output_graph.pb", "output_graph.pbmm", "report.html", "samples.json",
    "scores.json", "version.json", "openvino/alphabet.txt", "openvino/openvino.json", "openvino/output_graph.bin",
    "openvino/output_graph.xml", "output_graph.tflite",
}  # fmt: skip
GATED = VERSION_FILES | {"decision.json"}
BESIDE = {"champion.json", "champions"}


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def fetch(uri: str, scratch: Path) -> Path:
    if not uri.startswith("s3://"):
        return Path(uri)
    download_folder(uri, scratch)
    return scratch


def test_a_version_holds_every_file_with_its_checksum(make_artifacts, target, tmp_path) -> None:
    version = step.run(Settings(), make_artifacts(), target)
    folder = fetch(version.uri, tmp_path / "fetched")
    assert version.new
    assert names_in(folder) == GATED
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert checked.returncode == 0, checked.stdout
    assert len((folder / "SHA256SUMS").read_text().splitlines()) == len(VERSION_FILES) - 2
    assert names_in(folder) - {line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()} == {
        "SHA256SUMS", "decision.json", "version.json"
    }  # fmt: skip
    description = json.loads((folder / "version.json").read_text())
    assert description["version"] == version.name
    assert description["scores"] == {"wer": 0.25, "cer": 0.05}
    for name, recorded in description["files"].items():
        data = (folder / name).read_bytes()
        assert recorded == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert {"output_graph.pb", "output_graph.pbmm", "openvino/output_graph.bin"} <= description["files"].keys()


def test_a_version_is_an_exported_model_and_an_ir(make_artifacts, target, tmp_path) -> None:
    folder = fetch(step.run(Settings(), make_artifacts(), target).uri, tmp_path / "fetched")
    model = ExportedModel.open(folder)
    assert model.sidecar["files"].keys() == {ExportedModel.FROZEN, ExportedModel.MAPPED, ExportedModel.TFLITE}
    assert model.alphabet == IntermediateRepresentation.open(folder / "openvino").alphabet


def test_the_same_files_are_published_once(make_artifacts, target) -> None:
    first = step.run(Settings(), make_artifacts(), target)
    again = step.run(Settings(), make_artifacts(), target)
    assert first.new
    assert not again.new
    assert (again.name, again.uri, again.description) == (first.name, first.uri, first.description)
    other = step.run(Settings(), make_artifacts(b"other"), target)
    assert other.new
    assert other.name != first.name


def test_a_version_never_changes(make_artifacts, target, tmp_path) -> None:
    settings = Settings(version="1.0")
    first = step.run(settings, make_artifacts(), target)
    with pytest.raises(InputError, match="never changes"):
        step.run(settings, make_artifacts(b"other"), target)
    assert not step.run(settings, make_artifacts(), target).new
    folder = fetch(first.uri, tmp_path / "fetched")
    assert names_in(folder) == GATED
    assert (folder / "output_graph.pb").read_bytes() == b"output_graph.pbweights"


def test_racing_runs_end_with_one_version_and_no_mixture(make_artifacts, target, tmp_path) -> None:
    variants = [make_artifacts(bytes([index]) * 50_000) for index in range(4)]
    start = threading.Barrier(len(variants))
    winners: list[step.PublishedVersion] = []
    losers: list[str] = []

    def publish(artifacts: dict[str, Path]) -> None:
        start.wait()
        try:
            winners.append(step.run(Settings(version="1.0"), artifacts, target))
        except InputError as error:
            losers.append(str(error))

    threads = [threading.Thread(target=publish, args=(artifacts,)) for artifacts in variants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert len(losers) == len(variants) - 1
    folder = fetch(winners[0].uri, tmp_path / "fetched")
    assert names_in(folder) == GATED
    for name, recorded in winners[0].description["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == recorded["sha256"]
    if not target.startswith("s3://"):
        assert {path.name for path in Path(target).iterdir()} == {"1.0"} | BESIDE


def test_a_run_that_died_in_the_middle_is_finished_by_its_repetition(make_artifacts, s3_bucket, tmp_path) -> None:
    artifacts = make_artifacts()
    finished = step.run(Settings(version="1.0"), artifacts, f"{s3_bucket}/elsewhere")
    claim = tmp_path / "claim"
    claim.write_text(json.dumps({"content": finished.description["content"]}))
    upload_file(claim, f"{s3_bucket}/models/1.0/{CLAIM}")
    upload_file(claim, f"{s3_bucket}/models/1.0/output_graph.pb")  # half a version: no version.json yet
    with pytest.raises(InputError, match="begun by another run"):
        step.run(Settings(version="1.0"), make_artifacts(b"other"), f"{s3_bucket}/models")
    version = step.run(Settings(version="1.0"), artifacts, f"{s3_bucket}/models")
    assert version.new
    download_folder(version.uri, tmp_path / "fetched")
    assert names_in(tmp_path / "fetched") == GATED
    assert (tmp_path / "fetched" / "output_graph.pb").read_bytes() == b"output_graph.pbweights"


def test_only_what_is_given_is_published(make_artifacts, tmp_path) -> None:
    version = step.run(Settings(), {"model": make_artifacts()["model"]}, str(tmp_path / "models"))
    assert names_in(Path(version.uri)) == {
        "SHA256SUMS", "alphabet.txt", "decision.json", "model.json", "output_graph.pb", "version.json"
    }  # fmt: skip


def test_a_checkpoint_that_no_training_could_start_from_is_refused(make_artifacts, tmp_path) -> None:
    """Damaged anywhere, cut short, or of another model: the next training would take it for the champion's."""
    artifacts = make_artifacts()
    for number, damage in enumerate(("flip", "cut", "index", "other")):
        checkpoint = trained(tmp_path / f"trained-{number}", replace(MADE, n_hidden=8 if damage == "other" else 4))
        data, index = (checkpoint / f"best_dev-7.{end}" for end in ("data-00000-of-00001", "index"))
        content = bytearray(data.read_bytes())
        content[-3] ^= 4
        if damage in ("flip", "cut"):
            data.write_bytes(content if damage == "flip" else content[:-50])
        elif damage == "index":
            index.write_bytes(b"best_dev-7")
        with pytest.raises(InputError, match=r"best_dev-7|not the checkpoint of"):
            step.run(Settings(), artifacts | {"checkpoint": checkpoint}, str(tmp_path / "models"))
    assert not (tmp_path / "models").exists()


def test_a_version_without_a_model_is_refused(make_artifacts, tmp_path) -> None:
    artifacts = make_artifacts()
    sidecar = artifacts["model"] / ExportedModel.MODEL
    write_sidecar(sidecar.parent, sidecar.name, {**json.loads(sidecar.read_text()), "files": {}})
    with pytest.raises(InputError, match="no model in it"):
        step.run(Settings(), artifacts, str(tmp_path / "models"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("samples.json", b"garbage", "not readable as JSON"),
        ("samples.json", b"[" * 100_000, "not readable as JSON"),
        ("samples.json", b'{"wav_filename": 1}', "expected a list of test clips"),
        ("samples.json", b'[{"wav_filename": "a.wav", "src": "a", "word_distance": -5, "word_length": 1}]', "clip 0"),
        ("samples.json", b'[{"wav_filename": "a.wav", "src": "a", "word_distance": 0, "word_length": 1}]', "its WER"),
        ("scores.json", b'{"wer": 0.25, "cer": 0.1}', "which model it measured"),
        ("scores.json", b'{"wer": 0.25, "cer": 0.1, "model": {"sha256": "' + b"0" * 64 + b'"}}', "of another model"),
        ("scores.json", b'{"wer": NaN}', "damaged"),
    ],
)
def test_scores_of_another_model_and_garbage_are_refused(
    name: str, content: bytes, message: str, make_artifacts, tmp_path
) -> None:
    """What the gate decides by has to be what the evaluation of this very model wrote."""
    artifacts = make_artifacts()
    (artifacts["evaluation"] / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        step.run(Settings(), artifacts, str(tmp_path / "models"))
    assert not (tmp_path / "models").exists()


def test_the_evaluation_of_an_ir_is_one_of_the_model(make_artifacts, tmp_path) -> None:
    """It goes by the digest of both files' digests."""
    artifacts = make_artifacts()
    parts = "".join(sha256(artifacts["ir"] / f"output_graph.{end}") for end in ("xml", "bin"))
    scores = artifacts["evaluation"] / "scores.json"
    measured = {"sha256": hashlib.sha256(parts.encode()).hexdigest()}
    write_json(scores, {**json.loads(scores.read_text()), "model": measured})
    assert step.run(Settings(), artifacts, str(tmp_path / "models")).new


def test_the_best_checkpoint_alone_goes_into_the_version(make_artifacts, target, tmp_path) -> None:
    checkpoint = trained(tmp_path / "trained")
    (checkpoint / ALPHABET).write_text("a\n")
    version = step.run(Settings(), make_artifacts() | {"checkpoint": checkpoint}, target)
    folder = fetch(version.uri, tmp_path / "fetched")
    assert names_in(folder / "checkpoint") == {
        "alphabet.txt", "best_dev-7.data-00000-of-00001", "best_dev-7.index", "best_dev_checkpoint"
    }  # fmt: skip
    assert find(folder / "checkpoint") == [str(folder / "checkpoint" / "best_dev-7")]
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder).returncode == 0


def test_published_files_are_read_only(make_artifacts, tmp_path) -> None:
    version = step.run(Settings(), make_artifacts(), str(tmp_path / "models"))
    modes = {(Path(version.uri) / name).stat().st_mode & 0o777 for name in VERSION_FILES}
    assert modes == {0o444}


def test_a_damaged_model_is_refused(make_artifacts, target) -> None:
    artifacts = make_artifacts()
    path = artifacts["ir"] / IntermediateRepresentation.BIN
    path.write_bytes(bytes(reversed(path.read_bytes())))  # of the recorded size
    with pytest.raises(InputError, match=r"output_graph\.bin is damaged"):
        step.run(Settings(), artifacts, target)
    assert not Path(target).exists() if not target.startswith("s3://") else not list_keys(target)


def test_artifacts_of_different_models_are_refused(make_artifacts, tmp_path) -> None:
    artifacts = make_artifacts() | {"ir": make_artifacts(symbols=" xyz")["ir"]}
    with pytest.raises(InputError, match="not of one model"):
        step.run(Settings(), artifacts, str(tmp_path / "models"))


def test_a_target_that_cannot_be_written_is_one_line(make_artifacts, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write there"):
        step.run(Settings(), make_artifacts(), str(tmp_path / "file" / "models"))


def test_a_missing_bucket_is_one_line(make_artifacts, s3_bucket) -> None:
    with pytest.raises(InputError, match="no such bucket"):
        step.run(Settings(), make_artifacts(), f"{s3_bucket}-missing/models")


@pytest.mark.parametrize("version", ["a/b", "../up", ".hidden", "with space", "champions", "releases"])
def test_version_names_that_are_no_folder_names_are_refused(version: str) -> None:
    with pytest.raises(InputError, match="--version"):
        Settings(version=version)


def test_a_pipeline_run_without_a_uri_publishes_into_its_artifact(make_artifacts, tmp_path) -> None:
    version = step.run_in_pipeline(Settings(), make_artifacts(), "", tmp_path / "artifact")
    assert Path(version.uri) == tmp_path / "artifact" / version.name
    assert names_in(Path(version.uri)) == VERSION_FILES


def test_a_pipeline_run_with_a_uri_leaves_a_note_of_it(make_artifacts, target, tmp_path) -> None:
    step.run_in_pipeline(Settings(version="7"), make_artifacts(), target, tmp_path / "artifact")
    assert names_in(tmp_path / "artifact") == {"version.json"}
    note = json.loads((tmp_path / "artifact" / "version.json").read_text())
    assert (note["version"], note["uri"]) == ("7", open_target(target).locate("7"))


def test_from_a_shell(make_artifacts, tmp_path) -> None:
    artifacts = make_artifacts()
    flags = [f"--{name}={path}" for name, path in artifacts.items()]
    command = [sys.executable, "-m", "components.publish", *flags, f"--publish_uri={tmp_path / 'models'}"]
    command += ["--min_test_clips", "4"]
    first, second = (subprocess.run(command, capture_output=True, text=True, env=os.environ) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout.startswith("published: ")
    assert second.stdout.startswith(f"already {first.stdout.splitlines()[0]}\n")
    assert first.stdout.splitlines()[1].endswith("is the new champion: it is the first")
    assert second.stdout.splitlines()[1].endswith("is the champion: it is the champion already")


def test_from_a_shell_a_missing_model_is_one_line(tmp_path) -> None:
    command = [sys.executable, "-m", "components.publish", f"--model={tmp_path / 'none'}", "--publish_uri=x"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
