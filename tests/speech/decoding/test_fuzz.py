"""No scorer file, however damaged, ends the process or gets past the checks as another error than InputError."""

import subprocess
import sys

import pytest

from tests.peers.environments import REPOSITORY


def fuzz(count: int, seed: int, *more: str) -> str:
    program = "tests.speech.decoding.fuzz_scorers"
    command = [sys.executable, "-W", "ignore", "-m", program, str(count), str(seed), *more]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"exit code {result.returncode}: {result.stderr[-2000:]}"
    return result.stdout


def test_damaged_scorers() -> None:
    outcome = fuzz(300, 1)
    assert "refused" in outcome
    assert "used" in outcome


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_many_damaged_scorers(seed: int) -> None:
    fuzz(8000, seed)


@pytest.mark.slow
def test_damaged_scorers_under_sanitizers() -> None:
    """No index outside its array, and no undefined arithmetic, whatever the file, the weights and the emissions."""
    assert "used" in fuzz(400, 11, "sanitized")
