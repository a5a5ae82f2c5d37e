"""What a webhook receives of runs on a real Kubeflow Pipelines: it has to be reached from the cluster's pods."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.publish.model_bucket import open_target
from speech.storage.objects import upload_file
from tests.fixtures.webhook_server import Webhook, webhook
from tests.kubeflow.server import Kubeflow, until

pytestmark = pytest.mark.kubeflow

PAGE = "https://kubeflow.example.org"
QUICK = ["--n_hidden", "64", "--epochs", "2", "--train_batch_size", "8"]


@pytest.fixture
def hook(kubeflow: Kubeflow) -> Iterator[Webhook]:
    """A webhook that pods reach."""
    with webhook(kubeflow.receiver) as server:
        yield server


@pytest.fixture
def deployment(place: str, hook: Webhook, tmp_path: Path) -> Path:
    """The cluster's deployment, with messages."""
    path = tmp_path / "deployment.toml"
    own = Path(os.environ["KFP_DEPLOYMENT"]).read_text(encoding="utf-8")
    path.write_text(f'{own}\n[notify]\nurl = "{hook.url}"\npage = "{PAGE}"\n', encoding="utf-8")
    return path


def received(hook: Webhook) -> dict[str, Any]:
    message = until(lambda: hook.received)[0]
    print(message)
    return dict(message)


def test_a_scheduled_run_that_fails_says_so(
    kubeflow: Kubeflow, hook: Webhook, deployment: Path, place: str, tmp_path: Path
) -> None:
    broken = tmp_path / "cv-corpus-2.0-2026-06-01-en.tar.gz"
    broken.write_bytes(b"half an upload")
    upload_file(broken, f"{place}/corpora/{broken.name}")
    flags = ["--corpus_uri", f"{place}/corpora/", "--publish_uri", f"{place}/models-nightly", *QUICK]
    own = ["--deployment", str(deployment), "--name", f"{kubeflow.name}-nightly", "--cron", "*/20 * * * * *"]
    done = kubeflow.run("schedule", *own, *flags)
    assert done.code == 0
    message = received(hook)
    experiment = kubeflow.experiment_id()
    (schedule,) = kubeflow.client.list_recurring_runs(experiment_id=experiment).recurring_runs
    schedule_id = schedule.recurring_run_id
    kubeflow.client.disable_recurring_run(schedule_id)
    assert message["state"] == "FAILED"
    assert message["reason"].startswith("Import")
    assert broken.name in message["reason"]
    (run,) = [run for run in kubeflow.runs() if message["links"]["run"].endswith(run.run_id)]
    assert run.recurring_run_id == schedule_id
    assert message["run"] == run.display_name
    assert until(lambda: kubeflow.client.get_run(run.run_id).state not in ("RUNNING", "PENDING"))
    assert kubeflow.client.get_run(run.run_id).state == "FAILED"
    assert not list(open_target(f"{place}/models-nightly").complete())


def test_a_run_that_publishes_says_what(
    kubeflow: Kubeflow, hook: Webhook, deployment: Path, place: str, corpus: str
) -> None:
    flags = ["--corpus_uri", corpus, "--publish_uri", f"{place}/models-told", "--version", "a"]
    done = kubeflow.run("submit", "--deployment", str(deployment), *flags, *QUICK, "--min_test_clips", "1")
    assert done.code == 0
    message = received(hook)
    assert (message["state"], message["version"], message["reason"]) == ("SUCCEEDED", "a", "")
    assert message["decision"] == "promoted"
    assert 0 < message["cer_interval"][0] <= message["cer"] <= message["cer_interval"][1]
    assert message["links"]["run"] == f"{PAGE}/#/runs/details/{done.run_id}"
    assert len(hook.received) == 1
