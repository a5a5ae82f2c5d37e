"""What a deployment changes about the DAG itself: how many pods import, and who fetches the clips of the training.

Both are known when the pipeline is compiled, and cannot be parameters of it.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.import_cv.component import import_cv, import_part, merge_corpus


@dataclass(frozen=True)
class Shape:
    """The DAG's choices."""

    import_workers: int = 1
    train_streams: bool = False  # the training reads its clips from the artifact store itself


_SHAPE: ContextVar[Shape] = ContextVar("shape", default=Shape())  # noqa: B039 - frozen


@contextlib.contextmanager
def shaped(shape: Shape) -> Iterator[None]:
    """Let the pipelines that are compiled within have this shape."""
    token = _SHAPE.set(shape)
    try:
        yield
    finally:
        _SHAPE.reset(token)


def imported(**arguments: Any) -> dict[str, Any]:
    """The corpus, its clips and the report, by name; `arguments` are those of `import_cv`."""
    count = _SHAPE.get().import_workers
    if count == 1:
        return dict(import_cv(**arguments).outputs)
    with dsl.ParallelFor([f"{number}/{count}" for number in range(1, count + 1)], name="import-parts") as partition:
        taken = {one.name for one in import_part.python_func.arguments}
        given = {name: value for name, value in arguments.items() if name in taken}
        part = import_part(partition=partition, **given)
    return dict(merge_corpus(parts=dsl.Collected(part.outputs["part"])).outputs)


def of_training(outputs: dict[str, Any]) -> dict[str, Any]:
    """What the training takes of the import: the clips, which the launcher fetches, or where they are."""
    if _SHAPE.get().train_streams:
        return {"train_clips": outputs["corpus"], "dev_clips": outputs["corpus"]}
    return {name: outputs[name] for name in ("train_clips", "dev_clips")}
