"""What is found out before the work, and how it is said."""

import sys
from pathlib import Path

import pytest

from speech.errors import InputError, RetryError
from speech.findings import Findings
from speech.storage.files import write_bytes
from speech.storage.objects import list_keys


def found(findings: Findings) -> str:
    with pytest.raises(InputError) as raised:
        findings.raise_found()
    return str(raised.value)


def test_one_finding_is_one_line_and_several_are_a_list() -> None:
    findings = Findings()
    findings.raise_found()
    findings.add("one")
    findings.add("one")
    assert found(findings) == "one"
    findings.add("two")
    assert found(findings) == "2 things have to be mended before the work can begin:\n  1. one\n  2. two"


def test_folders_that_take_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    findings = Findings()
    findings.takes_files("a", str(tmp_path / "file"))
    findings.takes_files("b", str(tmp_path / "file" / "below" / "it"))
    findings.takes_files("c", "/proc/self/new")  # root may write everywhere, but not there
    findings.takes_file("d", str(tmp_path))
    assert [line.split(": ")[0] for line in findings.lines] == [
        f"--a {tmp_path}/file", f"--b {tmp_path}/file/below/it", "--c /proc/self/new", f"--d {tmp_path}",
    ]  # fmt: skip
    assert "is a file: give a folder" in findings.lines[0]
    assert "/proc/self cannot be written" in findings.lines[2]


def test_what_can_be_written_stays_as_it_is(tmp_path: Path) -> None:
    findings = Findings()
    findings.takes_files("a", str(tmp_path / "new" / "folder"))
    findings.takes_file("b", str(tmp_path / "new.json"))
    findings.has_room("a", str(tmp_path / "new"), 1000, "checkpoints")
    findings.raise_found()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    findings = Findings()
    findings.has_room("checkpoint_dir", str(tmp_path / "new"), 10**18, "7 checkpoints")
    assert "are free there, and 7 checkpoints take 1000000000.0 GB: make room" in found(findings)


def test_packages_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    findings = Findings()
    findings.has_packages("evaluate", ("numpy", "rapidfuzz"))
    findings.has_packages("evaluate", ("numpy",))
    assert found(findings) == "this command needs rapidfuzz: pip install 'speechmill[evaluate]'"


def test_buckets(tmp_path: Path, s3_bucket: str) -> None:
    from speech.storage.objects import upload_file

    write_bytes(tmp_path / "x", b"x")
    upload_file(tmp_path / "x", f"{s3_bucket}/data/train.csv")
    findings = Findings()
    assert findings.exists("train_files", f"{s3_bucket}/data/train.csv")
    assert findings.exists("corpus", f"{s3_bucket}/data")
    findings.takes_files("checkpoint_dir", f"{s3_bucket}/new")
    findings.raise_found()
    assert [key for key, _ in list_keys(f"{s3_bucket}/")] == ["data/train.csv"]  # the attempt left nothing
    findings.exists("train_files", f"{s3_bucket}/data/none.csv")
    findings.takes_files("checkpoint_dir", "s3://no-such-bucket-at-all/x")
    assert len(findings.lines) == 2
    assert "--train_files" in findings.lines[0]
    assert "no such bucket" in findings.lines[1]
    away = Findings()
    with away.noting():
        raise RetryError("the store is away")
    with pytest.raises(RetryError):
        away.raise_found()
