"""The image references: they follow what the images hold, and nothing else."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import images
from components.evaluate.settings import EvaluateSettings

STEPS = ["import-cv", "train", "export", "convert-mmap", "convert-openvino", "evaluate", "build-scorer", "publish"]
ALL = {*STEPS, *images.VARIANTS}
PROGRAM = """
import json
from components import images
print(json.dumps({name: images.fingerprint(name) for name in (*images.STEPS, *images.VARIANTS)}))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what images are built from."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("speech", "components", "docker", "requirements"):
        shutil.copytree(images.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def before(checkout: Path) -> dict[str, str]:
    return fingerprints(checkout)


def fingerprints(checkout: Path) -> dict[str, str]:
    """The fingerprint of every image, by a process that has only this code."""
    program = [sys.executable, "-c", PROGRAM]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(program, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def changed(checkout: Path, before: dict[str, str], name: str, text: str) -> set[str]:
    """The images whose tag another content of a file changes."""
    path = checkout / name
    old = path.read_bytes() if path.is_file() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((old or b"") + text.encode())
    try:
        return {image for image, fingerprint in fingerprints(checkout).items() if fingerprint != before[image]}
    finally:
        path.unlink() if old is None else path.write_bytes(old)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("speech/errors.py", "\n# a comment\n\n", set()),
        ("speech/errors.py", "\nCODE = 3\n", ALL),
        ("components/convert_openvino/ir/network.py", "\nCODE = 3\n", {"convert-openvino"}),
        ("components/train/loop.py", "\nCODE = 3\n", {"train", "train-gpu"}),
        ("components/train/new.html.j2", "a template", {"train", "train-gpu"}),
        ("components/train/component.py", "\nCODE = 3\n", set()),  # reaches the image as text, through kfp
        ("components/export/delivery.py", "\nCODE = 3\n", {"export"}),  # only the shell's export has it
        ("components/train/README.md", "text", set()),
        ("requirements/kfp.lock", "# other", ALL),
        ("requirements/train.lock", "# other", {"train"}),
        ("requirements/evaluate.lock", "# other", {"evaluate", "evaluate-ds-ctcdecoder"}),
        ("requirements/ds-ctcdecoder.lock", "# other", {"evaluate-ds-ctcdecoder"}),
        ("docker/train.Dockerfile", "# other", {"train", "train-gpu"}),
    ],
)
def test_a_tag_changes_with_what_the_image_runs(checkout, before, name, text, expected) -> None:
    assert changed(checkout, before, name, text) == expected


CODE = b'''"""Text."""
import os  # why


def f(a: str = "# none", b: str = '"') -> str:  # "quoted"
    """Two
    lines."""
    c = """

# part of the string
    """
    return a + c  # done
'''


def test_comments_and_docstrings_do_not_count() -> None:
    left = [
        b"import os",
        b"""def f(a: str = "# none", b: str = '"') -> str:""",
        b'    c = """',
        b"",
        b"# part of the string",
        b'    """',
        b"    return a + c",
    ]
    assert images._what_runs(CODE).splitlines() == left


@pytest.mark.parametrize("step", ["train", "evaluate"])
def test_what_runs_is_the_code(step: str) -> None:
    """An independent judge: without docstrings, the syntax tree stays as it was."""
    for path in images.sources(step):
        if path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                    del node.body[0]
            kept = images._what_runs(path.read_bytes())
            if all(getattr(node, "body", True) for node in ast.walk(tree)):
                assert ast.dump(ast.parse(kept)) == ast.dump(tree), path


def test_only_the_images_that_compute_hold_the_acoustic_model() -> None:
    holds = {step for step in STEPS if "speech.nn.model" in images.modules(step)}
    assert holds == {"train", "export", "convert-mmap", "evaluate"}


@pytest.mark.parametrize("step", STEPS)
def test_an_image_holds_all_that_its_component_imports(step: str, tmp_path: Path) -> None:
    """In a folder with the image's files alone, everything that its modules import is there."""
    own = {path.relative_to(images.ROOT) for path in images.sources(step)}
    for path in own:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images.ROOT / path, tmp_path / path)
    for path in (path for path in own if path.suffix == ".py"):
        for name in imported(tmp_path / path):
            file = tmp_path.joinpath(*name.split("."))
            attribute_of = file.parent.with_suffix(".py").is_file() or (file.parent / "__init__.py").is_file()
            assert file.with_suffix(".py").is_file() or (file / "__init__.py").is_file() or attribute_of, (path, name)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in images.CODE:
            yield f"{node.module}"
            yield from (f"{node.module}.{name.name}" for name in node.names)


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
