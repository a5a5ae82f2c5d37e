"""A run on a real Kubeflow Pipelines that is followed: its curves in the object store, its record in MLflow."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("mlflow", reason="the extra tracking is not installed")

from components import images
from speech.tracking.registry import CHAMPION, VERSION_TAG
from speech.tracking.tracked_run import client
from speech.tracking.tracking_settings import TrackingSettings
from tests.fixtures.mlflow_server import mlflow_server
from tests.kubeflow.server import Kubeflow
from tests.peers.environments import Peer

pytestmark = pytest.mark.kubeflow

EPOCHS = 3


@pytest.fixture
def server(kubeflow: Kubeflow, peer: Callable[[str], Peer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow that pods reach."""
    with mlflow_server(peer("mlflow"), tmp_path_factory.mktemp("mlflow"), kubeflow.receiver) as address:
        yield address


def test_a_run_leaves_its_curves_and_its_record(kubeflow: Kubeflow, place: str, corpus: str, server: str) -> None:
    own = ["--deployment", os.environ["KFP_DEPLOYMENT"], "--corpus_uri", corpus, "--poll_s", "2"]
    made = ["--publish_uri", f"{place}/models/en", "--version", "a", "--checkpoint_uri", f"{place}/running"]
    quick = ["--n_hidden", "64", "--epochs", str(EPOCHS), "--train_batch_size", "8"]
    done = kubeflow.run("submit", *own, *made, *quick, "--tracking_uri", server)
    assert done.code == 0

    watch = [sys.executable, "-m", "pipelines", "watch", done.run_id, "--endpoint", kubeflow.endpoint, "--once"]
    looked = subprocess.run(watch, cwd=images.ROOT, check=True, capture_output=True, text=True).stdout
    print(looked)
    first, progress, *lines = looked.splitlines()
    assert first.startswith(f"{place}/running/summaries/")
    assert progress.startswith(f"epoch {EPOCHS}.00 of {EPOCHS}, step ")
    assert "finished" in progress
    assert {"loss", "dev loss", "dev WER"} <= {line[:22].strip() for line in lines}

    connection = client(TrackingSettings(server, "speechmill"))
    experiment = connection.get_experiment_by_name("speechmill")
    (run,) = connection.search_runs([experiment.experiment_id])  # one of all steps
    assert run.info.status == "FINISHED"
    steps = {name.split("/")[0] for name in run.data.params}
    assert {"import_cv", "train", "evaluate", "publish"} <= steps
    assert run.data.params["train/epochs"] == str(EPOCHS)
    assert run.data.tags["image.train"].endswith(images.TRAIN)
    losses = connection.get_metric_history(run.info.run_id, "train/train_loss")
    assert [one.step for one in losses] == list(range(1, EPOCHS + 1))
    kept = {
        item.path for folder in ("train", "evaluate") for item in connection.list_artifacts(run.info.run_id, folder)
    }
    assert {"train/loss.html", "evaluate/report.html"} <= kept
    version = connection.get_model_version_by_alias("en", CHAMPION)
    assert version.tags[VERSION_TAG] == "a"
    assert version.source == f"{place}/models/en/a"
    assert float(version.tags["wer"]) == pytest.approx(run.data.metrics["evaluate/wer"])
