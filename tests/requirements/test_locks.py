"""The locks hold what pyproject.toml asks for, by hash, and name no package registry."""

import re
from pathlib import Path

import pytest

from components import images

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

REQUIREMENTS = images.ROOT / "requirements"
PROJECT = tomllib.loads((images.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
OF_IMAGES = sorted(
    set(REQUIREMENTS.glob("*.lock"))
    - {REQUIREMENTS / f"{name}.lock" for name in ("dev", "uv", "train-gpu", "ds-ctcdecoder")}
)
STEP_EXTRAS = sorted(set(EXTRAS) - {"pipeline", "onnx", "locales", "tracking"})  # which no image has


def names(requirements: list[str]) -> set[str]:
    """The packages of requirements such as `kfp==2.17.0` and `tensorflow[and-cuda]==2.21.*; marker`."""
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}


def locked(path: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==", path.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("extra", STEP_EXTRAS)
def test_every_image_s_lock_holds_its_extra(extra: str) -> None:
    wanted = names([*PROJECT["project"]["dependencies"], *EXTRAS[extra]])
    assert wanted <= locked(REQUIREMENTS / f"{extra}.lock"), "run `make lock`"


def test_the_development_lock_holds_everything() -> None:
    wanted = names([*PROJECT["dependency-groups"]["dev"], *PROJECT["project"]["dependencies"]])
    for extra in set(EXTRAS) - {"train-gpu"}:
        wanted |= names(EXTRAS[extra])
    assert wanted <= locked(REQUIREMENTS / "dev.lock"), "run `make lock`"


def test_the_lock_of_python_3_9_holds_what_it_was_made_of() -> None:
    text = (REQUIREMENTS / "ds-ctcdecoder.lock").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", text, re.MULTILINE))
    assert pins.pop("numpy").startswith("1.")
    assert [f"{name}=={version}" for name, version in pins.items()] == ["ds-ctcdecoder==0.9.3"]
    wanted = (REQUIREMENTS / "ds-ctcdecoder.in").read_text(encoding="utf-8").splitlines()
    assert "ds-ctcdecoder==0.9.3" in wanted


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.lock")), ids=lambda path: path.name)
def test_a_lock_pins_by_hash_and_names_no_registry(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    pins = re.findall(r"^[a-z0-9._-]+(?:\[.*\])?==.*(?:\n    --hash=.*)*", text, re.MULTILINE)
    assert pins
    assert all("--hash=sha256:" in pin for pin in pins)


@pytest.mark.parametrize("path", OF_IMAGES, ids=lambda path: path.name)
def test_images_have_the_versions_that_the_tests_ran_with(path: Path) -> None:
    pins = set(re.findall(r"^([a-z0-9._-]+(?:\[.*\])?==[^ \\]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert pins <= set(
        re.findall(r"^([a-z0-9._-]+==[^ \\]+)", (REQUIREMENTS / "dev.lock").read_text(encoding="utf-8"), re.MULTILINE)
    )
