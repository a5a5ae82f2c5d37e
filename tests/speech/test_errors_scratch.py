"""Where temporary files go, and the line where they cannot be written."""

import os
import tempfile
from pathlib import Path

import pytest

from speech.errors import EXIT_INPUT, SCRATCH_VARIABLE, one_line_errors


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step changes for its process is put back."""
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.mark.parametrize("variable", [SCRATCH_VARIABLE, "TMPDIR"])
def test_a_folder_that_cannot_be_written_is_one_line(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Python by itself would take /tmp, or the current folder."""
    (tmp_path / "scratch").touch()  # root, who may run the tests, can write to any folder
    monkeypatch.setenv(variable, str(tmp_path / "scratch"))
    with pytest.raises(SystemExit) as ended, one_line_errors():
        pytest.fail("the step has begun")
    assert ended.value.code == EXIT_INPUT
    said = capsys.readouterr().err
    assert said.startswith(f"error: {variable} {tmp_path / 'scratch'}: user {os.getuid()} cannot write temporary files")
    assert said.count("\n") == 1


def test_temporary_files_go_to_the_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCRATCH_VARIABLE, str(tmp_path))
    with one_line_errors(), tempfile.TemporaryDirectory() as folder:
        assert Path(folder).parent == tmp_path
        assert os.environ["TMPDIR"] == str(tmp_path)  # for the processes that the step starts
    assert list(tmp_path.iterdir()) == []
