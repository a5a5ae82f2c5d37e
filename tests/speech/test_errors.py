"""User errors end in one line and an exit code."""

import errno
import os
from pathlib import Path

import pytest

from speech import errors
from speech.errors import EXIT_INPUT, EXIT_RETRY, InputError, RetryError, one_line_errors


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("no corpus"), EXIT_INPUT, "error: no corpus\n"),
        (RetryError("SIGTERM"), EXIT_RETRY, "interrupted: SIGTERM\n"),
    ],
)
def test_one_line(error: Exception, code: int, line: str, capsys) -> None:
    with pytest.raises(SystemExit) as exit_, one_line_errors():
        raise error
    assert exit_.value.code == code
    assert capsys.readouterr().err == line


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), one_line_errors():
        _ = 1 / 0


def test_a_disk_that_refuses_is_no_bug(capsys) -> None:
    with pytest.raises(SystemExit) as exit_, one_line_errors():
        raise OSError(errno.EROFS, "Read-only file system", "/data/x")
    assert exit_.value.code == EXIT_INPUT
    assert capsys.readouterr().err == "error: /data/x: Read-only file system: choose another folder or name\n"
    with pytest.raises(FileNotFoundError), one_line_errors():
        raise FileNotFoundError(2, "No such file or directory", "/data/x")


def test_a_pod_is_told_the_code_that_its_launcher_hides(tmp_path, monkeypatch) -> None:
    """Kubernetes shows it as the reason of the container's end, and retries can be made to depend on it."""
    told = tmp_path / "termination-log"
    monkeypatch.setattr(errors, "TERMINATION_LOG", told)
    with pytest.raises(SystemExit), one_line_errors():
        raise InputError("no corpus")
    assert not told.exists()  # not in a pod
    told.touch()
    for error, text in (
        (InputError("no corpus"), "exit status 2: error: no corpus\n"),
        (RetryError("SIGTERM"), "exit status 75: interrupted: SIGTERM\n"),
    ):
        with pytest.raises(SystemExit), one_line_errors():
            raise error
        assert told.read_text() == text


@pytest.mark.parametrize("how", ["plain", "as an input error", "as a library's"])
def test_a_full_disk_is_worth_another_attempt_everywhere(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same code, however it was told on the way: somebody makes room, and the step goes on."""

    def fill() -> None:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/models/output_graph.bin")
        if how == "plain":
            raise full
        if how == "as a library's":
            raise RuntimeError(f"writing output_graph.bin: {os.strerror(errno.ENOSPC)}\nat some.cpp:5")
        raise InputError("/models: cannot write there") from full

    with pytest.raises(SystemExit) as ended, one_line_errors():
        fill()
    assert ended.value.code == EXIT_RETRY
    line = capsys.readouterr().err
    assert line.startswith("interrupted: ")
    assert line.count("\n") == 1


def test_a_name_that_is_too_long_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, one_line_errors():
        Path("/tmp", "x" * 300).write_text("")
    assert ended.value.code == EXIT_INPUT
    assert "File name too long" in capsys.readouterr().err
