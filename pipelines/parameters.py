"""The pipeline's parameters: what each means, and the flags of `speechmill run` that set them.

A parameter that is a step's setting takes help, unit and choices from the step's settings dataclass, whose name it has
unless RENAMED says otherwise. The texts of the others are here.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from components.build_scorer.settings import BuildScorerSettings
from components.convert_openvino.settings import OpenVinoSettings
from components.evaluate.settings import EvaluateSettings
from components.export.settings import ExportSettings
from components.import_cv.settings import ImportSettings
from components.publish.settings import PublishSettings
from components.train.settings import TrainSettings
from speech.flag_help import groups
from speech.model_card import CardSettings
from speech.settings import setting

F = TypeVar("F", bound=Callable[..., Any])

SETTINGS = (
    ImportSettings,
    TrainSettings,
    ExportSettings,
    CardSettings,
    OpenVinoSettings,
    BuildScorerSettings,
    EvaluateSettings,
    PublishSettings,
)
RENAMED = {
    "openvino_precision": (OpenVinoSettings, "precision"),
    "openvino_n_steps": (OpenVinoSettings, "n_steps"),
    "n_steps": (ExportSettings, "n_steps"),
    "random_seed": (TrainSettings, "random_seed"),
}
OWN = {
    "corpus_uri": "Common Voice release: the locale's folder or its .tar.gz, local or s3://",
    "corpus_revision": "text that changes when the corpus does, so that a cached import is not taken for the new one; "
    "`speechmill run` and `submit` find it out",
    "import_flags": "further flags of the import step, such as --normalize --max_chars_per_s 30",
    "base_checkpoint_uri": "checkpoint to start from, a folder or s3:// prefix; empty: from scratch",
    "checkpoint_uri": "s3:// prefix for running checkpoints, from which an interrupted training goes on; empty: none",
    "train_flags": "further flags of the train step, such as --layer_norm --checkpoint_secs 300",
    "build_scorer": "build a scorer of the training transcripts, of scorer_text_uri, or of both",
    "scorer_uri": "scorer that is there already, a .scorer file or s3:// URI, if none is built; empty: none",
    "scorer_text_uri": "text for the scorer, a sentence a line: .txt or .txt.gz, local or s3://, with commas between",
    "scorer_transcripts": "the training transcripts are text for the scorer",
    "scorer_flags": "further flags of the build_scorer step, such as --keep_case --binary_type probing",
    "n_trials": "trials in the search for the scorer's weights on the dev set; 0: the weights that it came with",
    "evaluate_flags": "further flags of the evaluate steps, such as --hot_words mill:5 --bootstrap_unit speaker",
    "card_flags": "further flags of the model card, such as --export_author_id mill --export_contact_info mail@example",
    "train_workers": "on a cluster: machines that train together, started by the Kubeflow Trainer (then checkpoint_uri "
    "is needed, too); 1: the step's own pod trains",
    "train_gpu_type": "on a cluster: the training's kind of GPU, as Kubernetes names it, such as nvidia.com/gpu",
    "train_gpus": "on a cluster: GPUs of the training, on each machine; 0: none",
    "train_cpu": "on a cluster: cores of the training on each machine, at most, such as 4 or 500m; 0: no limit",
    "train_memory": "on a cluster: memory of the training on each machine, at most, such as 16Gi; 0: no limit",
    "test_sets": "sets of the corpus to measure on, with commas between them",
    "publish_uri": "folder or s3:// prefix that takes the version and has the champion; empty: the run's own artifact",
}
# The headings of the help and of the table, each with the parameter that begins its group.
GROUPS = {
    "corpus_uri": "Corpus",
    "base_checkpoint_uri": "Training",
    "train_workers": "Training on a cluster",
    "n_steps": "Export",
    "build_scorer": "Scorer",
    "n_trials": "Evaluation",
    "export_model_name": "Publishing",
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
    found = setting_of(name)
    if found is None:
        raise LookupError(
            f"pipeline parameter {name} is no setting of a step, and pipelines/parameters.py has no text for it"
        )
    settings_class, field_name = found
    field = next(field for field in dataclasses.fields(settings_class) if field.name == field_name)
    choices = field.metadata["custom_args"].get("choices")
    return Parameter(field.metadata["help"], field.metadata["unit"], tuple(choices) if choices else None)


def setting_of(name: str) -> tuple[type, str] | None:
    """The step's settings class that a pipeline parameter belongs to, and the name of its field; None: to none."""
    if name in RENAMED:
        return RENAMED[name]
    classes = (cls for cls in SETTINGS if name in {field.name for field in dataclasses.fields(cls)})
    return next(((cls, name) for cls in classes), None)


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
        group = GROUPS.get(name, "")
        made = setting(given.default, described.help, unit=described.unit, choices=described.choices, group=group)
        fields.append((name, given.annotation, made))
    order = {"GROUPS": (*groups(base), *GROUPS.values())}  # the base's come first
    return dataclasses.make_dataclass("RunFlags", fields, bases=(base,), frozen=True, namespace=order)
