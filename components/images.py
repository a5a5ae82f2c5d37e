"""The steps' image references, once; what an image holds follows from the import graph.

An image holds what its component functions import and what can be run in it, with all that those import in turn:
modules, and the files beside them (C++ sources, templates). The tag is a fingerprint of these files, the Dockerfile and
the locks, with comments and docstrings left out. So a change of the code changes the references of the images that run
it, and no cache of Kubeflow Pipelines (on a cluster or local) mistakes the results of the old code for those of the
new; and a change that an image does not run leaves its tag, and what is cached, alone.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
REPOSITORY = "speechmill"  # `speechmill compile --registry` puts a registry's name in front
CODE = ("speech", "components")
DOCTOR = "speech.doctor.__main__"  # in every image: in a pod it is the first thing to run


def dockerfile(step: str) -> Path:
    """The Dockerfile of a step's image."""
    return ROOT / "docker" / f"{VARIANTS.get(step, step)}.Dockerfile"


def locks(step: str) -> tuple[str, ...]:
    """The locks of what an image holds besides kfp, its own first."""
    return (VARIANTS[step], EXTENSIONS[step]) if step in EXTENSIONS else (step,)


def sources(step: str) -> list[Path]:
    """The files that the image of a step (such as `import-cv`) is built from, in a fixed order."""
    fixed = [dockerfile(step), *(ROOT / "requirements" / f"{lock}.lock" for lock in (*locks(step), "kfp"))]
    files = [*fixed, *sorted(file for module in modules(step) for file in _files_of(module))]
    return [path for path in files if path.is_file()]  # an installed package has no Dockerfiles and locks beside it


def modules(step: str) -> set[str]:
    """The names of the modules that a step's image holds."""
    graph = _graph()
    held = _with_packages(set(_roots(step)) & graph.modules)
    while True:
        reached = held | {module for root in held for module in _upstream(root)}
        reached = _with_packages(reached)
        if reached == held:
            return held
        held = reached


def _roots(step: str) -> Iterator[str]:
    """What the component functions of an image import, and what its commands run."""
    yield DOCTOR
    step = VARIANTS.get(step, step)
    folder = f"components.{PACKAGES.get(step, step.replace('-', '_'))}"
    yield from COMMANDS.get(step, (module for module in _graph().modules if module.startswith(f"{folder}.")))
    constant = step.upper().replace("-", "_")
    for function in ast.parse(_path(f"{folder}.component").read_text(encoding="utf-8")).body:
        if isinstance(function, ast.FunctionDef) and f"images.{constant}" in map(ast.unparse, _base_images(function)):
            for statement in ast.walk(function):
                if isinstance(statement, ast.ImportFrom) and statement.module:
                    yield statement.module
                    yield from (f"{statement.module}.{name.name}" for name in statement.names)


def _base_images(function: ast.FunctionDef) -> Iterator[ast.expr]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call):
            yield from (keyword.value for keyword in decorator.keywords if keyword.arg == "base_image")


@cache
def _graph() -> grimp.ImportGraph:
    graph = grimp.build_graph(*CODE, cache_dir=None)
    for module in sorted(graph.modules):
        if module == __name__ or module.endswith(".component"):  # interfaces: they reach an image as text, through kfp
            graph.remove_module(module)
    return graph


@cache
def _upstream(module: str) -> frozenset[str]:
    return frozenset(_graph().find_upstream_modules(module))


def _with_packages(names: Iterable[str]) -> set[str]:
    """The same with the packages around them, and what these packages run as (`python -m speech.decoding`)."""
    parts = [name.split(".") for name in names]
    held = {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}
    packages = {name for name in held if name.startswith("speech.")}
    return held | ({f"{name}.__main__" for name in packages} & _graph().modules)


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _files_of(module: str) -> Iterator[Path]:
    """A module's file; for a package also what lies in its folder and is no module."""
    path = _path(module)
    yield path
    if path.name == "__init__.py":
        folders = [
            path.parent,
            *(item for item in path.parent.iterdir() if item.is_dir() and not any(item.glob("*.py"))),
        ]
        for file in (file for folder in folders if folder.name != "__pycache__" for file in folder.iterdir()):
            if file.is_file() and file.suffix not in (".py", ".pyc", ".md", ".png"):
                yield file


@cache
def _digest(path: Path) -> bytes:
    content = path.read_bytes()
    return hashlib.sha256(_what_runs(content) if path.suffix == ".py" else content).digest()


# A string (of the kinds that Python 3.10 knows, so without quotes of its own kind inside), or a comment.
_STRING_OR_COMMENT = re.compile(
    rb'''"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(#[^\n]*)'''
)

_NEWLINE = b"\0"  # of a string: it stays where those of the code may go


def _what_runs(code: bytes) -> bytes:
    """Python code without comments, docstrings and empty lines; the same under every version of Python."""
    lines = code.splitlines()
    for text in _docstrings(ast.parse(code).body):
        lines[text.lineno - 1 : text.end_lineno] = [b""] * ((text.end_lineno or text.lineno) - text.lineno + 1)
    left = _STRING_OR_COMMENT.sub(
        lambda match: b"" if match[1] else match[0].replace(b"\n", _NEWLINE), b"\n".join(lines)
    )
    return b"\n".join(line.rstrip() for line in left.splitlines() if line.strip()).replace(_NEWLINE, b"\n")


def _docstrings(body: list[ast.stmt]) -> Iterator[ast.Expr]:
    """The docstrings of a module's, class's or function's statements, and of all that is defined in it."""
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        yield body[0]
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(statement.body)


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
PACKAGES = {"convert-mmap": "export"}
# What an image is made to run by hand, where that is not all of its folder.
COMMANDS = {"convert-mmap": ("components.export.memmapped",)}
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
