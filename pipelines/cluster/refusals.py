"""What can be known to be wrong before anything is sent to a cluster."""

import re
from collections.abc import Mapping
from typing import Any, get_args

from components.build_scorer.settings import BuildScorerSettings
from components.evaluate.settings import EvaluateSettings
from components.import_cv.settings import ImportSettings
from components.publish.releases import is_watched
from components.train.settings import TrainSettings
from pipelines.cluster.deployment import NO_LIMIT, QUANTITY, Deployment
from pipelines.parameters import COMPONENTS
from speech.errors import InputError
from speech.model_card import CardSettings
from speech.notification import webhook
from speech.settings import with_extra_flags
from speech.settings.arguments import from_arguments
from speech.storage.corpus_uri import is_source, parse_corpus
from speech.storage.objects import is_remote

QUANTITIES = ("train_cpu", "train_memory", "train_gpus")
FURTHER_FLAGS = {
    "import_flags": ImportSettings,
    "train_flags": TrainSettings,
    "scorer_flags": BuildScorerSettings,
    "evaluate_flags": EvaluateSettings,
    "card_flags": CardSettings,
}
URIS = ("corpus_uri", "previous", "base_checkpoint_uri", "scorer_uri", "scorer_text_uri", "champion", "publish_uri")


def declared(spec: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameters of a compiled pipeline, with their types and defaults."""
    return spec["root"].get("inputDefinitions", {}).get("parameters", {})


def without_limits(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The same parameters, "no limit" written as Kubernetes takes it."""
    return {name: NO_LIMIT if name in QUANTITIES and value == "" else value for name, value in parameters.items()}


def check(spec: Mapping[str, Any], parameters: Mapping[str, Any], deployment: Deployment | None) -> None:
    """Raise InputError for what the server, a driver or a step would refuse of a run with these parameters.

    `spec` is the compiled pipeline, `deployment` what it was compiled for, None if nobody knows.
    """
    known = declared(spec)
    for name in parameters:
        if name not in known:
            raise InputError(f"--{name}: the pipeline has no such parameter: compile it again, or leave the flag out")
    values = {
        name: parameter["defaultValue"] for name, parameter in known.items() if "defaultValue" in parameter
    } | dict(parameters)
    missing = sorted(
        name for name, parameter in known.items() if name not in values and not parameter.get("isOptional")
    )
    if missing:
        raise InputError(f"--{missing[0]} is missing: the pipeline has no default for it")
    if known.keys() >= {"corpus_uri", *FURTHER_FLAGS}:  # one of ours
        _check_corpus(values)
        _check_places(values, deployment)
        _check_quantities(values)
        _check_settings(values)
        _check_message(spec, values)


def _check_corpus(values: Mapping[str, Any]) -> None:
    if not values["corpus_uri"]:
        raise InputError("--corpus_uri is missing: the s3:// URI of a Common Voice release's .tar.gz or folder")
    if is_watched(values["corpus_uri"]) and not values.get("publish_uri"):
        raise InputError("--publish_uri is missing: it keeps which releases have been trained on")
    if int(values.get("train_workers", 1)) > 1 and not values.get("checkpoint_uri"):
        raise InputError(
            f"--checkpoint_uri is missing: {int(values['train_workers'])} machines that train together hand back their "
            "work there"
        )


def _check_places(values: Mapping[str, Any], deployment: Deployment | None) -> None:
    """A step sees the object store and the volumes of its deployment, and no folder of the machine that submits."""
    has_volumes = deployment is None or any(step.scratch.claim for step in deployment.steps.values())
    for name in URIS:
        for uri in str(values.get(name, "")).split(","):
            if not uri or is_remote(uri) or (has_volumes and uri.startswith("/")):
                continue
            if name == "corpus_uri" and is_source(uri):
                parse_corpus(uri)
                continue
            raise InputError(f"--{name} {uri}: a step on the cluster does not see this folder: expected an s3:// URI")
    uri = values.get("checkpoint_uri", "")
    if not uri and deployment is not None and deployment.of("train").trainer:
        raise InputError(
            "--checkpoint_uri is missing: a training in a TrainJob (`trainer = true`) hands back its work there"
        )
    if uri and not is_remote(uri):
        raise InputError(f"--checkpoint_uri {uri}: expected an s3:// prefix")


def _check_message(spec: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    if values.get("notify_url") and "notify" not in spec["root"]["dag"]["tasks"]:
        raise InputError(
            "--notify_url: this compiled pipeline tells nobody: compile it with [notify] in deployment.toml"
        )
    webhook.address(values.get("notify_url", ""))


def _check_quantities(values: Mapping[str, Any]) -> None:
    for name in QUANTITIES:
        value = str(values.get(name, NO_LIMIT))
        if name == "train_gpus" and not re.fullmatch(r"\d+", value):
            raise InputError(f"--train_gpus {value!r} is not allowed: a number, 0 for none")
        if not QUANTITY.fullmatch(value):
            raise InputError(
                f"--{name} {value!r} is not allowed: a Kubernetes quantity such as 4, 500m or 16Gi; 0 for no limit"
            )


def _check_settings(values: Mapping[str, Any]) -> None:
    """Make the settings that the steps will make."""
    of_class: dict[type, dict[str, Any]] = {}
    for argument in (argument for component in COMPONENTS for argument in component.python_func.arguments):
        chosen = of_class.setdefault(argument.settings, {})
        if (value := values.get(argument.parameter)) is not None:
            is_count = int in (argument.type, *get_args(argument.type))  # a compiled pipeline's numbers are floats
            chosen[argument.name] = int(value) if is_count else value
    # As the steps make them: a parameter that is a list arrives as text.
    built: dict[type, Any] = {settings: from_arguments(settings, chosen) for settings, chosen in of_class.items()}
    for name, settings in FURTHER_FLAGS.items():
        try:
            with_extra_flags(built[settings], str(values.get(name, "")), name)
        except InputError as error:
            raise InputError(f"--{name}: {error}") from error
        except ValueError as error:  # quotes that do not end
            raise InputError(f"--{name} {values[name]!r}: {error}") from error
