"""Training on the real JobSet and Kubeflow Trainer: two workers, and what may go wrong around them."""

import json
import shutil
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speech.artifacts import Checkpoint, Clips
from speech.model_files.bundle import Bundle
from speech.model_files.checkpoints import find
from speech.storage.objects import download_folder, list_keys, upload_folder
from tests.fixtures.clips import as_clips
from tests.kubernetes.kubectl import Kubectl, Object, image, until
from tests.kubernetes.pods import container, pod

ARGO = "argoproj.io/v1alpha1"
# What the component does in its pod, without Kubeflow's own parts.
LAUNCHER = """
    import sys
    from pathlib import Path
    from components.train.cluster import launcher
    from components.train.data import TrainingClips
    from components.train.cluster.jobs import Nodes
    from components.train.settings import TrainSettings
    from speech.errors import one_line_errors
    from speech.storage.objects import download_folder
    clips_uri, checkpoint_uri, workers, epochs = sys.argv[1:]
    with one_line_errors():
        here = Path("/work/clips")
        download_folder(clips_uri, here)
        settings = TrainSettings(n_hidden=48, epochs=int(epochs), train_batch_size=4, upload_secs=2, checkpoint_secs=2)
        work = launcher.TrainingTask(settings, TrainingClips(here, here, clips_uri, clips_uri), "", checkpoint_uri)
        launcher.train(work, Nodes(int(workers), memory="3Gi"), Path("/work/made"))
"""


@pytest.fixture(scope="module")
def corpus(s3: str, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clips in the cluster's object store."""
    folder = as_clips(shutil.copytree(tones, tmp_path_factory.mktemp("clips") / "clips"), "train", "dev")
    upload_folder(folder, f"{s3}/clips", last=Clips.SETS)
    return f"{s3}/clips"


@pytest.fixture(scope="module")
def workflows(kubectl: Kubectl, trainer: None) -> Iterator[None]:
    """Argo's kind of object, which owns a run's pods; where there is no Argo, its name alone."""
    if "workflows.argoproj.io" in kubectl("get", "crd", "--output", "name"):
        yield
        return
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    kubectl.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "workflows.argoproj.io"},
            "spec": {
                "group": "argoproj.io",
                "names": {"kind": "Workflow", "plural": "workflows"},
                "scope": "Namespaced",
                "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": schema}],
            },
        }
    )
    kubectl("wait", "--for=condition=Established", "crd/workflows.argoproj.io", "--timeout=60s")
    yield
    kubectl("delete", "crd", "workflows.argoproj.io", check=False)


def run(kubectl: Kubectl, corpus: str, to: str, workers: int = 2, epochs: int = 60) -> tuple[Object, str]:
    """A run of the pipeline: its workflow, and the name of the pod of its train step."""
    name = f"run-{uuid.uuid4().hex[:6]}"
    waits = {"entrypoint": "wait", "templates": [{"name": "wait", "suspend": {}}]}
    workflow = kubectl.create({"apiVersion": ARGO, "kind": "Workflow", "metadata": {"name": name}, "spec": waits})
    command = ["python", "-c", textwrap.dedent(LAUNCHER), corpus, to, str(workers), str(epochs)]
    step = container(image("train"), command, KFP_POD_NAME=f"{name}-train")
    kubectl.create(pod(f"{name}-train", [step], workflow, service_account="pipeline-runner"))
    return workflow, f"{name}-train"


def succeeded(kubectl: Kubectl, step: str, seconds: float = 600) -> str:
    """What a step that ended well has printed."""
    found = kubectl.finished(step, seconds)
    printed = kubectl.logs(step)
    assert found["status"]["phase"] == "Succeeded", printed[-3000:]
    return printed


def weights(uri: str, folder: Path) -> dict[str, np.ndarray]:
    """What a training left below a prefix."""
    (key, _), *_ = [item for item in list_keys(f"{uri}/") if item[0].endswith(f"/{Checkpoint.LAST}")]
    download_folder(f"s3://work/{key.rpartition('/')[0]}", folder)
    bundle = Bundle.open(find(folder, "last")[0])
    return {name: bundle.tensor(name) for name in bundle.shapes if name.split("/")[-1] in ("weights", "kernel", "bias")}


def jobs(kubectl: Kubectl) -> list[Object]:
    return kubectl.items("trainjobs.trainer.kubeflow.org")


def test_a_lost_worker_a_lost_launcher_and_another_run_change_no_weight(
    kubectl: Kubectl, workflows: None, corpus: str, s3: str, tmp_path: Path
) -> None:
    _, step = run(kubectl, corpus, f"{s3}/undisturbed")
    printed = succeeded(kubectl, step)
    assert "created, 2 nodes" in printed
    assert "1 CPU on each of 2 workers, this is worker 0" in printed

    first, step = run(kubectl, corpus, f"{s3}/disturbed")
    until(lambda: list_keys(f"{s3}/disturbed/"), 300, lambda: kubectl.logs(step))
    (job,) = [
        job for job in jobs(kubectl) if job["metadata"]["ownerReferences"][0]["name"] == first["metadata"]["name"]
    ]
    name = job["metadata"]["name"]
    until(lambda: [key for key, _ in list_keys(f"{s3}/disturbed/") if key.endswith("/checkpoint")], 300)
    (lost,) = kubectl.items("pods", f"jobset.sigs.k8s.io/jobset-name={name},batch.kubernetes.io/job-completion-index=1")
    kubectl("delete", "pod", lost["metadata"]["name"], "--grace-period=0", "--force")
    until(lambda: "resuming at step" in kubectl.logs(step), 300, lambda: kubectl.logs(step))

    kubectl("delete", "pod", step)  # as a drained node does: the run is not terminated
    assert kubectl.get("trainjob", name)
    second, step = run(kubectl, corpus, f"{s3}/disturbed")
    until(lambda: "waiting for it" in kubectl.logs(step), 120, lambda: kubectl.logs(step))
    until(lambda: "belongs to this run now" in kubectl.logs(step), 60, lambda: kubectl.logs(step))
    kubectl("delete", "workflow", first["metadata"]["name"])
    printed = succeeded(kubectl, step)
    assert "created" not in printed
    assert f"TrainJob {name}: complete" in printed
    assert kubectl.get("trainjob", name), "it went with the workflow of the first run"

    expected, found = weights(f"{s3}/undisturbed", tmp_path / "one"), weights(f"{s3}/disturbed", tmp_path / "two")
    assert len(expected) > 10
    for tensor, value in expected.items():
        np.testing.assert_array_equal(value, found[tensor], err_msg=tensor)
    kubectl("delete", "workflow", second["metadata"]["name"])
    until(lambda: kubectl.get("trainjob", name) is None, 60)


def test_a_terminated_run_takes_its_job_along(kubectl: Kubectl, workflows: None, corpus: str, s3: str) -> None:
    """Also with one machine in a TrainJob, which has time to save."""
    workflow, step = run(kubectl, corpus, f"{s3}/terminated", epochs=5000)
    until(lambda: list_keys(f"{s3}/terminated/"), 300, lambda: kubectl.logs(step))
    job = next(
        job for job in jobs(kubectl) if job["metadata"]["ownerReferences"][0]["uid"] == workflow["metadata"]["uid"]
    )
    name = workflow["metadata"]["name"]
    kubectl("patch", "workflow", name, "--type=merge", "--patch", json.dumps({"spec": {"activeDeadlineSeconds": 0}}))
    kubectl("delete", "pod", step)
    until(lambda: kubectl.get("trainjob", job["metadata"]["name"]) is None, 60)


def test_a_training_goes_on_while_the_object_store_is_away(
    kubectl: Kubectl, workflows: None, corpus: str, s3: str
) -> None:
    _, step = run(kubectl, corpus, f"{s3}/cut", workers=1, epochs=200)
    until(lambda: [key for key, _ in list_keys(f"{s3}/cut/") if key.endswith("/checkpoint")], 300)
    cut = {"spec": {"selector": {"app": "nobody"}}}
    kubectl("patch", "service", "s3", "--type=merge", "--patch", json.dumps(cut))
    until(lambda: "the training goes on" in kubectl.logs(step), 120, lambda: kubectl.logs(step))
    epoch = kubectl.logs(step).count("train loss")
    until(lambda: kubectl.logs(step).count("train loss") > epoch + 2, 120, lambda: kubectl.logs(step))
    kubectl("patch", "service", "s3", "--type=merge", "--patch", json.dumps({"spec": {"selector": {"app": "s3"}}}))
    printed = succeeded(kubectl, step)
    assert "uploads go on after" in printed
