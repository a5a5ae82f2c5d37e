"""Continuous integration tries every Python that the project says it supports, with the commands of the README."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_matrix_is_what_the_project_supports() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["test"]
    matrix = job["strategy"]["matrix"]
    supported = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert supported
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(supported[1]), int(supported[2]))]
    assert all(system.startswith("ubuntu") for system in matrix["os"])
    assert all(entry["untested"] for entry in matrix["include"])  # what nobody has run fails nothing
    assert {"make test", "make demo"} <= {step.get("run") for step in job["steps"]}


def test_bare_machines_are_those_of_the_test() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["fresh"]
    (line,) = (step["run"] for step in job["steps"] if "FRESH_IMAGES" in step.get("env", {}))
    path = ROOT / line.split()[-1]
    images = re.search(r'"FRESH_IMAGES", "([^"]+)"', path.read_text(encoding="utf-8"))
    assert images
    assert job["strategy"]["matrix"]["image"] == images[1].split()
