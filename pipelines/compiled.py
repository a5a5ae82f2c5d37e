"""The compiled pipeline: one YAML file that Kubeflow Pipelines takes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kfp.compiler

from components import images
from speech.errors import InputError
from speech.storage import write_text

PATH = Path(__file__).with_suffix("").with_name("retrain.yaml")


def to_yaml(pipeline: Callable[..., Any], registry: str = "") -> str:
    """Compile a pipeline; `registry` (such as `registry.example.org/team`) goes in front of the steps' images.

    The text depends on the code alone: compiling twice gives the same bytes.
    """
    if registry and (registry != registry.strip("/") or "://" in registry or " " in registry):
        raise InputError(f"--registry {registry!r} is not allowed: expected HOST[:PORT][/PATH], such as ghcr.io/team")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "pipeline.yaml")
        kfp.compiler.Compiler().compile(pipeline, str(path))
        text = path.read_text(encoding="utf-8")
    if registry:
        own = f"image: {images.REPOSITORY}/"
        text = text.replace(own, f"image: {registry}/{images.REPOSITORY}/")
    return text


def write(pipeline: Callable[..., Any], path: Path, registry: str = "") -> bool:
    """Write the compiled pipeline; False if the file holds it already."""
    text = to_yaml(pipeline, registry)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True
