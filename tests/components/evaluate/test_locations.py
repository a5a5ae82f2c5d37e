"""Paths in an object store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.evaluate.locations import fetch_model
from speech.clips.sources import fetch_source
from speech.errors import InputError
from speech.storage.objects import delete_objects, download_folder, list_keys, upload_file, upload_folder, write_object

Command = Callable[..., tuple[int, str, str]]


def test_everything_may_lie_in_an_object_store(
    command: Command, exported: Path, clips: Path, tmp_path: Path, s3_bucket: str
) -> None:
    upload_folder(exported, f"{s3_bucket}/models/en")
    upload_folder(clips, f"{s3_bucket}/corpora/en")
    code, out, err = command(
        *("--model", f"{s3_bucket}/models/en", "--test_files", f"{s3_bucket}/corpora/en/dev.csv"),
        *("--evaluation", f"{s3_bucket}/scores/1", "--test_output_file", f"{s3_bucket}/samples/1.json"),
        *("--report_count", 0),
    )
    assert code == 0, err
    assert f"report: {s3_bucket}/scores/1/report.html" in out
    download_folder(f"{s3_bucket}/scores/1", tmp_path / "remote")
    assert {path.name for path in (tmp_path / "remote").iterdir()} == {
        "scores.json", "samples.json", "report.html", "summary.md",
    }  # fmt: skip
    assert [key for key, _ in list_keys(f"{s3_bucket}/samples/")] == ["samples/1.json"]
    code, out, err = command(
        *("--model", exported, "--test_files", clips / "dev.csv", "--evaluation", tmp_path / "local"),
        *("--report_count", 0, "--champion", f"{s3_bucket}/scores/1"),
    )
    assert code == 0, err
    assert (tmp_path / "local" / "samples.json").read_bytes() == (tmp_path / "remote" / "samples.json").read_bytes()


def test_single_files(tmp_path: Path, s3_bucket: str) -> None:
    for name in ("m.pb", "n.xml", "n.bin"):
        (tmp_path / name).write_text(name)
        upload_file(tmp_path / name, f"{s3_bucket}/models/{name}")
    assert fetch_model(f"{s3_bucket}/models/m.pb", tmp_path / "a").read_text() == "m.pb"
    assert fetch_model(f"{s3_bucket}/models/n.xml", tmp_path / "b").with_suffix(".bin").read_text() == "n.bin"
    assert fetch_model("models/m.pb", tmp_path) == Path("models/m.pb")


def test_absent_objects_are_named(tmp_path: Path, s3_bucket: str) -> None:
    (tmp_path / "x").write_text("x")
    upload_file(tmp_path / "x", f"{s3_bucket}/corpora/x")
    for uri in ("models/absent", "models/absent.pb"):
        with pytest.raises(InputError, match=uri):
            fetch_model(f"{s3_bucket}/{uri}", tmp_path / "m")
    with pytest.raises(InputError, match=r"corpora/test\.csv: no such object"):
        fetch_source(f"{s3_bucket}/corpora/test.csv", tmp_path / "s")


def test_objects_of_others_stay(command: Command, exported: Path, clips: Path, s3_bucket: str) -> None:
    given = ("--model", exported, "--test_files", clips / "dev.csv", "--evaluation", f"{s3_bucket}/scores")
    write_object(f"{s3_bucket}/scores/report.html", b"theirs")
    code, _, err = command(*given)
    assert (code, err.count("\n")) == (2, 1)
    assert "scores/report.html would be replaced, but no record there says" in err
    assert list_keys(f"{s3_bucket}/") == [("scores/report.html", 6)]
    delete_objects([f"{s3_bucket}/scores/report.html"])
    write_object(f"{s3_bucket}/scores/notes", b"theirs")
    for _ in range(2):
        assert command(*given)[0] == 0
    assert len(list_keys(f"{s3_bucket}/scores/")) == 5
