"""Training on several machines: the launcher against a stand-in for Kubernetes whose nodes are processes here."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.train import identity, step
from components.train.cluster import jobs, kubernetes_api, launcher, watch
from components.train.cluster.jobs import Nodes
from components.train.cluster.launcher import TrainingTask
from components.train.component import train as component
from components.train.data import TrainingClips
from components.train.settings import LAUNCHER_VARIABLE, TrainSettings
from speech.artifacts import Checkpoint, Clips
from speech.errors import InputError, RetryError
from speech.settings import flags
from speech.storage.objects import client, list_keys, upload_file, upload_folder
from tests.fixtures import kubernetes_server
from tests.fixtures.api_server import running
from tests.fixtures.clips import as_clips
from tests.fixtures.kubernetes_server import JOBS, PODS, KubernetesServer

ROOT = Path(__file__).resolve().parents[4]
SETTINGS = TrainSettings(n_hidden=24, epochs=2, train_batch_size=4, learning_rate=0.005, dropout_rate=0.1)
OTHER_RUN = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "retrain-2", "uid": "77aa"}
SLEEP = [sys.executable, "-c", "import time; print('training', flush=True); time.sleep(60)"]
DRIVER = """
import sys
from pathlib import Path
from components.train.cluster import kubernetes_api, launcher, watch
from components.train.data import TrainingClips
from components.train.cluster.jobs import Nodes
from components.train.settings import TrainSettings
from speech.errors import one_line_errors
service_account, corpus, bucket, result, poll_s = sys.argv[1:]
kubernetes_api.SERVICE_ACCOUNT, watch.POLL_S = Path(service_account), float(poll_s)
with one_line_errors():
    clips = TrainingClips(Path(corpus), Path(corpus), f"{bucket}/train_clips", f"{bucket}/dev_clips")
    work = launcher.TrainingTask(TrainSettings(n_hidden=24), clips, "", f"{bucket}/running")
    launcher.train(work, Nodes(2), Path(result))
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesServer]:
    """Kubernetes, as a process in one of its pods sees it."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    monkeypatch.setattr(watch, "POLL_S", 0.05)
    monkeypatch.setattr(kubernetes_api, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    with running(KubernetesServer(folder)) as server:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
        monkeypatch.setenv("KFP_POD_NAME", server.pod["metadata"]["name"])
        yield server


@pytest.fixture
def work(tones: Path, tmp_path: Path, s3_bucket: str, server: KubernetesServer) -> TrainingTask:
    """Clips in this pod and in the object store that the nodes see, too."""
    folders = {}
    for name in ("train", "dev"):
        folders[name] = as_clips(shutil.copytree(tones, tmp_path / f"{name}_clips"), name)
        upload_folder(folders[name], f"{s3_bucket}/artifacts/{name}_clips", last=Clips.SETS)
    endpoint = {"name": "AWS_ENDPOINT_URL", "value": os.environ["AWS_ENDPOINT_URL"]}
    launcher_container(server)["env"].append(endpoint)
    root = f"minio://{s3_bucket.removeprefix('s3://')}/artifacts"
    uris = [f"{root}/{name}_clips?endpoint=minio-service" for name in folders]
    return TrainingTask(SETTINGS, TrainingClips(*folders.values(), *uris), "", f"{s3_bucket}/running")


def launcher_container(server: KubernetesServer) -> dict[str, Any]:
    return jobs.main_container(server.pod["spec"])


def saved_at(work: TrainingTask) -> str:
    return identity.checkpoints_at(work.checkpoint_uri, work.settings, work.clips, work.base_uri)


def job_name(work: TrainingTask) -> str:
    return jobs.name_of(saved_at(work))


def prints(text: str, code: int = 0) -> list[str]:
    """A node that says something and ends."""
    return [sys.executable, "-c", f"print({text!r}, flush=True); raise SystemExit({code})"]


@pytest.fixture
def trained(work: TrainingTask, tmp_path: Path) -> None:
    """What the nodes would leave behind."""
    (tmp_path / "train-6.index").write_bytes(b"")
    upload_file(tmp_path / "train-6.index", f"{saved_at(work)}/train-6.index")


def history(folder: Path) -> list[dict]:
    return json.loads((folder / Checkpoint.HISTORY).read_text(encoding="utf-8"))["epochs"]


@pytest.mark.slow
def test_two_nodes_give_the_losses_of_one(
    work: TrainingTask, server: KubernetesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The component as Kubeflow calls it, TrainJob, two workers, checkpoint in a bucket, and back."""
    shown: dict[str, float] = {}
    train, dev = (
        SimpleNamespace(path=str(path), uri=uri)
        for path, uri in ((work.clips.train, work.clips.train_uri), (work.clips.dev, work.clips.dev_uri))
    )
    made = SimpleNamespace(path=str(tmp_path / "made"), uri="minio://store/run/train/checkpoint", metadata={})
    metrics, report = SimpleNamespace(log_metric=shown.__setitem__), SimpleNamespace(path=str(tmp_path / "report.html"))
    names = ("n_hidden", "epochs", "train_batch_size", "learning_rate", "dropout_rate", "drop_source_layers")
    settings = {name: getattr(SETTINGS, name) for name in names}
    run = {"checkpoint_uri": work.checkpoint_uri, "train_workers": 2, "train_cpu": "1", "recipe": "peers", **settings}
    component.python_func(train, dev, made, metrics, report, **run)

    csvs = [work.clips.train_csv], work.clips.dev_csvs
    step.run(SETTINGS, *csvs, tmp_path / "alone")
    one, several = history(tmp_path / "alone"), history(tmp_path / "made")
    assert len(one) == 2
    for expected, found in zip(one, several, strict=True):
        assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-3)
        assert found["dev_loss"] == pytest.approx(expected["dev_loss"], rel=1e-3)
    assert shown["best_dev_loss"] == pytest.approx(min(epoch["dev_loss"] for epoch in several))
    assert "Training" in (tmp_path / "report.html").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert f"TrainJob {job_name(work)}: created, 2 nodes" in said
    assert "1 CPU on each of 2 workers, this is worker 0" in said
    assert "this is worker 1" not in said
    assert said.count("epoch 2/2: train loss") == 2  # of the chief and of the run beside it
    arguments = server.jobs[job_name(work)].manifest["spec"]["trainer"]["args"]
    for name, uri in (("train", work.clips.train_uri), ("dev", work.clips.dev_uri)):
        assert f"--{name}_files=s3://{uri[8:].partition('?')[0]}/{name}.csv" in arguments

    calls = len(server.calls)
    component.python_func(train, dev, made, metrics, report, **run)
    assert "finished: nothing to train" in capsys.readouterr().out
    assert len(server.calls) == calls


def test_a_running_job_is_waited_for(
    work: TrainingTask, server: KubernetesServer, trained: None, tmp_path: Path, capsys
) -> None:
    server.command = [sys.executable, "-c", "import time; print('the chief speaks', flush=True); time.sleep(1)"]
    job = jobs.train_job(job_name(work), Nodes(3), [], server.pod)
    here = kubernetes_api.KubernetesApi.of_this_pod()
    here.create_job(job)
    found = launcher.train(work, Nodes(2), tmp_path / "made")
    assert (found.folder / "train-6.index").is_file()
    assert server.calls.count(f"POST {JOBS}") == 1
    said = capsys.readouterr().out
    assert "runs already, on 3 nodes; waiting for it" in said
    assert said.count("the chief speaks") == 1
    assert "nodes: 3 running" in said


def test_an_adopted_job_belongs_to_the_run_that_waits_for_it(
    work: TrainingTask, server: KubernetesServer, trained: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Otherwise Kubernetes would delete it together with the workflow of the run that started it."""
    server.command = [sys.executable, "-c", "import time; time.sleep(1)"]
    job = jobs.train_job(job_name(work), Nodes(2), [], server.pod)
    job["metadata"]["ownerReferences"] = [OTHER_RUN]
    kubernetes_api.KubernetesApi.of_this_pod().create_job(job)
    real, first = kubernetes_api.KubernetesApi.own_job, []

    def changed_meanwhile(self: kubernetes_api.KubernetesApi, job: dict, owners: list) -> None:
        if not first:
            first.append(job)
            job = {**job, "metadata": {**job["metadata"], "resourceVersion": "0"}}
        real(self, job, owners)

    monkeypatch.setattr(kubernetes_api.KubernetesApi, "own_job", changed_meanwhile)
    launcher.train(work, Nodes(2), tmp_path / "made")
    (found,) = server.jobs.values()
    assert found.manifest["metadata"]["ownerReferences"] == jobs.owners_of(server.pod)
    assert "belongs to this run now, not to retrain-2" in capsys.readouterr().out


def test_a_failed_job_is_replaced_and_lost_nodes_are_started_again(
    work: TrainingTask, server: KubernetesServer, trained: None, tmp_path: Path
) -> None:
    server.command = prints("out of luck", 1)
    with pytest.raises(InputError, match=r"node \d ended with exit code 1: out of luck"):
        launcher.train(work, Nodes(2), tmp_path / "made")
    # Each worker fails once with 75, as when another one is lost; then all goes well.
    code = (
        "import os, pathlib; seen = pathlib.Path({!r}) / os.environ['JOB_COMPLETION_INDEX']; "
        "again = seen.exists(); seen.touch(); raise SystemExit(0 if again else 75)"
    )
    server.command = [sys.executable, "-c", code.format(str(tmp_path))]
    launcher.train(work, Nodes(2), tmp_path / "made")
    assert server.jobs[job_name(work)].restarts == 2
    assert f"DELETE {JOBS}/{job_name(work)}" in server.calls


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        (prints("error: train.csv: line 3: no", 2), InputError, r"TrainJob .*, node \d: train.csv: line 3: no$"),
        (prints("Killed", 137), RetryError, "failed .*BackoffLimitExceeded.*another attempt goes on from the last"),
    ],
)
def test_a_failure_is_one_line(
    work: TrainingTask, server: KubernetesServer, tmp_path: Path, command: list[str], kind: type, message: str
) -> None:
    server.command = command
    template = server.runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    template["backoffLimit"] = 2
    with pytest.raises(kind, match=message) as failed:
        launcher.train(work, Nodes(2), tmp_path / "made")
    assert "\n" not in str(failed.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("refusals", "kind", "message"),
    [
        ({("GET", "trainjobs"): (403, "trainjobs is forbidden")}, InputError, "apply examples/.*/rbac.yaml"),
        ({("POST", "trainjobs"): (403, "trainjobs is forbidden")}, InputError, "apply examples/.*/rbac.yaml"),
        ({("GET", "pods"): (403, "pods is forbidden")}, InputError, "apply examples/.*/rbac.yaml"),
        (
            {
                ("GET", "trainjobs"): (404, "404 page not found\n"),
                ("POST", "trainjobs"): (404, "404 page not found\n"),
            },
            InputError,
            "knows no trainer.kubeflow.org/v1alpha1: install Kubeflow Trainer 2.2 or newer",
        ),
        (
            {("POST", "trainjobs"): (403, 'admission webhook "validator" denied the request: no runtime')},
            InputError,
            "is the TrainingRuntime speechmill-train there.*/runtime.yaml",
        ),
        ({("GET", "trainjobs"): (503, "overloaded")}, RetryError, "overloaded"),
    ],
)
def test_what_the_cluster_refuses_is_one_line(
    work: TrainingTask, server: KubernetesServer, tmp_path: Path, refusals: dict, kind: type, message: str
) -> None:
    server.refusals = refusals
    with pytest.raises(kind, match=message) as failed:
        launcher.train(work, Nodes(2), tmp_path / "made")
    assert "\n" not in str(failed.value)
    assert not server.jobs


def test_a_role_without_pods_is_said_while_waiting(
    work: TrainingTask, server: KubernetesServer, tmp_path: Path
) -> None:
    server.command = SLEEP
    server.refusals = {("GET", f"{PODS}?"): (403, "pods is forbidden")}
    with pytest.raises(InputError, match="pods is forbidden: apply examples/.*/rbac.yaml"):
        launcher.train(work, Nodes(2), tmp_path / "made")


def test_an_api_server_that_is_away_for_a_while_does_no_harm(
    work: TrainingTask, server: KubernetesServer, trained: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.command = prints("well")
    real = kubernetes_api.KubernetesApi.job
    asked = []

    def sometimes(self: kubernetes_api.KubernetesApi, name: str) -> Any:
        asked.append(name)
        if 2 <= len(asked) <= 5:
            raise kubernetes_api.ApiError(0, "connection refused")
        return real(self, name)

    monkeypatch.setattr(kubernetes_api.KubernetesApi, "job", sometimes)
    launcher.train(work, Nodes(2), tmp_path / "made")
    assert len(asked) > 5


def test_a_corpus_that_the_nodes_cannot_read_is_copied(
    work: TrainingTask, server: KubernetesServer, trained: None, tmp_path: Path, capsys
) -> None:
    server.command = prints("well")
    clips = replace(work.clips, train_uri="minio://no-such-bucket/train_clips", dev_uri="/minio/dev_clips")
    elsewhere = replace(work, clips=clips)
    launcher.train(elsewhere, Nodes(2), tmp_path / "made")
    copy = identity.clips_copy_at(work.checkpoint_uri, work.clips)
    said = capsys.readouterr().out
    arguments = server.jobs[job_name(work)].manifest["spec"]["trainer"]["args"]
    for name in ("train", "dev"):
        assert f"copying to {copy}/{name}" in said
        assert f"--{name}_files={copy}/{name}/{name}.csv" in arguments
        assert list_keys(f"{copy}/{name}/{Clips.SETS}")


def test_what_asks_for_gpus_on_a_cluster_does_not_train_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    asked = launcher.with_gpus(SETTINGS, Nodes(1, "nvidia.com/gpu", "1"))
    assert asked.devices == "gpu"
    assert launcher.with_gpus(replace(SETTINGS, devices="cpu"), Nodes(1, "nvidia.com/gpu", "1")).devices == "cpu"
    assert launcher.with_gpus(SETTINGS, Nodes(2)) == SETTINGS
    assert "--devices=gpu" in flags(asked)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert launcher.with_gpus(SETTINGS, Nodes(1, "nvidia.com/gpu", "1")) == SETTINGS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_uri": ""}, "checkpoint_uri '': training on several machines needs an s3:// prefix"),
        ({"checkpoint_uri": "/data/running"}, "needs an s3:// prefix"),
        ({"base_uri": "/data/base"}, "base_checkpoint_uri '/data/base': several machines can only reach"),
    ],
)
def test_what_the_nodes_cannot_reach_is_refused(
    work: TrainingTask, server: KubernetesServer, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        launcher.train(TrainingTask(**{**vars(work), **changes}), Nodes(2), tmp_path / "made")
    assert not server.calls


def test_outside_of_kubernetes_there_is_one_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(InputError, match="train_workers: several machines are started by the Kubeflow Trainer"):
        launcher.train(
            TrainingTask(SETTINGS, TrainingClips(tmp_path, tmp_path), "", "s3://work/running"), Nodes(2), tmp_path / "m"
        )


def test_a_small_pod_trains_elsewhere_also_with_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LAUNCHER_VARIABLE, raising=False)
    assert not launcher.is_wanted(Nodes(1))
    assert launcher.is_wanted(Nodes(2))
    monkeypatch.setenv(LAUNCHER_VARIABLE, "1")
    assert launcher.is_wanted(Nodes(1))


@pytest.mark.parametrize(
    ("end", "goes_on", "said"),
    [
        ("the run is terminated", False, "SIGTERM: deleted"),
        ("the pod is deleted", True, "SIGTERM: only this pod has to go"),
        ("another run has adopted it", True, "SIGTERM: TrainJob .* goes on, as it belongs to retrain-2 now"),
        ("the workflow must not be read", False, "SIGTERM: deleted"),
        ("nor that, and the pod is preempted", True, "SIGTERM: only this pod has to go"),
    ],
)
def test_sigterm_deletes_the_job_only_if_its_run_is_terminated(
    work: TrainingTask, server: KubernetesServer, s3_bucket: str, tmp_path: Path, end: str, goes_on: bool, said: str
) -> None:
    server.command = SLEEP
    if end == "the run is terminated":
        server.workflow["spec"]["activeDeadlineSeconds"] = 0
    if end in ("the workflow must not be read", "nor that, and the pod is preempted"):
        server.refusals = {("GET", "workflows"): (403, "workflows.argoproj.io is forbidden")}
    if end == "nor that, and the pod is preempted":
        server.pod["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True"})
    process = launched(work, server, s3_bucket, tmp_path, poll_s=3600 if end == "the run is terminated" else 0.1)
    try:
        wait_for(lambda: any(len(job.nodes) == 2 for job in server.jobs.values()))
        if end == "another run has adopted it":
            (job,) = server.jobs.values()
            job.manifest["metadata"]["ownerReferences"] = [{**OTHER_RUN, "controller": False}]
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 75
    assert errors.count("\n") == 1
    assert re.match(f"interrupted: {said}", errors), errors
    assert bool(server.jobs) is goes_on
    assert "training" in output or end == "the run is terminated"


@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_run_that_is_terminated_is_noticed_before_sigterm(
    work: TrainingTask, server: KubernetesServer, s3_bucket: str, tmp_path: Path, is_adopted: bool
) -> None:
    """0.1 s after SIGTERM a launcher on a busy node has not deleted anything."""
    server.command = SLEEP
    process = launched(work, server, s3_bucket, tmp_path)
    try:
        wait_for(lambda: any(len(job.nodes) == 2 for job in server.jobs.values()))
        (job,) = server.jobs.values()
        if is_adopted:
            job.manifest["metadata"]["ownerReferences"] = [{**OTHER_RUN, "controller": False}]
            time.sleep(0.5)
        server.workflow["spec"]["activeDeadlineSeconds"] = 0
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 75
    said = "TrainJob .* goes on, as it belongs to retrain-2 now" if is_adopted else "deleted TrainJob"
    assert re.match(f"interrupted: the run is terminated: {said}", errors), errors
    assert bool(server.jobs) is is_adopted


def launched(
    work: TrainingTask, server: KubernetesServer, s3_bucket: str, tmp_path: Path, poll_s: float = 0.1
) -> "subprocess.Popen[str]":
    folders = [str(server.credentials), str(work.clips.train), s3_bucket, str(tmp_path / "m"), str(poll_s)]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *folders],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(done: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def test_credentials_stay_in_their_secret(
    work: TrainingTask, server: KubernetesServer, trained: None, tmp_path: Path
) -> None:
    server.command = prints("well")
    launcher.train(work, Nodes(2), tmp_path / "made")
    text = json.dumps(server.jobs[job_name(work)].manifest)
    assert "secretKeyRef" in text
    assert kubernetes_server.TOKEN not in text
    assert client().list_buckets()  # the launcher itself works with the variables of its pod
