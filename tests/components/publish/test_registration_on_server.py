"""Runs and versions in a real MLflow server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("mlflow", reason="the extra tracking is not installed")

from components.publish import __main__ as publish_command
from components.publish import registration, step
from components.publish.history import models
from components.publish.settings import PublishSettings
from speech.tracking.registry import CHAMPION, VERSION_TAG
from speech.tracking.tracked_run import StepRecord, TrackedRun, client, record
from speech.tracking.tracking_settings import TrackingSettings
from tests.fixtures.mlflow_server import mlflow_server
from tests.peers.environments import Peer

pytestmark = pytest.mark.slow
RUN = "/runs/.runs/retrain-1"


@pytest.fixture(scope="module")
def server(peer: Callable[[str], Peer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty server."""
    with mlflow_server(peer("mlflow"), tmp_path_factory.mktemp("mlflow")) as address:
        yield address


def status(run: TrackedRun) -> str:
    return str(run.client.get_run(run.run_id).info.status)


def test_all_steps_of_a_run_write_to_one(server: str) -> None:
    settings = TrackingSettings(server, "steps")
    record(
        settings, RUN, lambda: StepRecord("import_cv", {"corpus_uri": "s3://c/cy.tar.gz", "empty": ""}, {"clips": 3})
    )
    train = TrackedRun(settings, [RUN])
    assert status(train) == "FINISHED"
    train.set_running(True)
    assert status(train) == "RUNNING"
    train.log(StepRecord("train", {"epochs": 2, "augment": ("volume", "tempo")}))
    train.metrics({"train/train_loss": 2.0, "train/dev_loss": float("nan"), "train/note": "text"}, 1)
    again = TrackedRun(settings, ["/runs/.runs/retrain-2", RUN])  # the run of the pipeline that goes on
    again.log(StepRecord("train", {"epochs": 3}))  # what is written stays
    record(settings, "/runs/.runs/retrain-2", lambda: StepRecord("evaluate", {}, {"wer": 0.1}, {"image.train": "t:1"}))
    assert status(train) == "FINISHED"
    assert again.run_id == train.run_id != TrackedRun(settings, ["/runs/.runs/retrain-3"]).run_id
    assert train.steps_of("train/train_loss") == {1}
    data = client(settings).get_run(train.run_id).data
    assert data.params == {
        "import_cv/corpus_uri": "s3://c/cy.tar.gz",
        "train/epochs": "2",
        "train/augment": "volume tempo",
    }
    assert data.metrics == {"import_cv/clips": 3.0, "train/train_loss": 2.0, "evaluate/wer": 0.1}
    assert data.tags["image.train"] == "t:1"


def test_publish_registers_and_the_champion_moves_with_the_gate_and_back(
    server: str, make_artifacts: Callable[..., dict[str, Path]], s3_bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking, target = TrackingSettings(server, "versions"), f"{s3_bucket}/models/cy"
    settings = [PublishSettings(version=name, min_test_clips=1) for name in ("good", "better", "worse")]
    clips = 40
    edits = [[1] * clips, [0] * clips, [1] * clips]
    for number, (one, wrong) in enumerate(zip(settings, edits, strict=True)):
        made = step.run(one, make_artifacts(f"weights {number}".encode(), wrong), target, step.Provenance("s3://c/cy"))
        registration.in_pipeline(
            tracking, made, {"train": "train:1"}, target, f"/runs/.runs/{one.version}/publish/published"
        )
    connection = client(tracking)
    found = {one.tags[VERSION_TAG]: one for one in connection.search_model_versions("name = 'cy'")}
    assert found.keys() == {"good", "better", "worse"}
    assert found["better"].source == f"{target}/better"
    assert found["better"].tags["wer"] == "0.0"
    assert connection.get_run(found["better"].run_id).info.status == "FINISHED"
    run = connection.get_run(found["better"].run_id).data
    assert run.tags["decision"] == "promoted"
    assert run.params["publish/source.corpus_uri"] == "s3://c/cy"
    assert connection.get_model_version_by_alias("cy", CHAMPION).tags[VERSION_TAG] == "better"
    models.main(["rollback", target, "--tracking_uri", server])
    assert connection.get_model_version_by_alias("cy", CHAMPION).tags[VERSION_TAG] == "good"
    assert f"{server}: champion of cy is good" in capsys.readouterr().out
    publish_command.main(["rollback", "--publish_uri", target, "--version", "worse", "--tracking_uri", server])
    assert connection.get_model_version_by_alias("cy", CHAMPION).tags[VERSION_TAG] == "worse"
    registration.in_pipeline(tracking, made, {}, target, "/runs/.runs/worse/publish/published")  # the same again
    assert len(connection.search_model_versions("name = 'cy'")) == 3


def test_a_folder_on_this_machine_is_registered_too(
    server: str, make_artifacts: Callable[..., dict[str, Path]], tmp_path: Path
) -> None:
    tracking, target = TrackingSettings(server, "versions"), str(tmp_path / "models" / "br")
    made = step.run(PublishSettings(version="1"), make_artifacts(), target)
    registration.in_pipeline(tracking, made, {}, target, "/runs/.runs/local/publish/published")
    (found,) = client(tracking).search_model_versions("name = 'br'")
    assert found.tags["speechmill.uri"] == made.uri
    assert json.loads(json.dumps(found.source)).startswith("runs:/")
