"""The check in native clients, with programs in the place of Pythons that have one (the real ones: tests/interop)."""

import json
import sys
from pathlib import Path

import pytest

from components.export import clients, step
from components.export.settings import ExportSettings
from speech.artifacts import ExportedModel
from speech.errors import InputError


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    return step.freeze(ExportSettings(), checkpoint, tmp_path_factory.mktemp("model"))


def program(folder: Path, lines: str) -> str:
    """It is called as `program -c SCRIPT FILE SAMPLES ANSWER`."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return str(path)


def answering(folder: Path, confidence: float, rate: int = 16_000) -> str:
    return program(folder, f"echo '{json.dumps(['fake', '1.0', rate, confidence, 'text'])}' > \"$5\"")


def test_the_right_confidence(model: ExportedModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected 16000 Hz and (-?[0-9.]+)") as refused:
        clients.check(model, [answering(tmp_path, 5.0)])
    expected = float(str(refused.value).rsplit(" ", 1)[1])
    assert expected < 0
    (line,) = clients.check(model, [answering(tmp_path, expected)])
    assert line.startswith("output_graph.pb: heard by fake 1.0 with confidence ")
    with pytest.raises(InputError, match="at 8000 Hz"):
        clients.check(model, [answering(tmp_path, expected, 8000)])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("kill -SEGV $$", "ended with -11: no message"),
        ("echo first; echo cannot load >&2; exit 1", "ended with 1: cannot load"),
        (f"exit {clients.EXIT_NO_CLIENT}", "neither deepspeech nor stt is installed there"),
    ],
)
def test_clients_that_fail(model: ExportedModel, tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        clients.check(model, [program(tmp_path, lines)])


def test_clients_of_other_formats_are_left_out(model: ExportedModel, tmp_path: Path) -> None:
    assert clients.check(model, [program(tmp_path, f"exit {clients.EXIT_OTHER_FORMAT}")]) == []


def test_pythons_without_a_client(model: ExportedModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        clients.check(model, [str(tmp_path / "python3.9")])
    if not clients.installed():
        with pytest.raises(InputError, match="neither deepspeech nor stt"):
            clients.check(model, [sys.executable])
