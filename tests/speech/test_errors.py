"""User errors end in one line and an exit code."""

import pytest

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
