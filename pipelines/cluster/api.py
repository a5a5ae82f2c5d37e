"""Kubeflow Pipelines' API, as far as submitting needs it: upload, start, look, retry, schedule."""

import contextlib
import hashlib
import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speech.errors import InputError, RetryError
from speech.kubeflow_runs import workflow
from speech.storage.retries import attempts

SUCCEEDED = ("SUCCEEDED", "SKIPPED")
ENDED = (*SUCCEEDED, "FAILED", "CANCELED")
PAGE = 100
ANSWER_S = 60  # a server that is silent for longer is asked again
LOG_TAIL = 1 << 16  # bytes: the end of a log says why a step failed
PASSING = (0, 429, 502, 503, 504)
HEALTH_ATTEMPTS = 5
ORPHAN = "ORPHAN"  # a schedule goes, its runs stay


@dataclass(frozen=True)
class PipelineVersion:
    """A version of an uploaded pipeline."""

    pipeline_id: str
    version_id: str
    name: str
    new: bool


@dataclass(frozen=True)
class Run:
    """A run at one moment."""

    state: str
    error: str = ""
    finished: str = ""  # when; changes with each end of a run that is tried again


@dataclass(frozen=True)
class RecurringRun:
    """A schedule that was made (a recurring run, as Kubeflow calls it)."""

    schedule_id: str
    replaced: int
    still_running: tuple[str, ...]  # runs of the replaced ones


@dataclass
class KubeflowApi:
    """A connection; every method raises InputError if the server refuses, RetryError if it does not answer."""

    endpoint: str = ""
    namespace: str = ""
    token_file: str = ""
    ssl_ca_cert: str = ""
    client: Any = field(init=False)
    _token: str = field(init=False, default="", repr=False)

    def __post_init__(self) -> None:
        if self.token_file:
            try:
                self._token = Path(self.token_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise InputError(f"--token_file {self.token_file}: {error.strerror}") from error
        with self._calling("connecting"):
            self.client = _client_class()(
                host=self.endpoint or None,
                namespace=self.namespace or "kubeflow",
                existing_token=self._token or None,
                ssl_ca_cert=self.ssl_ca_cert or None,
            )

    def health(self) -> dict[str, Any]:
        """What the server says of itself: `tag_name` (its version), `multi_user`, as far as it does."""
        with self._calling("asking for its version"):
            return dict(json.loads(self._get("/apis/v2beta1/healthz").data))

    def upload(self, package: Path, pipeline: str) -> PipelineVersion:
        """Upload a compiled pipeline as a version named by its content; the pipeline is made the first time.

        What has been uploaded already is not uploaded again. The pipeline is made empty, because the version that an
        upload of a whole pipeline brings along is named like the pipeline.
        """
        name = hashlib.sha256(package.read_bytes()).hexdigest()[:12]
        with self._calling(f"uploading {pipeline}"):
            pipeline_id = self._pipeline_id(pipeline) or self._make_pipeline(pipeline)
            for version in self._versions(pipeline_id):
                if version.display_name == name:
                    return PipelineVersion(pipeline_id, version.pipeline_version_id, name, False)
            uploaded = self.client.upload_pipeline_version(str(package), name, pipeline_id=pipeline_id)
            return PipelineVersion(pipeline_id, uploaded.pipeline_version_id, name, True)

    def _pipeline_id(self, name: str) -> str:
        """The pipeline of a name, in a multi-user installation that of the namespace; empty if there is none."""
        predicate = {"operation": 1, "key": "display_name", "stringValue": name}  # 1: equals
        listed = self.client._pipelines_api.pipeline_service_list_pipelines(
            namespace=self.namespace or None, filter=json.dumps({"predicates": [predicate]})
        )
        return listed.pipelines[0].pipeline_id if listed.pipelines else ""

    def _make_pipeline(self, name: str) -> str:
        import kfp_server_api

        pipeline = kfp_server_api.V2beta1Pipeline(display_name=name, namespace=self.namespace or None)
        return self.client._pipelines_api.pipeline_service_create_pipeline(pipeline).pipeline_id

    def start(
        self,
        version: PipelineVersion,
        experiment: str,
        run_name: str,
        parameters: dict[str, Any],
        service_account: str = "",
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

    def state(self, run_id: str) -> Run:
        """What has become of a run."""
        with self._calling(f"following run {run_id}"):
            run = self.client._run_api.run_service_get_run(run_id, _request_timeout=ANSWER_S)
        message = run.error.message if run.error is not None and run.error.message else ""
        return Run(run.state or "PENDING", _first_line(message), str(run.finished_at or ""))

    def parameters(self, run_id: str) -> dict[str, Any]:
        """The parameters of a run, as far as they were given or the pipeline has defaults."""
        with self._calling(f"asking for run {run_id}"):
            run = self.client._run_api.run_service_get_run(run_id, _request_timeout=ANSWER_S)
        spec = run.pipeline_spec or {}
        declared = spec.get("pipeline_spec", spec).get("root", {}).get("inputDefinitions", {}).get("parameters", {})
        defaults = {name: one.get("defaultValue") for name, one in declared.items()}
        given = run.runtime_config.parameters if run.runtime_config is not None else None
        return defaults | (given or {})

    def workflow(self, run_id: str) -> dict[str, Any]:
        """The Workflow that a run is to Argo; `{}` before it has begun.

        Argo knows what the tasks of API v2beta1 leave out: which pod belongs to which step, whether the step came from
        the cache, and why a pod waits or failed. API v1beta1 hands it over for every run.
        """
        with self._calling(f"following run {run_id}"):
            return workflow.of_answer(self._get(f"/apis/v1beta1/runs/{run_id}").data)

    def log(self, run_id: str, pod: str) -> str:
        """The end of a pod's log, from the pod or the archive; empty if it is nowhere any more."""
        with self._calling(f"reading the log of {pod}"):
            answer = self._get(f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log")
            tail = b""
            for block in answer.stream(LOG_TAIL):
                tail = (tail + block)[-LOG_TAIL:]
        text = tail.decode("utf-8", errors="replace")
        return "" if text.startswith('{"error_message"') else text  # the status says 200 all the same

    def retry(self, run_id: str) -> None:
        """Let a failed run go on: what succeeded stays, what failed is done again. Pods that failed are deleted."""
        with self._calling(f"trying run {run_id} again"):
            self.client._run_api.run_service_retry_run(run_id)

    def address(self, run_id: str) -> str:
        """The page of a run in the user interface."""
        return f"{self.client._get_url_prefix().rstrip('/')}/#/runs/details/{run_id}"

    def _get(self, path: str) -> Any:
        """An answer that the SDK has no call for, as it comes."""
        api = self.client._run_api.api_client
        return api.call_api(
            path,
            "GET",
            auth_settings=["Bearer"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=ANSWER_S,
        )

    def schedule(
        self,
        version: PipelineVersion,
        experiment: str,
        name: str,
        cron: str,
        parameters: dict[str, Any],
        service_account: str = "",
    ) -> RecurringRun:
        """Create an enabled schedule in the place of those of the same name.

        A schedule pins a version and cannot be changed, so the new one is made first and the old ones deleted then: a
        kill in between leaves two, which the next call puts right. Kubernetes would delete the Workflows of an old
        schedule along with it, which kills a run in progress and takes the pods and logs of earlier ones: they are
        left alone.
        """
        with self._calling(f"scheduling {name}"):
            experiment_id = self._experiment(experiment)
            before = self._schedules(experiment_id, name)
            schedule = self.client.create_recurring_run(
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
                self._delete_schedule(schedule_id)
            return RecurringRun(schedule.recurring_run_id, len(before), self._running(experiment_id, before))

    def _delete_schedule(self, schedule_id: str) -> None:
        self.client._recurring_run_api.recurring_run_service_delete_recurring_run(
            schedule_id, propagation_policy=ORPHAN
        )

    def _running(self, experiment_id: str, schedules: list[str]) -> tuple[str, ...]:
        """Runs of these schedules that have not ended; of the newest page, because a schedule runs one at a time."""
        if not schedules:
            return ()
        page = self.client.list_runs(experiment_id=experiment_id, page_size=PAGE, sort_by="created_at desc")
        return tuple(
            run.run_id for run in page.runs or () if run.recurring_run_id in schedules and run.state not in ENDED
        )

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
        return [
            schedule.recurring_run_id for schedule in _pages(listed, "recurring_runs") if schedule.display_name == name
        ]

    @contextlib.contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        """Keep the SDK's own lines off the terminal, and make one line of its errors."""
        import kfp_server_api
        import urllib3.exceptions

        logging.disable(logging.CRITICAL)  # the SDK logs whole answers, in which a server may repeat the token
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                yield
        except kfp_server_api.ApiException as error:
            message = f"{what}: the server answered {error.status} {error.reason}: {_said(error.body)}"
            message = message.replace(self._token, "...") if self._token else message
            if error.status in PASSING:
                raise RetryError(message) from error
            raise InputError(message) from error
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            where = self.endpoint or "Kubeflow Pipelines (is --endpoint right?)"
            raise RetryError(f"{what}: {where} does not answer: {_first_line(str(error))}") from error
        except ValueError as error:
            raise InputError(f"{what}: {_first_line(str(error))}") from error
        finally:
            logging.disable(logging.NOTSET)


def _client_class() -> Any:
    """kfp's client, which says at once what a server refuses: its own asks five times, whatever the answer is."""
    import kfp
    import kfp_server_api

    class PatientClient(kfp.Client):  # type: ignore[misc]
        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            for number in attempts(HEALTH_ATTEMPTS, sleep_duration, growth=1):
                try:
                    return self._healthz_api.healthz_service_get_healthz()
                except kfp_server_api.ApiException as error:
                    passing = error.status in PASSING or (error.status or 0) >= 500
                    if not passing or number == HEALTH_ATTEMPTS - 1:
                        raise

    return PatientClient


def _pages(listed: Callable[[str], Any], name: str) -> Iterator[Any]:
    token = ""
    while True:
        page = listed(token)
        yield from getattr(page, name) or ()
        token = page.next_page_token or ""
        if not token:
            return


def _said(body: object) -> str:
    """What the body of a refusal says: the innermost reason, or the text as it is."""
    try:
        answer = json.loads(str(body))
        inner = [detail["message"] for detail in answer.get("details", ()) if detail.get("message")]
        return _first_line((inner or [answer.get("message") or answer["error_message"]])[0])
    except (ValueError, KeyError, TypeError, AttributeError):
        return _first_line(body)


def _first_line(text: object) -> str:
    lines = str(text or "").strip().splitlines()
    return lines[0][:300] if lines else ""


def tell(text: str) -> None:
    """Progress goes to stderr at once."""
    print(text, file=sys.stderr, flush=True)
