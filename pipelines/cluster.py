"""Kubeflow Pipelines' API, as far as submitting needs it: upload, start, follow, schedule."""

import contextlib
import hashlib
import io
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speech.errors import InputError, RetryError

SUCCEEDED = ("SUCCEEDED", "SKIPPED")
ENDED = (*SUCCEEDED, "FAILED", "CANCELED")
LOST_ANSWERS = 30  # polls in a row without an answer before following ends
PAGE = 100
OWN_TASKS = ("-driver", "executor", "root")  # pods of Kubeflow's own


@dataclass(frozen=True)
class Version:
    """A version of an uploaded pipeline."""

    pipeline_id: str
    version_id: str
    name: str
    new: bool


@dataclass
class Cluster:
    """A connection; every method raises InputError if the server refuses, RetryError if it does not answer."""

    endpoint: str = ""
    namespace: str = ""
    token_file: str = ""
    ssl_ca_cert: str = ""
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        import kfp

        token = None
        if self.token_file:
            try:
                token = Path(self.token_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise InputError(f"--token_file {self.token_file}: {error.strerror}") from error
        with self._calling("connecting"):
            self.client = kfp.Client(
                host=self.endpoint or None,
                namespace=self.namespace or "kubeflow",
                existing_token=token,
                ssl_ca_cert=self.ssl_ca_cert or None,
            )

    def upload(self, package: Path, pipeline: str) -> Version:
        """Upload a compiled pipeline: the first time as a new pipeline, then as a version named by its content.

        What has been uploaded already is not uploaded again.
        """
        name = hashlib.sha256(package.read_bytes()).hexdigest()[:12]
        with self._calling(f"uploading {pipeline}"):
            pipeline_id = self.client.get_pipeline_id(pipeline)
            if pipeline_id is None:
                created = self.client.upload_pipeline(str(package), pipeline_name=pipeline)
                versions = self._versions(created.pipeline_id)
                return Version(created.pipeline_id, versions[0].pipeline_version_id, versions[0].display_name, True)
            for version in self._versions(pipeline_id):
                if version.display_name == name:
                    return Version(pipeline_id, version.pipeline_version_id, name, False)
            made = self.client.upload_pipeline_version(str(package), name, pipeline_id=pipeline_id)
            return Version(pipeline_id, made.pipeline_version_id, name, True)

    def start(
        self, version: Version, experiment: str, run_name: str, parameters: dict[str, Any], service_account: str = ""
    ) -> str:
        """Start a run and return its id."""
        with self._calling(f"starting {run_name}"):
            run = self.client.run_pipeline(
                self._experiment(experiment),
                run_name,
                params=parameters,
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
                service_account=service_account or None,
            )
            return run.run_id

    def follow(self, run_id: str, say: Callable[[str], None], poll_s: float, timeout_s: float) -> str:
        """Say what becomes of a run's tasks until it ends; returns its state, `RUNNING` if `timeout_s` (0: none) is up.

        Answers that do not come are asked for again, for a while.
        """
        told: dict[str, str] = {}
        lost, deadline_s = 0, time.monotonic() + timeout_s
        while True:
            try:
                with self._calling(f"following run {run_id}"):
                    run = self.client.get_run(run_id)
                lost = 0
            except RetryError:
                lost += 1
                if lost > LOST_ANSWERS:
                    raise
                run = None
            if run is not None:
                for line in _news(run, told):
                    say(line)
                if run.state in ENDED:
                    if run.state not in SUCCEEDED and run.error is not None and run.error.message:
                        say(f"error: {run.error.message}")
                    return run.state
            if timeout_s and time.monotonic() > deadline_s:
                return "RUNNING"
            time.sleep(poll_s)

    def schedule(
        self,
        version: Version,
        experiment: str,
        name: str,
        cron: str,
        parameters: dict[str, Any],
        service_account: str = "",
    ) -> tuple[str, int]:
        """Create an enabled schedule in the place of those of the same name; returns its id and how many it replaced.

        A schedule pins a version and cannot be changed, so the new one is made first and the old ones deleted then: a
        kill in between leaves two, which the next call puts right.
        """
        with self._calling(f"scheduling {name}"):
            experiment_id = self._experiment(experiment)
            before = self._schedules(experiment_id, name)
            made = self.client.create_recurring_run(
                experiment_id,
                name,
                cron_expression=cron,
                no_catchup=True,
                max_concurrency=1,
                enabled=True,
                params=parameters,
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
                service_account=service_account or None,
            )
            for schedule_id in before:
                self.client.delete_recurring_run(schedule_id)
            return made.recurring_run_id, len(before)

    def _experiment(self, name: str) -> str:
        return self.client.create_experiment(name, namespace=self.namespace or None).experiment_id

    def _versions(self, pipeline_id: str) -> list[Any]:
        """All versions, the newest first."""
        listed: Callable[[str], Any] = lambda token: self.client.list_pipeline_versions(  # noqa: E731
            pipeline_id, page_token=token, page_size=PAGE, sort_by="created_at desc"
        )
        return list(_pages(listed, "pipeline_versions"))

    def _schedules(self, experiment_id: str, name: str) -> list[str]:
        listed: Callable[[str], Any] = lambda token: self.client.list_recurring_runs(  # noqa: E731
            page_token=token, page_size=PAGE, experiment_id=experiment_id
        )
        return [one.recurring_run_id for one in _pages(listed, "recurring_runs") if one.display_name == name]

    @contextlib.contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        """Keep the SDK's own lines off the terminal, and make one line of its errors."""
        import kfp_server_api
        import urllib3.exceptions

        logging.disable(logging.WARNING)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                yield
        except kfp_server_api.ApiException as error:
            message = f"{what}: the server answered {error.status} {error.reason}: {_first_line(error.body)}"
            if error.status in (0, 429, 502, 503, 504):
                raise RetryError(message) from error
            raise InputError(message) from error
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            where = self.endpoint or "Kubeflow Pipelines (is --endpoint right?)"
            raise RetryError(f"{what}: {where} does not answer: {_first_line(str(error))}") from error
        except ValueError as error:
            raise InputError(f"{what}: {_first_line(str(error))}") from error
        finally:
            logging.disable(logging.NOTSET)


def _pages(listed: Callable[[str], Any], name: str) -> Iterator[Any]:
    token = ""
    while True:
        page = listed(token)
        yield from getattr(page, name) or ()
        token = page.next_page_token or ""
        if not token:
            return


def _first_line(text: object) -> str:
    lines = str(text or "").strip().splitlines()
    return lines[0][:300] if lines else ""


def _news(run: Any, told: dict[str, str]) -> Iterator[str]:
    """A line for each task, and for the run, whose state has changed since the last call."""
    details = run.run_details.task_details if run.run_details else None
    for task in details or ():
        name = task.display_name or task.task_id
        if not task.state or name.endswith(OWN_TASKS) or told.get(task.task_id) == task.state:
            continue
        told[task.task_id] = task.state
        seconds = ""
        if task.state in ENDED and task.start_time and task.end_time:
            seconds = f" {(task.end_time - task.start_time).total_seconds():9.0f} s"
        message = f": {task.error.message}" if task.error is not None and task.error.message else ""
        yield f"{name:32} {task.state.lower():10}{seconds}{message}"
    if run.state and told.get("") != run.state:
        told[""] = run.state
        yield f"{'run':32} {run.state.lower()}"


def tell(text: str) -> None:
    """Progress goes to stderr at once."""
    print(text, file=sys.stderr, flush=True)
