"""A real Kubeflow Pipelines, and what tests make there."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kfp_server_api

from components import images
from pipelines.cluster.api import ENDED, KubeflowApi

POLL_S = 1.0


@dataclass
class Kubeflow:
    """The server, and what was made there."""

    endpoint: str
    image: str
    name: str = field(default_factory=lambda: f"test-{uuid.uuid4().hex[:8]}")  # of experiments, pipelines, schedules

    def __post_init__(self) -> None:
        self.cluster = KubeflowApi(self.endpoint)
        self.client = self.cluster.client

    @property
    def receiver(self) -> str:
        """The address at which pods find a server of the tests: that from which this machine reaches Kubeflow's
        (KFP_RECEIVER: another)."""
        if given := os.environ.get("KFP_RECEIVER"):
            return given
        place = urllib.parse.urlsplit(self.endpoint)
        with socket.create_connection((place.hostname, place.port or 80), timeout=10) as connection:
            address: str = connection.getsockname()[0]
        return address

    def start(self, command: str, *flags: str) -> "subprocess.Popen[str]":
        """`speechmill COMMAND` towards this server."""
        own = ["--endpoint", self.endpoint, "--experiment", self.name, "--pipeline_name", self.name]
        arguments = [sys.executable, "-m", "pipelines", command, *own, *flags]
        return subprocess.Popen(
            arguments, cwd=images.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
        )

    def run(self, command: str, *flags: str) -> "Done":
        """The same to its end."""
        process = self.start(command, *flags)
        out, err = process.communicate(timeout=1500)
        print(err)
        return Done(process.returncode, out, err)

    def submit(self, path: Path, *flags: str) -> "Done":
        """`speechmill submit` of a compiled pipeline."""
        return self.run("submit", "--pipeline", str(path), "--poll_s", str(POLL_S), *flags)

    def experiment_id(self) -> str:
        """The experiment of all runs."""
        return self.client.create_experiment(self.name).experiment_id

    def runs(self) -> list[Any]:
        """All runs, the newest first."""
        found = self.client.list_runs(experiment_id=self.experiment_id(), page_size=100, sort_by="created_at desc")
        return list(found.runs or ())

    def remove_everything(self) -> None:
        """Schedules first, because they make runs."""
        experiment = self.experiment_id()
        schedules = self.client.list_recurring_runs(experiment_id=experiment, page_size=100).recurring_runs
        for schedule in schedules or ():
            self.client.delete_recurring_run(schedule.recurring_run_id)
        for run in self.runs():
            if run.state not in ENDED:
                with contextlib.suppress(kfp_server_api.ApiException):  # it ends already
                    self.client.terminate_run(run.run_id)
            self.client.delete_run(run.run_id)
        for pipeline in self.client.list_pipelines(page_size=200).pipelines or ():
            if pipeline.display_name.startswith(self.name):
                for version in self.client.list_pipeline_versions(
                    pipeline.pipeline_id, page_size=100
                ).pipeline_versions:
                    self.client.delete_pipeline_version(pipeline.pipeline_id, version.pipeline_version_id)
                self.client.delete_pipeline(pipeline.pipeline_id)
        self.client.delete_experiment(experiment)


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def run_id(self) -> str:
        return self.out.split()[0]


def until(what: Callable[[], Any], timeout_s: float = 300.0) -> Any:
    """The first answer that is true; fails after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if found := what():
            return found
        time.sleep(POLL_S)
    raise AssertionError(f"not within {timeout_s:.0f} s")
