"""The steps' image references, once.

The tag is a fingerprint of what the image is built from: the step's own folder, the shared `speech`, the Dockerfile and
the lock. So a change of the code changes the reference, and no cache of Kubeflow Pipelines (on a cluster or local)
mistakes the results of the old code for those of the new.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPOSITORY = "speechmill"  # `speechmill compile --registry` puts a registry's name in front


def dockerfile(step: str) -> Path:
    """The Dockerfile of a step's image."""
    return ROOT / "docker" / f"{VARIANTS.get(step, step)}.Dockerfile"


def locks(step: str) -> tuple[str, ...]:
    """The locks of what an image holds besides kfp, its own first."""
    return (VARIANTS[step], EXTENSIONS[step]) if step in EXTENSIONS else (step,)


def sources(step: str) -> list[Path]:
    """The files that the image of a step (such as `import-cv`) is built from, in a fixed order."""
    folder = ROOT / "components" / PACKAGES.get(step, step.replace("-", "_"))
    fixed = [
        ROOT / "components" / "__init__.py",
        dockerfile(step),
        *(ROOT / "requirements" / f"{lock}.lock" for lock in (*locks(step), "kfp")),
    ]
    files = [*fixed, *_files(ROOT / "speech"), *_files(folder)]
    return [path for path in files if path.is_file()]  # an installed package has no Dockerfiles and locks beside it


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if "__pycache__" not in path.parts and path.suffix != ".md":
            yield path


@cache
def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def fingerprint(step: str) -> str:
    """16 hexadecimal digits that change with any of the step's sources."""
    total = hashlib.sha256()
    for path in sources(step):
        total.update(path.relative_to(ROOT).as_posix().encode("utf-8") + b"\0" + _digest(path))
    return total.hexdigest()[:16]


def reference(step: str) -> str:
    """The image of a step, such as `speechmill/train:4f2a9c01d3b7e856`."""
    return f"{REPOSITORY}/{step}:{fingerprint(step)}"


# Images whose code lies in a folder of another name.
PACKAGES = {"convert-mmap": "export", "train-gpu": "train", "evaluate-ds-ctcdecoder": "evaluate"}
# Images made by the Dockerfile of another one: with the lock of their own name in place of the other's, or, if they are
# extensions, as a stage on top of the other one, with a further lock.
VARIANTS = {"train-gpu": "train", "evaluate-ds-ctcdecoder": "evaluate"}
EXTENSIONS = {"evaluate-ds-ctcdecoder": "ds-ctcdecoder"}

IMPORT_CV = reference("import-cv")
TRAIN = reference("train")
TRAIN_GPU = reference("train-gpu")
EXPORT = reference("export")
CONVERT_MMAP = reference("convert-mmap")
CONVERT_OPENVINO = reference("convert-openvino")
EVALUATE = reference("evaluate")
EVALUATE_DS_CTCDECODER = reference("evaluate-ds-ctcdecoder")
BUILD_SCORER = reference("build-scorer")
PUBLISH = reference("publish")

STEPS = (
    "import-cv", "train", "export", "convert-mmap", "convert-openvino", "evaluate", "build-scorer", "publish"
)  # fmt: skip
