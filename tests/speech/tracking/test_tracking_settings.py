"""Which server, and which run an artifact belongs to."""

import pytest

from speech.tracking.tracking_settings import address, run_of

RUN = "c594b566-10af-4ef4-a74d-de014310b68c"


def test_all_artifacts_of_a_run_lead_to_it() -> None:
    uri = f"minio://mlpipeline/v2/artifacts/retrain/{RUN}/{{}}/154c9d1c-cc28-4d28-827d-3f475f4e03f5/{{}}"
    assert {run_of(uri.format("train", "checkpoint")), run_of(uri.format("publish", "published"))} == {RUN}
    local = "/data/out/.runs/retrain-2026-11-22-01-02-03-004/{}"
    assert run_of(local.format("train/checkpoint")) == run_of(local.format("publish/published"))
    assert run_of(local.format("train/checkpoint")) != run_of("/data/out/.runs/retrain-2026-11-22-05/train/checkpoint")


def test_the_environment_names_the_server_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert address("") == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", " http://elsewhere:5000 ")
    assert address("") == "http://elsewhere:5000"
    assert address("http://here:5000") == "http://here:5000"
