"""The import in the DAG: one step, or as many as the deployment says and a step that merges what they made."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from kfp import dsl

from components.import_cv.component import import_cv, import_part, merge_corpus

# How many pods import. It shapes the DAG, so it is known when the pipeline is compiled and cannot be a parameter of it.
_WORKERS: ContextVar[int] = ContextVar("import workers", default=1)


@contextlib.contextmanager
def workers(count: int) -> Iterator[None]:
    """Let the pipelines that are compiled within import in `count` pods."""
    token = _WORKERS.set(count)
    try:
        yield
    finally:
        _WORKERS.reset(token)


def imported(**arguments: Any) -> Any:
    """The task whose outputs are the corpus, its clips and the report; `arguments` are those of `import_cv`."""
    count = _WORKERS.get()
    if count == 1:
        return import_cv(**arguments)
    with dsl.ParallelFor([f"{number}/{count}" for number in range(1, count + 1)], name="import-parts") as partition:
        part = import_part(partition=partition, **arguments)
    return merge_corpus(parts=dsl.Collected(part.outputs["part"]))
