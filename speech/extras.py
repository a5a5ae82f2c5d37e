"""The extras of the package: which modules each command needs, asked for before its work begins."""

import importlib.util

from speech.errors import InputError

_CHECKPOINTS = ("google.protobuf", "google_crc32c")
MODULES = {
    "import-cv": ("soundfile", "soxr", "pydub", "jinja2"),
    "train": ("tensorflow", "soundfile", "soxr", "rapidfuzz", "jinja2", *_CHECKPOINTS, "flatbuffers"),
    "export": ("tensorflow", *_CHECKPOINTS, "flatbuffers"),
    "onnx": ("onnx", "onnxruntime"),
    "convert-mmap": ("google.protobuf",),
    "convert-openvino": ("openvino", *_CHECKPOINTS, "rapidfuzz", "soundfile", "soxr"),
    # Of an IR also openvino, of anything else tensorflow, of a scorer's search optuna.
    "evaluate": ("rapidfuzz", "jinja2", "soundfile", "soxr", *_CHECKPOINTS),
    "publish": _CHECKPOINTS,
    "tracking": ("mlflow",),
    "pipeline": ("kfp", "kfp.kubernetes", "docker"),
}
STEPS = ("import-cv", "train", "export", "convert-openvino", "evaluate", "publish")  # of a run on this machine


def require(*extras: str, modules: tuple[str, ...] = ()) -> None:
    """Raise InputError unless the modules of the extras (or just `modules` of the one) can be imported."""
    if line := lacking(*extras, modules=modules):
        raise InputError(line)


def lacking(*extras: str, modules: tuple[str, ...] = ()) -> str:
    """Which of these modules are not installed, and how to get them, in one line; empty if all are there."""
    found = {extra: [name for name in modules or MODULES[extra] if not _is_there(name)] for extra in extras}
    found = {extra: names for extra, names in found.items() if names}
    if not found:
        return ""
    names = ", ".join(dict.fromkeys(name for missing in found.values() for name in missing))
    return f"this command needs {names}: pip install 'speechmill[{','.join(found)}]'"


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it
        return False
