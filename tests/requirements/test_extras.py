"""Every extra is complete: what a command can come to import, in all its phases, is in the extra that it names."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components import images
from speech.extras import MODULES

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = images.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = ("speech", "components", "pipelines")
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in OWN
    for path in (ROOT / package).rglob("*.py")
}
# Modules whose distribution has another name, or comes with another one for certain.
DISTRIBUTIONS = {
    "google": "protobuf", "google_crc32c": "google-crc32c", "botocore": "boto3", "urllib3": "boto3", "markupsafe":
    "jinja2", "simple_parsing": "simple-parsing", "yaml": "kfp", "kfp_server_api": "kfp",
}  # fmt: skip
COMMANDS = {  # extra -> the module that the command runs, and those of its later phases
    "import-cv": ["components.import_cv.__main__"],
    "train": ["components.train.__main__", "components.evaluate.__main__", "components.export.__main__"],
    "train-gpu": ["components.train.__main__", "components.evaluate.__main__", "components.export.__main__"],
    "export": ["components.export.__main__"],
    "convert-mmap": ["components.export.memmapped"],
    "convert-openvino": ["components.convert_openvino.__main__", "components.convert_openvino.transcribe"],
    "evaluate": ["components.evaluate.__main__"],
    "build-scorer": ["components.build_scorer.__main__"],
    "publish": ["components.publish.__main__"],
    "pipeline": ["pipelines.__main__"],
}
STEPS_OWN = r"components\.\w+\.(?!component$|settings$)[\w.]+"  # a pipeline sees no more of a step
ELSEWHERE = {  # reachable, and needed for something else alone
    ("train", "openvino"): "a test of a checkpoint opens no IR",
    ("train", "optuna"): "the test phase searches for no weights",
    ("train", "onnx"): "--export_onnx is no flag of the training",
    ("train", "onnxruntime"): "as onnx",
    ("export", "onnx"): "the extra onnx",
    ("export", "onnxruntime"): "as onnx",
    ("pipeline", "soundfile"): "settings are checked by the augmentations' parser; audio is opened in the step",
    ("pipeline", "soxr"): "as soundfile",
    ("export", "soundfile"): "of a corpus the card reads tables; a look at files is a training's or an evaluation's",
    ("build-scorer", "soundfile"): "as export",
    ("publish", "soundfile"): "as export",
    ("convert-mmap", "soundfile"): "as export",
    ("convert-mmap", "google_crc32c"): "graphs carry no checksums, checkpoints do",
    ("publish", "rapidfuzz"): "the gate draws from counts that the evaluation made",
}


def imports(module: str) -> set[str]:
    """The modules that a module's code names, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found.update(name if name in FILES else node.module for name in names)
    return found


def reachable(start: list[str]) -> dict[str, set[str]]:
    """The third-party modules that code reached from `start` imports, and where."""
    seen: set[str] = set()
    found: dict[str, set[str]] = {}
    waiting = list(start)
    while waiting:
        module = waiting.pop()
        if module in seen or (start == COMMANDS["pipeline"] and re.fullmatch(STEPS_OWN, module)):
            continue
        seen.add(module)
        for name in imports(module):
            top, parts = name.split(".")[0], name.split(".")
            if top in OWN:
                waiting += [one for end in range(1, len(parts) + 1) if (one := ".".join(parts[:end])) in FILES]
            elif top not in sys.stdlib_module_names:
                found.setdefault(top, set()).add(module)
    return found


def distributions(requirements: list[str]) -> set[str]:
    names = {re.split(r"[^A-Za-z0-9._-]", one)[0].lower() for one in requirements}
    return {"tensorflow" if name == "tensorflow-cpu" else name for name in names}


@pytest.mark.parametrize("extra", COMMANDS)
def test_an_extra_has_all_that_its_command_can_import(extra: str) -> None:
    there = distributions([*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]])
    step = extra.removesuffix("-gpu")
    lacking = {
        name: sorted(where)
        for name, where in reachable(COMMANDS[extra]).items()
        if DISTRIBUTIONS.get(name, name) not in there
        and (step, name) not in ELSEWHERE
        and name not in ("tomllib", "stt")
    }
    assert lacking == {}


def test_the_exceptions_are_used() -> None:
    assert [one for one in ELSEWHERE if one[1] not in reachable(COMMANDS[one[0]])] == []


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


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["publish", "convert-mmap", "import-cv"])
def test_an_installed_extra_is_enough(tmp_path: Path, extra: str) -> None:
    """In an empty environment, `pip install speechmill[extra]` by its lock: --help, and a small command."""
    python = tmp_path / "env/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    uv = Path(sys.prefix, "bin", "uv")
    lock = ROOT / "requirements" / f"{extra}.lock"
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock], check=True)
    module = COMMANDS[extra][0].removesuffix(".__main__")
    for arguments, code in ((["--help"], 0), (CALLS[module][0], 2)):
        told = subprocess.run(
            [python, "-m", module, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == code, told.stderr
        assert "this command needs" not in told.stderr
        assert "Traceback" not in told.stderr
