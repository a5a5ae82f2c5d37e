"""The image references: they follow what the images hold, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import images
from components.evaluate.settings import EvaluateSettings

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


def test_an_extension_is_the_other_image_and_a_further_lock(tree) -> None:
    for name in ("docker/evaluate.Dockerfile", "requirements/evaluate.lock", "requirements/ds-ctcdecoder.lock"):
        (tree / name).write_text("1")
    found = {}
    for changed in ("", "requirements/evaluate.lock", "requirements/ds-ctcdecoder.lock"):
        if changed:
            (tree / changed).write_text("2")
        images._digest.cache_clear()
        found[changed] = [images.fingerprint(name) for name in ("evaluate", "evaluate-ds-ctcdecoder")]
    before, with_lock, with_further_lock = found.values()
    assert before[0] != before[1]
    assert (before[0] != with_lock[0], before[1] != with_lock[1]) == (True, True)
    assert (with_lock[0] != with_further_lock[0], with_lock[1] != with_further_lock[1]) == (False, True)


@pytest.mark.parametrize("image", images.EXTENSIONS)
def test_an_extension_is_a_stage_of_its_dockerfile(image: str) -> None:
    dockerfile = images.dockerfile(image).read_text()
    assert f"\nFROM {images.VARIANTS[image]} AS {image}\n" in dockerfile
    assert f"requirements/{images.EXTENSIONS[image]}.lock" in dockerfile
    assert f"\nARG IMAGE={images.VARIANTS[image]}\n" in dockerfile  # a build without arguments makes the step's own


def test_the_image_with_ds_ctcdecoder_has_the_interpreter_that_the_step_looks_for() -> None:
    dockerfile = images.dockerfile("evaluate-ds-ctcdecoder").read_text()
    python = EvaluateSettings().ds_ctcdecoder_python
    assert f"COPY --from=ds-ctcdecoder /usr/local/bin/{python} /usr/local/bin/\n" in dockerfile
