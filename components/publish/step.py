"""Put a version of the model, with its scores and checksums, where clients fetch it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from components.publish.contents import Contents, gather, to_json
from components.publish.settings import PublishSettings
from components.publish.target import DESCRIPTION, SUMS, Target, open_target
from speech.artifacts import ExportedModel
from speech.errors import InputError
from speech.storage import write_json


@dataclass(frozen=True)
class Version:
    """A complete version: its name, where it lies, what `version.json` says, and whether this call made it."""

    name: str
    uri: str
    description: dict[str, Any]
    new: bool


def run(settings: PublishSettings, artifacts: Mapping[str, Path], target: str) -> Version:
    """Publish the artifacts (`model`, and if given `mapped`, `ir`, `evaluation`) as one version under `target`.

    A model that is already there is left as it is. Raises InputError for a damaged artifact, and for a version name
    that holds another model: what is published never changes.
    """
    contents = gather(artifacts)
    place = open_target(target)
    existing = settings.version or place.find(contents.digest)
    name = existing or f"{datetime.now(timezone.utc):%Y-%m-%d}-{contents.digest[:12]}"
    published = place.read(name) if existing else None
    if published is not None:
        return _already_there(name, place, published, contents)
    description = describe(name, contents)
    written = {ExportedModel.MODEL: contents.sidecar, SUMS: contents.sums, DESCRIPTION: to_json(description)}
    if not place.write(name, contents.files, written, contents.digest):
        return _already_there(name, place, place.read(name), contents)
    return Version(name, place.locate(name), description, new=True)


def run_in_pipeline(
    settings: PublishSettings, artifacts: Mapping[str, Path], publish_uri: str, artifact: Path
) -> Version:
    """Publish under `publish_uri`, leaving a note of where in `artifact`; without a URI, into `artifact` itself."""
    version = run(settings, artifacts, publish_uri or str(artifact))
    if publish_uri:
        write_json(artifact / DESCRIPTION, {**version.description, "uri": version.uri})
    return version


def describe(name: str, contents: Contents) -> dict[str, Any]:
    """The content of `version.json`."""
    return {
        "version": name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "content": contents.digest,
        "scores": {key: value for key, value in contents.scores.items() if isinstance(value, int | float | str)},
        "geometry": contents.model.get("geometry", {}),
        "language": contents.model.get("language", ""),
        "files": {
            name: {"bytes": file.size_bytes, "sha256": file.sha256} for name, file in sorted(contents.files.items())
        },
    }


def _already_there(name: str, place: Target, published: dict[str, Any] | None, contents: Contents) -> Version:
    if published is None or published.get("content") != contents.digest:
        raise InputError(
            f"{place.locate(name)} exists and holds another model: a published version never changes; "
            "choose another --version, or leave it empty for a name of the model's own"
        )
    return Version(name, place.locate(name), published, new=False)
