"""Pipelines of two steps that take seconds: what a cluster makes of a step does not depend on what the step does."""

from pathlib import Path
from typing import Any

import kfp.compiler
from kfp import dsl, kubernetes

PREPARE, WORK = "Prepare", "Work"  # the steps' display names


def write(
    path: Path,
    image: str,
    script: str,
    *,
    prepare: str = "echo ready",
    name: str = "small",
    cpu: str = "",
    memory: str = "",
    retries: int = 0,
    backoff_factor: float = 2.0,
    timeout_s: int = 0,
    work_image: str = "",
    cpu_parameter: bool = False,
    loop: bool = False,
) -> Path:
    """Compile `Prepare` and, behind it, `Work`, which runs a shell script; returns `path`."""

    def place(task: Any, train_cpu: Any) -> None:
        if cpu or cpu_parameter:
            task.set_cpu_limit(cpu or train_cpu)
        if memory:
            task.set_memory_limit(memory)
        if retries:
            task.set_retry(retries, "1s", backoff_factor, "168h")
        if timeout_s:
            kubernetes.set_timeout(task, timeout_s)

    first, second = _shell(image, prepare, "prepare"), _shell(work_image or image, script, "work")

    @dsl.pipeline(name=name)
    def small(
        version: str = "", epochs: int = 1, corpus_uri: str = "", publish_uri: str = "", train_cpu: str = ""
    ) -> None:
        prepared = first(text=version).set_display_name(PREPARE)
        if loop:
            with dsl.ParallelFor(["a", "b"]) as item:
                second(text=item).set_display_name(WORK).after(prepared)
        else:
            place(second(text=version).set_display_name(WORK).after(prepared), train_cpu)

    kfp.compiler.Compiler().compile(small, str(path))
    return path


def _shell(image: str, script: str, name: str) -> Any:
    def step(text: str) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=image, command=["sh", "-c", script], args=["step", text])

    step.__name__ = name
    return dsl.container_component(step)
