"""Programs with the names of the peers' that run ours, so that a script written for the peers runs as it is."""

import shlex
import site
import sys
from pathlib import Path

import components
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET
from speech.errors import InputError
from speech.model_files.alphabets import ENGLISH
from speech.storage.files import write_text

EVALUATE, SCORER = "components.evaluate", "components.build_scorer"
# Where the peers' checkouts have a program, or as it is called on PATH -> the module that does its work.
PROGRAMS = {
    "DeepSpeech.py": "components.train",
    "evaluate.py": EVALUATE,
    "evaluate_tflite.py": EVALUATE,
    "bin/import_cv2.py": "components.import_cv",
    "bin/play.py": "components.train.peers.play",
    "bin/data_set_tool.py": "components.train.peers.data_set_tool",
    "data/lm/generate_lm.py": SCORER,
    "generate_scorer_package": SCORER,
    "convert_graphdef_memmapped_format": "components.export.memmapped",
    "mo": "components.convert_openvino",
    "mo_tf.py": "components.convert_openvino",
}
# Run as `python -m`.
MODULES = {
    "coqui_stt_training.train": "components.train",
    "coqui_stt_training.evaluate": EVALUATE,
    "coqui_stt_training.evaluate_export": EVALUATE,
    "coqui_stt_training.export": "components.export",
}
DEFAULT_ALPHABET_PATH = f"data/{ALPHABET}"  # where DeepSpeech's checkout has it
MARK = "stands in for a program of DeepSpeech or Coqui STT"


def write(folder: Path) -> list[str]:
    """Write the programs, the package `coqui_stt_training` and DeepSpeech's default alphabet; their names.

    Raises InputError, and writes nothing, where a file of somebody else's has one of the names.
    """
    modules = {f"{name.replace('.', '/')}.py": module for name, module in MODULES.items()}
    paths = PROGRAMS | modules
    foreign = [name for name in paths if (folder / name).exists() and not _is_ours(folder / name)]
    if foreign:
        raise InputError(f"--folder {folder}: {', '.join(foreign)} is not a stand-in: give another folder")
    for name, module in paths.items():
        write_text(folder / name, _program(module))
        (folder / name).chmod(0o755)
    if not (folder / DEFAULT_ALPHABET_PATH).exists():
        Alphabet(ENGLISH).save(folder / DEFAULT_ALPHABET_PATH)
    return [*PROGRAMS, *(f"python -m {name}" for name in MODULES)]


def search_paths(folder: Path) -> list[str]:
    """The lines for a shell that make the programs found by their plain names, and by `python -m`."""
    programs = ":".join(shlex.quote(str(folder / name)) for name in ("", "bin", "data/lm"))
    package = shlex.quote(str(folder))
    return [
        f"export PATH={programs}:$PATH",
        f"export PYTHONPATH={package}${{PYTHONPATH:+:$PYTHONPATH}}",
    ]


def _is_ours(path: Path) -> bool:
    return path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")


def _program(module: str) -> str:
    """A script for any Python 3 that goes on as `python -m module` of the environment that wrote it."""
    lines = [
        "#!/usr/bin/env python3",
        f'"""{MARK}: runs {module} of Speechmill."""',
        "import os",
        "import sys",
        f"python, code = {sys.executable!r}, {_code_folder()!r}",
        "if code:",
        '    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [code, os.environ.get("PYTHONPATH")]))',
        'os.environ["PYTHONSAFEPATH"] = "1"  # a folder of the name of one of our packages is none',
        f'os.execv(python, [python, "-m", {module!r}, *sys.argv[1:]])',
    ]
    return "\n".join(lines) + "\n"


def _code_folder() -> str:
    """Where the code is, if Python does not find it by itself: in a checkout that is not installed."""
    folder = str(Path(components.__file__).resolve().parents[1])
    return "" if folder in site.getsitepackages() else folder
