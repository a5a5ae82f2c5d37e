"""Published versions in MLflow's model registry, and the alias of the champion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from speech.tracking.tracked_run import TrackedRun, client
from speech.tracking.tracking_settings import TrackingSettings

VERSION_TAG = "speechmill.version"
CHAMPION = "champion"


@dataclass(frozen=True)
class RegisteredVersion:
    """A version for the registry: its name and place, what is known of it, and the run that made it."""

    name: str
    uri: str
    tags: Mapping[str, Any] = field(default_factory=dict)
    run: TrackedRun | None = None


def register(settings: TrackingSettings, model: str, version: RegisteredVersion, *, is_champion: bool) -> str:
    """Register a version, unless it is there, and give it the alias if it is the champion; returns MLflow's number."""
    connection = client(settings)
    number = _find(connection, model, version.name) or _create(connection, model, version)
    if is_champion:
        connection.set_registered_model_alias(model, CHAMPION, number)
    return number


def model_name(publish_uri: str) -> str:
    """The registered model of a place for versions: the last part of its name."""
    return publish_uri.rstrip("/").rsplit("/", 1)[-1]


def _find(connection: Any, model: str, version: str) -> str:
    found = connection.search_model_versions(f"name = '{model}' and tags.`{VERSION_TAG}` = '{version}'", max_results=1)
    return str(found[0].version) if found else ""


def _create(connection: Any, model: str, version: RegisteredVersion) -> str:
    from mlflow.exceptions import MlflowException

    if not connection.search_registered_models(f"name = '{model}'", max_results=1):
        try:
            connection.create_registered_model(model)
        except MlflowException:  # another run was faster
            connection.get_registered_model(model)
    tags = {VERSION_TAG: version.name, "speechmill.uri": version.uri}
    tags |= {name: str(value) for name, value in version.tags.items() if value not in (None, "")}
    run_id, source = None, version.uri
    if version.run is not None:
        run_id = version.run.run_id
    if "://" not in source:  # a folder of this machine: servers refuse to name it
        source = f"runs:/{run_id}/publish" if run_id else f"speechmill:/{version.name}"
    made = connection.create_model_version(
        model, source, run_id=run_id, tags=tags, description=version.uri, await_creation_for=0
    )
    return str(made.version)
