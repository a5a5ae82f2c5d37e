"""A child that crashes, hangs or takes too much is an error line of the parent's, and costs little."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from speech.errors import InputError
from speech.native import trial


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"x")
    return path


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def refuse() -> None:
    raise InputError("model.tflite: the reason")


def fail() -> None:
    raise KeyError("of a foreign library")


def eat() -> None:
    kept = [bytearray(1 << 30) for _ in range(64)]
    del kept


def write() -> None:
    Path("written.txt").write_text("by a model")


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (crash, r"model\.tflite: damaged: The Library crashes with it \(SIGSEGV\)"),
        (os.abort, r"crashes with it \(SIGABRT\)"),
        (refuse, "the reason"),
        (fail, "damaged: The Library ends with it"),
        (eat, "damaged: The Library ends with it"),
        (write, r"damaged: The Library (ends|crashes) with it"),
        (lambda: os._exit(3), "damaged: The Library ends with it"),
    ],
)
def test_what_a_child_does_is_one_line(
    work: Callable[[], None], message: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        trial.attempt(work, model, "The Library")
    assert not (tmp_path / "written.txt").exists() or not (tmp_path / "written.txt").read_text()


def test_a_child_that_hangs_is_ended(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TIME_S", 1)
    with pytest.raises(InputError, match="does not come to an end"):
        trial.attempt(lambda: time.sleep(60), model, "The Library")


def children() -> set[str]:
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


def test_a_child_leaves_nothing(model: Path) -> None:
    before = len(os.listdir("/proc/self/fd")), children()
    for _ in range(3):
        trial.attempt(lambda: None, model, "The Library")
    assert (len(os.listdir("/proc/self/fd")), children()) == before


def test_a_process_of_its_own(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For libraries with threads."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "crashing.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    (tmp_path / "refusing.py").write_text("import sys\nsys.exit(f'{sys.argv[1]}: the reason')\n")
    (tmp_path / "fine.py").write_text("")
    with pytest.raises(InputError, match="SIGSEGV"):
        trial.attempt_apart("crashing", model, "The Library")
    with pytest.raises(InputError, match=r"model\.tflite: the reason"):
        trial.attempt_apart("refusing", model, "The Library")
    trial.attempt_apart("fine", model, "The Library")
