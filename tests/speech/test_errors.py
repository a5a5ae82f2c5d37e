"""User errors end in one line and an exit code."""

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
        raise OSError(28, "No space left on device", "/data/x")
    assert exit_.value.code == EXIT_INPUT
    assert capsys.readouterr().err == "error: /data/x: No space left on device: make room or choose another folder\n"
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
