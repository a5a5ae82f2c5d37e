"""A version in the tracking server's model registry; past the gate, and never the reason that a step fails."""

from collections.abc import Mapping
from typing import Any

from components.publish.champion import PROMOTED
from components.publish.contents import to_json
from components.publish.model_bucket import DESCRIPTION
from components.publish.step import PublishedVersion, headline
from speech.tracking import registry
from speech.tracking.registry import RegisteredVersion
from speech.tracking.tracked_run import StepRecord, TrackedRun, guarded
from speech.tracking.tracking_settings import TrackingSettings, address, run_of

CHAMPIONS = (PROMOTED, "unchanged")  # decisions of the gate


def in_pipeline(
    tracking: TrackingSettings,
    version: PublishedVersion,
    images: Mapping[str, str],
    publish_uri: str,
    artifact_uri: str,
) -> None:
    """Leave what was published in the run's record, and the version in the registry, if a tracking server is set.

    The registered model is called as the last part of `publish_uri`; without that there is a record alone.
    """
    if address(tracking.tracking_uri):
        guarded(tracking, lambda: _record(tracking, version, images, publish_uri, artifact_uri))


def champion(tracking: TrackingSettings, publish_uri: str, version: str, uri: str) -> str:
    """Give a version the champion's alias in the registry, as behind a rollback; a line that says so.

    It is empty where no tracking server is set or it did not take it.
    """
    if not address(tracking.tracking_uri):
        return ""
    described, model = RegisteredVersion(version, uri), registry.model_name(publish_uri)
    done = guarded(tracking, lambda: registry.register(tracking, model, described, is_champion=True))
    return f"{address(tracking.tracking_uri)}: {registry.CHAMPION} of {model} is {version}" if done else ""


def _record(
    tracking: TrackingSettings,
    version: PublishedVersion,
    images: Mapping[str, str],
    publish_uri: str,
    artifact_uri: str,
) -> None:
    run = TrackedRun(tracking, [run_of(artifact_uri)])
    description, decision = version.description, version.decision
    source = {f"source.{name}": value for name, value in description.get("source", {}).items()}
    parameters: dict[str, Any] = {"version": version.name, "uri": version.uri, **source}
    tags = {f"image.{step}": reference for step, reference in images.items()}
    if decision:
        tags |= {"decision": decision["decision"], "decision.reason": decision["reason"]}
    run.log(StepRecord("publish", parameters, headline(version), tags, {DESCRIPTION: to_json(description)}))
    if publish_uri:
        scores = {
            name: value for name, value in description.get("scores", {}).items() if isinstance(value, int | float)
        }
        described = RegisteredVersion(version.name, version.uri, {**scores, **source}, run)
        is_champion = decision.get("decision") in CHAMPIONS
        registry.register(tracking, registry.model_name(publish_uri), described, is_champion=is_champion)
    run.set_running(False)
