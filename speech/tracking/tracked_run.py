"""One run in MLflow, which all steps of a pipeline's run write to; by MLflow's own client.

The steps are processes on several machines. What they share is the name of the run that they belong to, so the MLflow
run is found by a tag made of it, and made by the first who looks. A training that goes on in another run of the
pipeline brings the name of the one that it began in along; both lead to the same MLflow run then.
"""

import hashlib
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speech.errors import InputError
from speech.extras import require
from speech.tracking.tracking_settings import TrackingSettings, address

RUN_TAG = "speechmill.run"
# MLflow's own patience is minutes; read at each call. Retries would be lines in the log.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
WAIT_S = 60.0  # of a step at its end, for all of its record
MOST_PARAMETERS = 90  # in a call
MOST_SYMBOLS = 500  # of a parameter, which older servers refuse beyond
_NOT_IN_KEYS = re.compile(r"[^\w\-. /]")


@dataclass(frozen=True)
class StepRecord:
    """What a step leaves in the run. Parameters and metrics get its name in front; files are texts by their names."""

    step: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str | Path] = field(default_factory=dict)


class TrackedRun:
    """The MLflow run that belongs to `names`; every method may raise whatever MLflow raises."""

    def __init__(self, settings: TrackingSettings, names: Sequence[str]) -> None:
        self.client = client(settings)
        self.experiment = self._experiment(settings.tracking_experiment)
        self.run_id = self._find_or_make([name for name in dict.fromkeys(names) if name])

    def log(self, made: StepRecord) -> None:
        """Write a step's record."""
        known = self.client.get_run(self.run_id).data.params  # which never change
        fresh = {f"{made.step}/{name}": value for name, value in made.parameters.items() if _is_said(value)}
        self._parameters({name: value for name, value in fresh.items() if name not in known})
        self.metrics({f"{made.step}/{name}": value for name, value in made.metrics.items()}, 0)
        for name, value in made.tags.items():
            self.client.set_tag(self.run_id, _key(name), str(value)[:MOST_SYMBOLS])
        for name, content in made.files.items():
            text = content.read_text(encoding="utf-8") if isinstance(content, Path) else content
            self.client.log_text(self.run_id, text, f"{made.step}/{name}")

    def metrics(self, values: Mapping[str, Any], step: int, time_ms: int = 0) -> None:
        """Write the numbers among `values` as metrics of a step; two equal calls are one."""
        from mlflow.entities import Metric

        numbers = {
            _key(name): float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        metrics = [Metric(name, value, time_ms or _now_ms(), step) for name, value in numbers.items()]
        if metrics:
            self.client.log_batch(self.run_id, metrics=metrics)

    def set_running(self, is_running: bool) -> None:
        """Say whether a step works on it; between two steps, and behind the last one, the run is finished."""
        if is_running:
            self.client.update_run(self.run_id, status="RUNNING")
        else:
            self.client.set_terminated(self.run_id)

    def steps_of(self, metric: str) -> Collection[int]:
        """The steps that a metric was written for."""
        return {one.step for one in self.client.get_metric_history(self.run_id, _key(metric))}

    def _parameters(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        parameters = [Param(_key(name), _text(value)) for name, value in values.items()]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            self.client.log_batch(self.run_id, params=parameters[start : start + MOST_PARAMETERS])

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name))
            except MlflowException:  # another step was faster
                found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise InputError(f"experiment {name!r} is deleted: restore it, or give another --tracking_experiment")
        return str(found.experiment_id)

    def _find_or_make(self, names: Sequence[str]) -> str:
        found = next((run for name in names for run in self._runs(name)), None)
        tags = {_tag(name): name for name in names}
        if found is None:
            made = self.client.create_run(self.experiment, tags={RUN_TAG: names[0], **tags}, run_name=names[0][-60:])
            return str(made.info.run_id)
        for name in tags.keys() - found.data.tags.keys():
            self.client.set_tag(found.info.run_id, name, tags[name])
        return str(found.info.run_id)

    def _runs(self, name: str) -> list[Any]:
        return list(
            self.client.search_runs(
                [self.experiment], f"tags.`{_tag(name)}` != ''", max_results=1, order_by=["attributes.start_time ASC"]
            )
        )


def client(settings: TrackingSettings) -> Any:
    """MLflow's client of the server that is set; raises InputError where MLflow is not installed."""
    require("tracking")
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    uri = address(settings.tracking_uri)
    return MlflowClient(uri, uri)


def record(settings: TrackingSettings, run: str, made: Callable[[], StepRecord]) -> None:
    """Write a step's record into the run of that name, if a server is set. Whatever goes wrong is a line on stderr."""

    def write() -> None:
        tracked = TrackedRun(settings, [run])
        tracked.log(made())
        tracked.set_running(False)

    if address(settings.tracking_uri):
        guarded(settings, write)


def guarded(settings: TrackingSettings, work: Callable[[], object], wait_s: float = WAIT_S) -> bool:
    """Do what talks to the server, for `wait_s` at most; whether it was done. A failure is a line on stderr."""
    failures: list[str] = ["no answer"]

    def attempt() -> None:
        try:
            work()
        except Exception as error:
            failures[0] = one_line(error)
        else:
            failures.clear()

    thread = threading.Thread(target=attempt, name="tracking", daemon=True)
    thread.start()
    thread.join(wait_s)
    if failures:
        text = f"{address(settings.tracking_uri)}: {failures[0]}: nothing is recorded there; the work goes on"
        print(f"note: {text}", file=sys.stderr, flush=True)
    return not failures


def one_line(error: Exception) -> str:
    """What an error of MLflow's says, without the trail of the connection."""
    text = " ".join((str(error) or type(error).__name__).split())
    if "Max retries exceeded" in text or "Connection refused" in text or "timed out" in text:
        return "the server does not answer"
    return text[:200]


def _tag(name: str) -> str:
    return f"{RUN_TAG}.{hashlib.sha256(name.encode('utf-8')).hexdigest()[:16]}"


def _key(name: str) -> str:
    return _NOT_IN_KEYS.sub("_", name)[:250]


def _text(value: Any) -> str:
    return (" ".join(map(str, value)) if isinstance(value, tuple | list) else str(value))[:MOST_SYMBOLS]


def _is_said(value: Any) -> bool:
    return value not in (None, "", (), [])


def _now_ms() -> int:
    return int(time.time() * 1000)
