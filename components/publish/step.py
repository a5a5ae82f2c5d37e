"""Put a version of the model, with its scores and checksums, where clients fetch it, and decide on the champion."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from components.publish.champion import RELEASES, Champions, now
from components.publish.contents import Contents, gather, to_json
from components.publish.gate import decide
from components.publish.model_bucket import DESCRIPTION, SUMS, ModelBucket, open_target
from components.publish.settings import PublishSettings
from speech.artifacts import ExportedModel
from speech.errors import InputError
from speech.metrics import CHARACTERS, WORDS
from speech.storage.files import write_json

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n\s*", re.DOTALL)  # of a card, for programs


@dataclass(frozen=True)
class PublishedVersion:
    """A complete version: its name, where it lies, what `version.json` says, and whether this call made it.

    `decision` is what became of it at the gate (see gate.py); empty if it was published past it.
    """

    name: str
    uri: str
    description: dict[str, Any]
    new: bool
    decision: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """What a version was made of: the release, its revision, and the corpus that was imported from it."""

    corpus_uri: str = ""
    corpus_revision: str = ""
    imported_uri: str = ""


def run(
    settings: PublishSettings,
    artifacts: Mapping[str, Path],
    target: str,
    source: Provenance | None = None,
    artifact_uri: str = "",
) -> PublishedVersion:
    """Publish the artifacts as one version under `target`, and make it the champion there if it is better.

    `artifacts` maps names to folders, as in `contents.gather`; `artifact_uri` names the run. Raises InputError
    as `publish` does.
    """
    place = open_target(target)
    Champions(place).check()
    version = publish(settings, artifacts, target, source)
    decision = decide(settings, place, version.name, artifact_uri)
    if source is not None and source.corpus_revision:
        record = {"version": version.name, "trained": now(), "decision": decision["decision"], **asdict(source)}
        place.create(f"{RELEASES}/{source.corpus_revision}.json", to_json(record))
    return replace(version, decision=decision)


def publish(
    settings: PublishSettings, artifacts: Mapping[str, Path], target: str, source: Provenance | None = None
) -> PublishedVersion:
    """Publish the artifacts as one version under `target`, past the gate.

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
    if source is not None:
        description["source"] = asdict(source)
    written = {
        **contents.texts,
        ExportedModel.MODEL: contents.sidecar,
        SUMS: contents.sums,
        DESCRIPTION: to_json(description),
    }
    if not place.write(name, contents.files, written, contents.digest):
        return _already_there(name, place, place.read(name), contents)
    return PublishedVersion(name, place.locate(name), description, new=True)


def run_in_pipeline(
    settings: PublishSettings,
    artifacts: Mapping[str, Path],
    publish_uri: str,
    artifact: Path,
    source: Provenance | None = None,
    artifact_uri: str = "",
) -> PublishedVersion:
    """Publish under `publish_uri`, leaving a note of where in `artifact`; without a URI, into `artifact` itself.

    There it is alone: without checkpoint and without a champion.
    """
    if not publish_uri:
        return publish(
            settings, {name: path for name, path in artifacts.items() if name != "checkpoint"}, str(artifact)
        )
    version = run(settings, artifacts, publish_uri, source, artifact_uri)
    write_json(artifact / DESCRIPTION, {**version.description, "uri": version.uri, "decision": version.decision})
    return version


def report(version: PublishedVersion, card: Path) -> str:
    """The Markdown page that the pipeline shows: what became of the version, and the model card in `card`."""
    scores = version.description.get("scores", {})
    lines = [f"## {version.name}", "", f"`{version.uri}`", ""]
    if version.decision:
        lines += [f"{verdict(version)}.", ""]
    order = sorted((WORDS, CHARACTERS), key=lambda rate: rate != scores.get("headline", WORDS))
    shown = {name: scores[name] for name in (*order, "loss", "test_clips") if name in scores}
    if shown:
        lines += ["| measured | |", "|---|---|", *(f"| {name} | {value:.4g} |" for name, value in shown.items()), ""]
    lines += ["| file | bytes | sha256 |", "|---|---|---|"]
    files = version.description["files"].items()
    lines += [f"| `{name}` | {file['bytes']:,} | `{file['sha256'][:16]}` |" for name, file in files]
    pages = [FRONT_MATTER.sub("", page.read_text(encoding="utf-8")) for page in sorted(card.glob("*.md"))]
    return "\n\n".join(["\n".join(lines), *pages]) + "\n"


def headline(version: PublishedVersion) -> dict[str, float]:
    """The numbers that the pipeline shows."""
    comparison = version.decision.get("comparison") or {}
    numbers = (
        {"champion": float(version.decision.get("decision") in ("promoted", "unchanged"))} if version.decision else {}
    )
    rate = comparison.get("rate", WORDS)
    names = (f"candidate_{rate}", f"champion_{rate}", "difference")
    return {**numbers, **{name: comparison[name] for name in names if name in comparison}}


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


def _already_there(
    name: str, place: ModelBucket, published: dict[str, Any] | None, contents: Contents
) -> PublishedVersion:
    if published is None or published.get("content") != contents.digest:
        raise InputError(
            f"{place.locate(name)} exists and holds another model: a published version never changes; "
            "choose another --version, or leave it empty for a name of the model's own"
        )
    return PublishedVersion(name, place.locate(name), published, new=False)


def verdict(version: PublishedVersion) -> str:
    """One line that says what the gate decided."""
    outcome = {"promoted": "the new champion", "kept": "not the champion", "unchanged": "the champion"}
    return f"{version.name} is {outcome[version.decision['decision']]}: {version.decision['reason']}"
