"""The last pod of a run finds out how it ended, by what a real Kubeflow Pipelines answered, and what it published."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from components.publish import step
from components.publish.component import notify
from components.publish.notice import on_cluster
from components.publish.settings import NotifySettings, PublishSettings
from speech.kubeflow_runs import workflow
from speech.notification.webhook import URL_VARIABLE
from tests.fixtures.kfp_server import recording
from tests.fixtures.webhook_server import webhook

RUN = "cce2d502-0f21-4d6d-851b-c2015ba46d6a"


class Api:
    """Plays the end of a recorded run."""

    url, scenario = "", "succeeded"

    def answer(self, path: str) -> bytes | None:
        told = recording(self.scenario)
        if path == f"/apis/v1beta1/runs/{RUN}":
            manifest = json.dumps(told["frames"][-1]["workflow"])
            run = {"id": RUN, "name": "nightly-1-1568213014"}
            return json.dumps({"run": run, "pipeline_runtime": {"workflow_manifest": manifest}}).encode()
        log: dict[str, str] = told["logs"]
        pod = path.removeprefix(f"/apis/v1alpha1/runs/{RUN}/nodes/").removesuffix("/log")
        return log[pod].encode() if pod in log else None


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.setattr(on_cluster, "DELAY_S", 0.01)
    played = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = played.answer(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"{}")

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    played.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield played
    server.shutdown()
    server.server_close()


def settings(api: Api, hook: Any, **given: str) -> NotifySettings:
    known = {"notify_url": hook.url, "run_id": RUN, "run_name": "nightly 7", "kubeflow_api": api.url}
    return NotifySettings(**{**known, **given})


@pytest.mark.parametrize(
    ("scenario", "state", "reason"),
    [
        ("succeeded", "SUCCEEDED", ""),
        ("wrong_input", "FAILED", "Work: error: --epochs -1 is not allowed: 1 or more"),
        ("terminated", "CANCELED", ""),
    ],
)
def test_how_it_ended(api: Api, scenario: str, state: str, reason: str) -> None:
    api.scenario = scenario
    with webhook() as hook:
        assert on_cluster.tell(settings(api, hook, kubeflow_page="https://kubeflow.example.org/pipeline/"))
    (told,) = hook.received
    assert (told["state"], told["reason"], told["run"]) == (state, reason, "nightly 7")
    assert told["links"] == {"run": f"https://kubeflow.example.org/pipeline/#/runs/details/{RUN}"}


def test_a_scheduled_run_is_not_told_its_name(api: Api) -> None:
    with webhook() as hook:
        assert on_cluster.tell(settings(api, hook, run_name=""))
    assert hook.received[0]["run"] == "nightly-1-1568213014"


def test_steps_that_fail_for_one_reason_share_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.scenario = "wrong_input"
    steps = workflow.steps
    monkeypatch.setattr(workflow, "steps", lambda flow: [s for s in steps(flow) for _ in range(2)])
    assert on_cluster.ending(api.url, RUN).reason.startswith("Work, Work: error: --epochs -1")


def test_out_of_memory_is_said(api: Api) -> None:
    api.scenario = "out_of_memory"
    assert on_cluster.ending(api.url, RUN).reason.startswith("Work: out of memory")


def test_what_it_published(api: Api, make_artifacts, target) -> None:
    edits = [1 if number % 2 else 0 for number in range(200)]
    for name, counts, run in (("1", edits, "another"), ("2", [0] * 100 + edits[100:], RUN)):
        uri = f"s3://mlpipeline/v2/artifacts/retrain/{run}/publish/9/published"
        step.run(PublishSettings(version=name), make_artifacts(name.encode(), counts), target, artifact_uri=uri)
    with webhook() as hook:
        assert on_cluster.tell(settings(api, hook, notify_place=target))
    (told,) = hook.received
    assert (told["version"], told["decision"], told["champion"]) == ("2", "promoted", "1")
    assert (told["wer"], told["champion_wer"]) == (0.125, 0.25)
    assert told["decision_reason"].startswith("it is better")
    assert told["links"]["report"] == f"{target}/2/report.html"


def test_a_run_that_published_nothing(api: Api, make_artifacts, target) -> None:
    step.run(PublishSettings(version="1"), make_artifacts(), target, artifact_uri="s3://x/another/published")
    with webhook() as hook:
        on_cluster.tell(settings(api, hook, notify_place=target))
    assert hook.received[0]["version"] == ""


def test_an_api_that_does_not_answer(api: Api, capsys) -> None:
    with webhook() as hook:
        assert on_cluster.tell(settings(api, hook, run_id="unknown"))
    assert hook.received[0]["state"] == "UNKNOWN"
    assert "does not say how the run ended" in capsys.readouterr().err


def test_the_component_s_own_code_sends_it(api: Api) -> None:
    api.scenario = "wrong_input"
    with webhook() as hook:
        given = {"notify_url": hook.url, "notify_format": "slack", "run_id": RUN, "kubeflow_api": api.url}
        notify.python_func(**given, run_name="nightly 7")
    (told,) = hook.received
    assert told["text"] == "nightly 7 failed"
    assert "*Reason*: Work: error: --epochs -1 is not allowed" in told["blocks"][1]["text"]["text"]


def test_without_a_webhook_nobody_is_asked(capsys) -> None:
    assert not on_cluster.tell(NotifySettings(run_id=RUN, kubeflow_api="http://127.0.0.1:1"))
    assert capsys.readouterr().out.startswith("no message")
