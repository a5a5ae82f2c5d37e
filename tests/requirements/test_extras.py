"""Every extra is exact: the packages that its command's modules import, in all its phases, and no others."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import grimp
import pytest

from components import images
from pipelines.__main__ import TOOLS
from speech.extras import MODULES

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = images.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = ("speech", "components", "pipelines")
# Modules whose distribution has another name, or comes with another one for certain.
DISTRIBUTIONS = {
    "google": "protobuf", "google_crc32c": "google-crc32c", "botocore": "boto3", "urllib3": "boto3", "markupsafe":
    "jinja2", "simple_parsing": "simple-parsing", "yaml": "kfp", "kfp_server_api": "kfp",
    "mlflow": "mlflow-skinny",
}  # fmt: skip
LATER = {"train": ("export", "evaluate"), "train-gpu": ("export", "evaluate")}  # phases of one command, in other steps
ELSEWHERE = {  # in reach of an extra's modules, and needed for something else alone
    ("train", "openvino"): "a test of a checkpoint opens no IR",
    ("train", "optuna"): "the test phase searches for no weights",
    ("train", "onnx"): "--export_onnx is no flag of the training",
    ("train", "onnxruntime"): "as onnx",
    ("train", "ds-ctcdecoder"): "as evaluate",
    ("export", "onnx"): "the extra onnx",
    ("export", "onnxruntime"): "as onnx",
    ("export", "soundfile"): "of a corpus the card reads tables; a look at files is a training's or an evaluation's",
    ("convert-mmap", "tensorflow"): "the step of the image export, which freezes",
    ("convert-mmap", "onnx"): "as tensorflow",
    ("convert-mmap", "onnxruntime"): "as tensorflow",
    ("convert-mmap", "flatbuffers"): "as tensorflow",
    ("convert-mmap", "soundfile"): "as export",
    ("evaluate", "ds-ctcdecoder"): "of a Python beside the step's own",
    ("build-scorer", "soundfile"): "as export",
    ("publish", "soundfile"): "as export",
    **dict.fromkeys(
        [(extra, "rapidfuzz") for extra in ("import-cv", "export", "build-scorer", "pipeline")],
        "of the rates their names and how they compare sentences; none is computed",
    ),
    **dict.fromkeys(
        [(extra, "mlflow-skinny") for extra in ("import-cv", "train", "evaluate", "publish")],
        "the extra tracking",
    ),
    ("publish", "rapidfuzz"): "the gate draws from counts that the evaluation made",
    ("pipeline", "soundfile"): "settings are checked by the augmentations' parser; audio is opened in the step",
    ("pipeline", "soxr"): "as soundfile",
}
NOT_BY_US = {  # in an extra, and imported by none of its modules
    ("import-cv", "audioop-lts"): "pydub imports audioop, which Python 3.13 has no longer, and does not say so",
    ("pipeline", "kfp-kubernetes"): "kfp.kubernetes, which is in kfp by name",
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*OWN, include_external_packages=True, cache_dir=None)


def modules_of(extra: str, graph: grimp.ImportGraph) -> set[str]:
    """What is imported, at once or in a function, by what an extra is for."""
    if extra != "pipeline":
        return set().union(*(images.modules(step) for step in (extra, *LATER.get(extra, ()))))
    seen: set[str] = set()
    waiting = {module for module in graph.modules if module.split(".")[0] == "pipelines"}
    while waiting:
        seen |= waiting
        waiting = {module for name in waiting for module in graph.find_modules_directly_imported_by(name)} - seen
        # A step's own modules are imported in the bodies of component functions, which run in the step.
        waiting = {module for module in waiting if not re.match(r"components\.\w+\.", module) or _is_shown(module)}
    return seen


def _is_shown(module: str) -> bool:
    return module.endswith((".component", ".settings")) or module == "components.publish.releases"


def distributions(requirements: Iterable[str]) -> set[str]:
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}
    return {"tensorflow" if name == "tensorflow-cpu" else name for name in names}


def imported(extra: str, graph: grimp.ImportGraph) -> dict[str, list[str]]:
    """Distribution -> the modules of an extra's command that import it."""
    found: dict[str, list[str]] = {}
    for module in sorted(modules_of(extra, graph) & graph.modules):
        for name in graph.find_modules_directly_imported_by(module):
            if name.split(".")[0] not in OWN and name not in sys.stdlib_module_names | {"tomllib"}:
                found.setdefault(DISTRIBUTIONS.get(name, name.replace("_", "-")), []).append(module)
    return found


EXTRAS = [*images.STEPS, "train-gpu", "pipeline"]
BASE = distributions(PROJECT["dependencies"])


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_is_what_its_command_can_import(extra: str, graph: grimp.ImportGraph) -> None:
    there = distributions(PROJECT["optional-dependencies"][extra])
    step = extra.removesuffix("-gpu")
    wanted = {name: where for name, where in imported(extra, graph).items() if (step, name) not in ELSEWHERE}
    assert {name: where for name, where in wanted.items() if name not in there | BASE} == {}, "missing"
    assert {name for name in there - set(wanted) if (step, name) not in NOT_BY_US} == set(), "surplus"
    assert there & BASE == set()  # said once


def test_every_package_of_all_is_imported(graph: grimp.ImportGraph) -> None:
    assert set().union(*(imported(extra, graph) for extra in images.STEPS)) >= BASE


def test_no_extra_is_left_out() -> None:
    assert set(PROJECT["optional-dependencies"]) == {*EXTRAS, "onnx", "locales", "tracking"}


def test_the_exceptions_are_used(graph: grimp.ImportGraph) -> None:
    assert [name for name in ELSEWHERE if name[1] not in imported(name[0], graph)] == []
    extras = {extra: distributions(PROJECT["optional-dependencies"][extra]) for extra in EXTRAS}
    unused = [name for name in NOT_BY_US if name[1] not in extras[name[0]] or name[1] in imported(name[0], graph)]
    assert unused == []


@pytest.mark.parametrize("extra", MODULES)
def test_what_is_asked_for_before_the_work_is_in_the_extra(extra: str) -> None:
    there = distributions([*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]])
    names = {"kfp-kubernetes" if name == "kfp.kubernetes" else name.split(".")[0] for name in MODULES[extra]}
    assert {DISTRIBUTIONS.get(name, name) for name in names} <= there


# A Python in which `pip install .` was run, and no extra: everything else cannot be found.
BARE = """
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in {absent}:
            raise ModuleNotFoundError(f"No module named {{top!r}}", name=top)

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
ABSENT = {
    "soundfile", "soxr", "pydub", "jinja2", "markupsafe", "tensorflow", "matplotlib", "rapidfuzz", "google", "openvino",
    "flatbuffers", "onnx", "onnxruntime", "google_crc32c", "optuna", "pandas", "kfp", "docker", "tomli", "audioop",
    "mlflow",
}  # fmt: skip
CALLS = {  # command -> arguments of a small piece of work, and the extra that it lacks
    "components.import_cv": (["release", "--corpus_dir", "corpus"], "import-cv"),
    "components.train": (["--train_files", "x.csv"], "train"),
    "components.export": (["--checkpoint_dir", "c", "--export_dir", "e"], "export"),
    "components.export.memmapped": (["--in_graph=x.pb", "--out_graph=x.pbmm"], "convert-mmap"),
    "components.convert_openvino": (["--input_model", "x.pb"], "convert-openvino"),
    "components.convert_openvino.transcribe": (["--model", "x.xml", "--audio", "x.wav"], "convert-openvino"),
    "components.evaluate": (["--model", "x.pb", "--test_files", "x.csv"], "evaluate"),
    "components.publish": (["--model", "m", "--publish_uri", "p"], "publish"),
    "pipelines": (["run", "--corpus_uri", "x"], "pipeline"),
    "components.build_scorer": (["--input_txt", "missing.txt", "--output_dir", "o"], ""),
}


def bare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = BARE.format(absent=ABSENT)
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", CALLS)
def test_without_an_extra_a_command_says_which(tmp_path: Path, command: str) -> None:
    arguments, extra = CALLS[command]
    told = bare(tmp_path, command, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    told = bare(tmp_path, command, *arguments)
    assert told.returncode == 2
    first, *lines = told.stderr.splitlines()
    assert re.match(r"error: \S", first)  # and no traceback: with what else has to be mended, if anything
    assert all(re.match(r"  \d\. \S", line) for line in lines), told.stderr
    assert not extra or f"pip install 'speechmill[{extra}]'" in told.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tool", TOOLS)
def test_without_an_extra_a_tool_says_which(tmp_path: Path, tool: str) -> None:
    told = bare(tmp_path, "pipelines", tool)
    assert told.returncode == 2
    assert re.match(rf"error: this command needs .*: pip install 'speechmill\[{TOOLS[tool]}\]'\n$", told.stderr)


def work_of_components() -> dict[str, list[str]]:
    """Image -> the import statements in the bodies of the component functions that it runs."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "components").glob("*/component.py")):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(function, ast.FunctionDef):
                continue
            image = re.search(r"base_image=images\.(\w+)", "".join(map(ast.unparse, function.decorator_list)))
            if image:
                lines = [
                    ast.unparse(node) for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
                ]
                found.setdefault(image[1].lower().replace("_", "-"), []).extend(lines)
    return found


WORK = work_of_components()


def locked(*names: str) -> set[str]:
    """The distributions of requirements/NAME.lock."""
    texts = [(ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8") for name in names]
    return {name.lower() for text in texts for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}


@pytest.mark.parametrize("image", EXTRAS[:-1])
def test_an_image_whose_steps_can_be_tracked_holds_what_that_takes(image: str, graph: grimp.ImportGraph) -> None:
    assert ("mlflow-skinny" in imported(image, graph)) == ("mlflow-skinny" in locked(image))


def test_every_image_has_components() -> None:
    assert set(WORK) == set(images.STEPS)


@pytest.mark.parametrize("image", WORK)
def test_an_image_has_what_its_components_load(tmp_path: Path, image: str) -> None:
    """Where a module is imported at once, no exception of the list above helps: the pod ends with a traceback."""
    there = locked(image, "kfp")
    absent = {
        top
        for top, names in importlib.metadata.packages_distributions().items()
        if top not in OWN and not {re.sub(r"[-_.]+", "-", name).lower() for name in names} & there
    }
    (tmp_path / "work.py").write_text("\n".join(WORK[image]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", BARE.format(absent=absent), "work"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as pip gets it; built from a copy, because setuptools works in `build/`."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in OWN:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "."]
    subprocess.run([*command, "--wheel-dir", "dist"], cwd=folder, check=True, capture_output=True)
    (built,) = (folder / "dist").glob("speechmill-*.whl")
    return built


def test_the_wheel_holds_what_is_read_beside_the_modules(wheel: Path) -> None:
    there = set(zipfile.ZipFile(wheel).namelist())
    kinds = (".py", ".j2", ".toml", ".cpp", ".h", ".sh")
    wanted = {
        path.relative_to(ROOT).as_posix()
        for name in OWN
        for path in (ROOT / name).rglob("*")
        if path.suffix in kinds and "__pycache__" not in path.parts
    }
    assert wanted - there == set()
    assert {name.split("/")[0] for name in there} - set(OWN) == {f"speechmill-{PROJECT['version']}.dist-info"}


@pytest.mark.slow
@pytest.mark.parametrize("extra", [*images.STEPS, "pipeline"])
def test_an_installed_extra_is_enough(tmp_path: Path, wheel: Path, extra: str) -> None:
    """`pip install speechmill[extra]` in an empty environment: the command's --help, and a small piece of its work."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    python, uv = tmp_path / "env/bin/python", Path(sys.prefix, "bin", "uv")
    install = [uv, "pip", "install", "--quiet", "--python", python, "--constraint", ROOT / "requirements/dev.lock"]
    subprocess.run([*install, f"speechmill[{extra}] @ {wheel.as_uri()}"], check=True)
    module = {"pipeline": "pipelines"}.get(extra) or images.COMMANDS.get(extra, (images.PACKAGES.get(extra),))[0]
    module = module or f"components.{extra.replace('-', '_')}"
    calls = [
        (["--help"], 0),
        (CALLS[module][0] if extra != "pipeline" else ["compile"], 0 if extra == "pipeline" else 2),
    ]
    work = tmp_path / "work"
    work.mkdir()
    for arguments, code in calls:
        told = called([python, "-m", module, *arguments], work)
        assert told.returncode == code, told.stderr
        assert "this command needs" not in told.stderr
        assert "Traceback" not in told.stderr
    told = called([tmp_path / "env/bin/speechmill", "run", "--corpus_uri", "x"], work)
    assert told.returncode == 2
    assert re.match(r"error: this command needs .*: pip install 'speechmill\[", told.stderr)
    assert told.stderr.count("\n") == 1


def called(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of an installed package, with nothing of this checkout around it."""
    return subprocess.run(
        command, cwd=folder, env={"PATH": "/usr/bin:/bin", "HOME": str(folder)}, capture_output=True, text=True
    )
