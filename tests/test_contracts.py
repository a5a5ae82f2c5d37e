"""Who may import whom: the contracts hold for modules that nobody thought of, too."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components import images

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

TOOL = tomllib.loads((images.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
PACKAGES = ("speech", "components", "pipelines")
BESIDE = {"benchmarks", "examples", "requirements", "tests"}  # not in the wheel


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(images.ROOT / "pyproject.toml", folder)
    for name in PACKAGES:
        shutil.copytree(images.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def lint(checkout: Path) -> tuple[int, str]:
    """import-linter's exit code and report."""
    program = [Path(sys.executable).with_name("lint-imports"), "--cache-dir", checkout / "cache"]
    done = subprocess.run(program, cwd=checkout, env={"PYTHONPATH": "."}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_contracts_are_kept(checkout: Path) -> None:
    assert lint(checkout)[0] == 0


@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        ("speech/stray.py", "", "- speech.stray"),
        ("speech/attic/stray.py", "", "- speech.attic"),
        ("speech/clips/stray.py", "import tensorflow", "speech.clips.stray -> tensorflow"),
        ("speech/stray.py", "def f():\n    import kfp", "speech.stray -> kfp"),
        ("speech/storage/stray.py", "import speech.nn.model", "speech.storage is not allowed to import speech.nn"),
        ("speech/decoding/stray.py", "import openvino.runtime", "speech.decoding.stray -> openvino"),
        ("speech/decoding/stray.py", "import components.images", "speech is not allowed to import components"),
        ("components/stray/step.py", "import kfp", "components.stray.step -> kfp"),
        ("components/stray/step.py", "import tensorflow", "components.stray.step -> tensorflow"),
        ("components/publish/stray.py", "import botocore.config", "components.publish.stray -> botocore"),
        ("components/stray/work.py", "import components.train.data", "components.stray is not allowed to import"),
        ("components/train/stray.py", "import components.export.step", "components.train is not allowed to import"),
        ("components/train/stray.py", "import components.train.component", "components.train.stray -> components.tr"),
        ("components/stray/settings.py", "import speech.nn.model", "components.stray.settings is not allowed"),
        ("components/export/stray.py", "import pipelines.shape", "components is not allowed to import pipelines"),
        ("pipelines/local/stray.py", "import components.train.loop", "pipelines.local.stray -> components.train.loop"),
        ("pipelines/stray.py", "import components.publish.gate", "pipelines.stray -> components.publish.gate"),
    ],
)
def test_a_stray_module_breaks_one(checkout: Path, module: str, text: str, broken: str) -> None:
    path = checkout / module
    package = path.parent / "__init__.py"
    added = [path] if package.exists() else [path, package]
    try:
        for file in added:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text + "\n" if file == path else "", encoding="utf-8")
        code, told = lint(checkout)
        assert code == 1
        assert broken in told
    finally:
        for file in added:
            file.unlink()
        if len(added) > 1:
            path.parent.rmdir()


def test_no_package_is_outside() -> None:
    there = {path.parent.name for path in images.ROOT.glob("*/*.py")} - BESIDE
    assert there == set(PACKAGES) == set(TOOL["importlinter"]["root_packages"])
    assert {f"{name}*" for name in PACKAGES} == set(TOOL["setuptools"]["packages"]["find"]["include"])
