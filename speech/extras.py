"""The extras of the package: which modules each command needs, asked for before its work begins."""

import importlib.util

from speech.errors import InputError

MODULES = {
    "import-cv": ("soundfile", "soxr", "pydub", "jinja2"),
    "train": ("tensorflow", "soundfile", "soxr", "matplotlib", "rapidfuzz", "jinja2", "google.protobuf", "flatbuffers"),
    "export": ("tensorflow", "google.protobuf", "flatbuffers"),
    "onnx": ("onnxruntime",),
    "convert-mmap": ("google.protobuf",),
    "convert-openvino": ("openvino", "google.protobuf", "rapidfuzz", "soundfile", "soxr"),
    # Of an IR also openvino, of anything else tensorflow, of a scorer's search optuna.
    "evaluate": ("rapidfuzz", "jinja2", "soundfile", "soxr", "google.protobuf"),
    "publish": ("google.protobuf",),
    "pipeline": ("kfp", "kfp.kubernetes", "docker"),
}
STEPS = ("import-cv", "train", "export", "convert-openvino", "evaluate", "publish")  # of a run on this machine


def require(*extras: str, modules: tuple[str, ...] = ()) -> None:
    """Raise InputError unless the modules of the extras (or just `modules` of the one) can be imported."""
    lacking = {extra: [name for name in modules or MODULES[extra] if not _is_there(name)] for extra in extras}
    lacking = {extra: names for extra, names in lacking.items() if names}
    if lacking:
        names = ", ".join(dict.fromkeys(name for missing in lacking.values() for name in missing))
        raise InputError(f"this command needs {names}: pip install 'speechmill[{','.join(lacking)}]'")


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it
        return False
