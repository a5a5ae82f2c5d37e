"""The compiled pipeline: one YAML file that Kubeflow Pipelines takes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kfp.compiler

from components import images
from pipelines.cluster.deployment import STEPS, Deployment, unknown_cluster
from pipelines.cluster.placement import deployed
from speech.errors import InputError
from speech.storage.files import write_text

FOLDER = Path("build")  # its image tags follow the code, so it is made when it is needed and never kept with the code


def to_yaml(pipeline: Callable[..., Any], registry: str = "", deployment: Deployment | None = None) -> str:
    """Compile a pipeline for a cluster.

    `registry` (such as `registry.example.org/team`; by default the deployment's) goes in front of the steps' images. If
    the deployment gives the training GPUs, it gets the image with TensorFlow for GPUs; other images that the deployment
    names replace the steps' own. The text depends on code and deployment alone: compiling twice gives the same bytes.
    """
    deployment = deployment or unknown_cluster()
    registry = registry or deployment.registry
    if registry and (registry != registry.strip("/") or "://" in registry or " " in registry):
        raise InputError(f"--registry {registry!r} is not allowed: expected HOST[:PORT][/PATH], such as ghcr.io/team")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "pipeline.yaml")
        placed = deployed(pipeline, deployment)
        _drop_implied_edges(placed.pipeline_spec)
        kfp.compiler.Compiler().compile(placed, str(path))
        text = path.read_text(encoding="utf-8")
    for step in STEPS:
        if variant := deployment.image(step):
            own = images.reference(images.VARIANTS[variant])
            text = text.replace(f"image: {own}", f"image: {images.reference(variant)}")
    if registry:
        own = f"image: {images.REPOSITORY}/"
        text = text.replace(own, f"image: {registry}/{images.REPOSITORY}/")
    return text


def _drop_implied_edges(spec: Any) -> None:
    """Name in `dependentTasks` only what a task's inputs do not say already.

    Kubeflow Pipelines lets a task wait for the producers of its inputs in any case. What else is in the list is drawn
    as a further arrow, from step to step, beside those that go by the artifact.
    """
    for dag in (spec.root.dag, *(part.dag for part in spec.components.values() if part.HasField("dag"))):
        for task in dag.tasks.values():
            inputs = task.inputs
            artifacts = {source.task_output_artifact.producer_task for source in inputs.artifacts.values()}
            values = {source.task_output_parameter.producer_task for source in inputs.parameters.values()}
            kept = [before for before in task.dependent_tasks if before not in artifacts | values]
            del task.dependent_tasks[:]
            task.dependent_tasks.extend(kept)


def write(pipeline: Callable[..., Any], path: Path, registry: str = "", deployment: Deployment | None = None) -> bool:
    """Write the compiled pipeline; False if the file holds it already."""
    text = to_yaml(pipeline, registry, deployment)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True
