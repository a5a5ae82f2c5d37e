"""The pipeline's parameters: what each means, and the flags of `speechmill run` that set them.

A parameter that is a step's setting takes help, unit and choices from the step's settings dataclass, whose name it has
unless RENAMED says otherwise. The texts of the others are here.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from components.convert_openvino.settings import OpenVinoSettings
from components.evaluate.settings import EvaluateSettings
from components.export.settings import ExportSettings
from components.import_cv.settings import ImportSettings
from components.publish.settings import PublishSettings
from components.train.settings import TrainSettings
from speech.settings import setting

F = TypeVar("F", bound=Callable[..., Any])

SETTINGS = (ImportSettings, TrainSettings, ExportSettings, OpenVinoSettings, EvaluateSettings, PublishSettings)
RENAMED = {
    "openvino_precision": (OpenVinoSettings, "precision"),
    "openvino_n_steps": (OpenVinoSettings, "n_steps"),
    "n_steps": (ExportSettings, "n_steps"),
    "random_seed": (TrainSettings, "random_seed"),
}
OWN = {
    "corpus_uri": "Common Voice release: the locale's folder or its .tar.gz, local or s3://",
    "corpus_revision": "text that changes when the corpus does, so that a cached import is not taken for the new one; "
    "`speechmill run` finds it out",
    "import_flags": "further flags of the import step, such as --normalize --max_chars_per_s 30",
    "base_checkpoint_uri": "checkpoint to start from, a folder or s3:// prefix; empty: from scratch",
    "checkpoint_uri": "s3:// prefix for running checkpoints, from which an interrupted training goes on; empty: none",
    "train_flags": "further flags of the train step, such as --layer_norm --checkpoint_secs 300",
    "test_sets": "sets of the corpus to measure on, with commas between them",
    "publish_uri": "folder or s3:// prefix that takes the version; empty: the run's own artifact",
}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What is known of a pipeline parameter besides its type and default."""

    help: str
    unit: str = ""
    choices: tuple[Any, ...] | None = None


def parameter(name: str) -> Parameter:
    """The description of a pipeline parameter."""
    if name in OWN:
        return Parameter(OWN[name])
    for settings_class, field_name in [RENAMED[name]] if name in RENAMED else [(cls, name) for cls in SETTINGS]:
        for field in dataclasses.fields(settings_class):
            if field.name == field_name:
                choices = field.metadata["custom_args"].get("choices")
                return Parameter(field.metadata["help"], field.metadata["unit"], tuple(choices) if choices else None)
    raise LookupError(
        f"pipeline parameter {name} is no setting of a step, and pipelines/parameters.py has no text for it"
    )


def documented(function: F) -> F:
    """Add the `Args:` section to a pipeline function's docstring; kfp makes the input descriptions of it."""
    lines = [inspect.cleandoc(function.__doc__ or ""), "", "Args:"]
    for name in inspect.signature(function).parameters:
        described = parameter(name)
        unit = f" [{described.unit}]" if described.unit else ""
        choices = f" ({', '.join(map(str, described.choices))})" if described.choices else ""
        lines.append(f"    {name}: {described.help}{unit}{choices}")
    function.__doc__ = "\n".join(lines) + "\n"
    return function


def flags_class(function: Callable[..., Any], base: type) -> type:
    """The dataclass of `base`'s flags and one flag for each parameter of a pipeline function."""
    fields = []
    for name, given in inspect.signature(function).parameters.items():
        described = parameter(name)
        made = setting(given.default, described.help, unit=described.unit, choices=described.choices)
        fields.append((name, given.annotation, made))
    return dataclasses.make_dataclass("RunFlags", fields, bases=(base,), frozen=True)
