"""The Makefile's variables: another environment, another Python, the build for GPUs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and the scripts that it calls, with programs that only say how they are called."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


PROGRAM = """#!/bin/sh
case "$1" in
  -c) exit 0 ;;
  --version) echo "Python 3.12.1" ;;
  *) echo "$(basename "$0") $*${{UV_NO_CACHE:+ without a cache}}" >> {log} ;;
esac
[ "$2" = venv ] && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && cp "$0" "$4/bin/uv"
exit 0
"""


def make(checkout: Path, *arguments: str, home: Path | None = None) -> list[str]:
    """What is called by `make` with a Python that does nothing, of a user with that home."""
    log, python = checkout / "log", checkout / "python"
    log.unlink(missing_ok=True)
    python.write_text(PROGRAM.format(log=log))
    python.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home or checkout)}
    command = ["make", "--no-print-directory", *arguments, f"PYTHON={python}"]
    subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True)
    return log.read_text().splitlines() if log.is_file() else []


def synced(lines: list[str]) -> list[str]:
    """The locks that the environment was made of."""
    (line,) = (line for line in lines if line.startswith("uv pip sync"))
    return [Path(word).name for word in line.split() if word.endswith(".lock")]


def hashes_of(package: str, lock: str) -> int:
    """How many files of a package a lock allows."""
    block = re.search(rf"^{package}==.*\n(?:    .*\n)*", lock, re.MULTILINE)
    return block[0].count("\n    --hash") if block else 0


def test_the_environment_for_gpus_has_one_build_of_tensorflow_and_stays(checkout) -> None:
    assert synced(make(checkout, "setup")) == ["dev.lock"]
    assert make(checkout, "setup") == []  # up to date
    assert synced(make(checkout, "setup", "GPU=1")) == ["without-cpu-build.lock", "train-gpu.lock"]
    lock = (checkout / ".venv/without-cpu-build.lock").read_text(encoding="utf-8")
    whole = (ROOT / "requirements/dev.lock").read_text(encoding="utf-8")
    assert "\ntensorflow-cpu==" in whole
    assert "tensorflow-cpu==" not in lock
    assert lock.count("\n    --hash") == whole.count("\n    --hash") - hashes_of("tensorflow-cpu", whole)
    assert make(checkout, "setup") == []  # no GPU=1, and it stays what it is
    assert synced(make(checkout, "setup", "GPU=0")) == ["dev.lock"]
    assert make(checkout, "setup") == []


def test_another_environment_leaves_the_usual_one_alone(checkout) -> None:
    make(checkout, "setup", "VENV=build/pythons/3.12")
    assert (checkout / "build/pythons/3.12/.installed").is_file()
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(("gpu", "asks"), [("1", True), ("0", False)])
def test_a_demo_on_a_gpu_asks_for_one(checkout, gpu, asks) -> None:
    told = subprocess.run(
        ["make", "-n", "demo", f"GPU={gpu}"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert ("--train_flags='--devices gpu'" in told.stdout) == asks


def test_who_has_no_home_gets_the_packages_without_a_cache(checkout) -> None:
    (checkout / "file").write_text("")
    lines = make(checkout, "setup", home=checkout / "file")
    assert any(line.startswith("uv pip sync") and line.endswith("without a cache") for line in lines)
    lines = make(checkout, "setup", "VENV=other")
    assert not any(line.endswith("without a cache") for line in lines)
