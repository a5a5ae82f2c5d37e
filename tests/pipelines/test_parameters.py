"""A pipeline parameter is said once: a field in a step's settings.py, and `make tables`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import images

NEW = """    warmth: float = setting(0.25, "how warm", unit="K", pipeline=True)
    patience: int | None = setting(None, "how patient; not given: as usual", pipeline="train_patience")
    sights: tuple[str, ...] = setting(("sea", "sky"), "what to see", component=True)

    layer_norm: bool"""
CALL = """
import json
from components.train.settings import TrainSettings
from speech.settings.arguments import from_arguments
made = from_arguments(TrainSettings, {"warmth": 0.5, "sights": "hill,dale", "extra_flags": "--patience 4"}, "flags")
print(json.dumps([made.warmth, made.patience, made.sights, made.epochs]))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which TrainSettings has three more fields, after `make tables`."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("speech", "components", "pipelines", "docker", "requirements"):
        shutil.copytree(images.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "docs").mkdir()
    shutil.copy(images.ROOT / "docs" / "parameters.md", folder / "docs")
    path = folder / "components/train/settings.py"
    text = path.read_text(encoding="utf-8")
    assert text.count("    layer_norm: bool") == 1
    path.write_text(text.replace("    layer_norm: bool", NEW), encoding="utf-8")
    told = python(folder, "-m", "pipelines.tables")
    assert "components/train/component.py" in told
    assert python(folder, "-m", "pipelines.tables") == ""
    return folder


def python(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    program = [sys.executable, *arguments]
    return subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def spec(checkout: Path) -> dict[str, Any]:
    python(checkout, "-m", "pipelines", "compile", "--output", "pipeline.yaml")
    return next(yaml.safe_load_all((checkout / "pipeline.yaml").read_text(encoding="utf-8")))


def test_the_component_takes_it(checkout: Path, spec: dict[str, Any]) -> None:
    given = spec["components"]["comp-train"]["inputDefinitions"]["parameters"]
    assert given["warmth"]["defaultValue"] == 0.25
    assert given["warmth"]["description"] == "how warm [K]"
    assert given["patience"]["isOptional"]
    assert "defaultValue" not in given["patience"]
    assert given["sights"]["defaultValue"] == "sea sky"
    source = (checkout / "components/train/component.py").read_text(encoding="utf-8")
    assert (
        '    warmth: float = 0.25,\n    patience: Optional[int] = None,  # noqa: UP045\n    sights: str = "sea sky",\n'
        in source
    )


def test_the_pipeline_hands_it_over(spec: dict[str, Any]) -> None:
    given = spec["root"]["inputDefinitions"]["parameters"]
    assert given["warmth"]["defaultValue"] == 0.25
    assert given["train_patience"]["description"] == "how patient; not given: as usual"
    assert not {"patience", "sights"} & given.keys()
    handed = spec["root"]["dag"]["tasks"]["train"]["inputs"]["parameters"]
    assert handed["warmth"] == {"componentInputParameter": "warmth"}
    assert handed["patience"] == {"componentInputParameter": "train_patience"}


def test_it_is_a_flag_and_a_row(checkout: Path) -> None:
    page = (checkout / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert "| `warmth` | `0.25` | K | how warm |" in page
    assert "| `train_patience` |  |  | how patient" in page
    told = python(checkout, "-m", "pipelines", "run", "--help")
    assert "--warmth" in told
    assert "--train_patience" in told


def test_the_step_gets_it(checkout: Path) -> None:
    assert json.loads(python(checkout, "-c", CALL)) == [0.5, 4, ["hill", "dale"], 75]
