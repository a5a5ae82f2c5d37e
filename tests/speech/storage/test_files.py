"""Atomic local writes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from speech.storage import files

ROOT = Path(__file__).parents[3]


def test_atomic_path_leaves_the_old_file_on_failure(tmp_path) -> None:
    path = tmp_path / "x.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_write_json_and_sha256(tmp_path) -> None:
    files.write_json(tmp_path / "x.json", {"é": 1})
    assert (tmp_path / "x.json").read_bytes() == '{\n  "é": 1\n}\n'.encode()
    files.write_bytes(tmp_path / "abc", b"abc")
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sha256_on_python_3_10(tmp_path, monkeypatch) -> None:
    files.write_bytes(tmp_path / "large", b"x" * ((1 << 20) + 1))
    expected = hashlib.sha256(b"x" * ((1 << 20) + 1)).hexdigest()
    monkeypatch.delattr(hashlib, "file_digest", raising=False)
    assert files.sha256(tmp_path / "large") == expected


def test_replace_folder(tmp_path) -> None:
    for name, content in (("old", "1"), ("new", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(content)
    files.replace_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old/f").read_text() == "2"
    assert os.listdir(tmp_path) == ["old"]


KILLED = """
import os, sys
from speech.storage import files
with files.atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_writer_left_goes_with_the_next_one_and_what_a_living_one_writes_stays(tmp_path) -> None:
    path = tmp_path / "x[1].txt"
    command = [sys.executable, "-c", KILLED, str(path)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout.readline() == "writing\n"
    (beside,) = os.listdir(tmp_path)
    files.write_text(path, "another's")
    assert sorted(os.listdir(tmp_path)) == sorted([beside, path.name])
    writer.communicate("\n")
    assert sorted(os.listdir(tmp_path)) == sorted([beside, path.name])
    (tmp_path / ".y.txt.abcdefgh.tmp").write_text("of another file")
    files.write_text(path, "new")
    assert sorted(os.listdir(tmp_path)) == [".y.txt.abcdefgh.tmp", path.name]
    assert path.read_text() == "new"
