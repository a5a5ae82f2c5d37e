"""Where runs are recorded."""

import os
import re
from dataclasses import dataclass

from speech.settings import setting

URI_VARIABLE = "MLFLOW_TRACKING_URI"  # MLflow's own, instead of --tracking_uri
URI_HELP = (
    "MLflow server that records the run and registers the version, such as http://mlflow:5000; empty: "
    f"{URI_VARIABLE}, else none"
)
EXPERIMENT, EXPERIMENT_HELP = "speechmill", "MLflow's experiment of the run"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class TrackingSettings:
    """The tracking server, and the names there."""

    tracking_uri: str = setting(
        "",
        URI_HELP,
        group="Tracking",
        pipeline=True,
    )
    tracking_experiment: str = setting(EXPERIMENT, EXPERIMENT_HELP, pipeline=True)


def address(tracking_uri: str) -> str:
    """The server, as set or as the environment says; empty: none."""
    return tracking_uri or os.environ.get(URI_VARIABLE, "").strip()


def run_of(artifact_uri: str) -> str:
    """What tells a pipeline's run from others, from where one of its artifacts lies.

    Kubeflow's URIs have the run's id in them (.../retrain/RUN/train/EXECUTION/checkpoint); on a machine the artifacts
    of a run share a folder (.../RUN/train/checkpoint).
    """
    if found := _UUID.search(artifact_uri):
        return found[0]
    return artifact_uri.rsplit("/", 2)[0] if artifact_uri.count("/") > 2 else artifact_uri
