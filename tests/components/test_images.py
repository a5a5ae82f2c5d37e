"""The image references: they follow what the images hold, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import images

STEPS = ["import-cv", "train", "export", "convert-mmap", "convert-openvino", "evaluate", "build-scorer", "publish"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small repository with the two steps `train` and `convert-mmap`."""
    files = {
        "speech/audio.py": "1", "components/__init__.py": "", "components/train/step.py": "1",
        "components/export/step.py": "1", "docker/train.Dockerfile": "1", "docker/convert-mmap.Dockerfile": "1",
        "requirements/train.lock": "1", "requirements/kfp.lock": "1", "README.md": "1",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(images, "ROOT", tmp_path)
    images._digest.cache_clear()
    yield tmp_path
    images._digest.cache_clear()


def fingerprints() -> tuple[str, str]:
    images._digest.cache_clear()
    return images.fingerprint("train"), images.fingerprint("convert-mmap")


@pytest.mark.parametrize(
    ("name", "train", "convert_mmap"),
    [
        ("speech/audio.py", True, True),
        ("requirements/kfp.lock", True, True),
        ("components/train/step.py", True, False),
        ("components/train/new.html.j2", True, False),
        ("components/export/step.py", False, True),
        ("docker/train.Dockerfile", True, False),
        ("requirements/train.lock", True, False),
        ("README.md", False, False),
        ("components/train/README.md", False, False),
        ("components/train/__pycache__/step.pyc", False, False),
    ],
)
def test_a_fingerprint_changes_with_what_the_image_holds(tree, name, train, convert_mmap) -> None:
    before = fingerprints()
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("2")
    after = fingerprints()
    assert tuple(one != other for one, other in zip(before, after, strict=True)) == (train, convert_mmap)


def test_a_renamed_file_changes_it(tree) -> None:
    before = fingerprints()
    (tree / "speech" / "audio.py").rename(tree / "speech" / "sound.py")
    assert fingerprints()[0] != before[0]


def test_references_are_valid_image_names() -> None:
    for step in STEPS:
        assert re.fullmatch(r"speechmill/[a-z-]+:[0-9a-f]{16}", images.reference(step)), step


@pytest.mark.parametrize("step", STEPS)
def test_every_image_has_its_dockerfile_and_lock(step: str) -> None:
    names = {path.relative_to(images.ROOT).as_posix() for path in images.sources(step)}
    assert {f"docker/{step}.Dockerfile", f"requirements/{step}.lock", "requirements/kfp.lock"} <= names
    dockerfile = (images.ROOT / "docker" / f"{step}.Dockerfile").read_text()
    package = images.PACKAGES.get(step, step.replace("-", "_"))
    assert f"components/{package}/" in dockerfile
    assert f"{step}.lock" in dockerfile
