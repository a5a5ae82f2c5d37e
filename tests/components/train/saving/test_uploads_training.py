"""A training whose object store goes away, comes back, or stays away; and one that is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.train import step
from components.train.loop import TrainingRun
from components.train.saving import uploads
from components.train.settings import TrainSettings
from speech.artifacts import Checkpoint
from speech.errors import RetryError
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from speech.storage.objects import download_folder, list_keys
from tests.fixtures.gate import Gate

ROOT = Path(__file__).resolve().parents[4]
SETTINGS = TrainSettings(
    n_hidden=16, epochs=5, train_batch_size=4, learning_rate=0.01, upload_secs=0, upload_patience_secs=60
)


@pytest.fixture
def behind_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, Callable[[], None]]], None]:
    """Have something happen behind epochs."""

    def arrange(events: dict[int, Callable[[], None]]) -> None:
        real = TrainingRun.finish_epoch

        def finish(run: TrainingRun, *given: object) -> None:
            real(run, *given)  # type: ignore[arg-type]
            events.pop(run.state.epoch, lambda: None)()

        monkeypatch.setattr(TrainingRun, "finish_epoch", finish)

    return arrange


def run(tones: Path, folder: Path, mirror: str, **changes: int) -> Checkpoint:
    settings = TrainSettings(**{**vars(SETTINGS), **changes})
    return step.run(settings, [tones / "train.csv"], [tones / "dev.csv"], folder, mirror=mirror)


def last(folder: Path) -> Snapshot:
    return snapshots.load(snapshots.find(folder, "last")[0])


def same_weights(one: Snapshot, two: Snapshot) -> None:
    assert one.global_step == two.global_step
    for name, value in {**one.weights, **one.moments}.items():
        np.testing.assert_array_equal(value, {**two.weights, **two.moments}[name], err_msg=name)


def test_a_training_goes_on_while_the_store_is_away(
    tones: Path, tmp_path: Path, s3_bucket: str, wall: Gate, behind_epoch: Callable, capsys: pytest.CaptureFixture
) -> None:
    behind_epoch({1: wall.shut, 5: wall.open})
    run(tones, tmp_path / "here", f"{s3_bucket}/running")
    said = capsys.readouterr()
    assert "epoch 5/5" in said.out
    assert "uploads wait" in said.err
    assert "the training goes on" in said.err
    assert "uploads go on after" in said.err
    download_folder(f"{s3_bucket}/running", tmp_path / "there")
    assert last(tmp_path / "there").training_state["finished"]
    same_weights(last(tmp_path / "there"), last(tmp_path / "here"))
    assert not (tmp_path / "here" / uploads.WAITING).exists()


def test_only_the_end_waits_for_a_store_that_stays_away(
    tones: Path, tmp_path: Path, s3_bucket: str, wall: Gate, behind_epoch: Callable, capsys: pytest.CaptureFixture
) -> None:

    def shut_once_something_is_there() -> None:
        while not list_keys(f"{s3_bucket}/running/{Checkpoint.LAST}"):
            time.sleep(0.05)
        wall.shut()

    behind_epoch({2: shut_once_something_is_there})
    with pytest.raises(RetryError, match="has not taken the newest checkpoint within 1 s.*goes on from what is there"):
        run(tones, tmp_path / "one", f"{s3_bucket}/running", upload_patience_secs=1)
    assert "epoch 5/5" in capsys.readouterr().out
    wall.open()
    run(tones, tmp_path / "two", f"{s3_bucket}/running")
    assert "resuming at step" in capsys.readouterr().out
    same_weights(last(tmp_path / "two"), last(tmp_path / "one"))


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_bucket(tones: Path, tmp_path: Path, s3_bucket: str) -> None:
    command = [sys.executable, "-m", "components.train", "--train_files", str(tones / "train.csv"), "--dev_files"]
    command += [str(tones / "dev.csv"), "--checkpoint_dir", f"{s3_bucket}/killed", "--n_hidden=16", "--epochs=30"]
    command += ["--train_batch_size=4", "--upload_secs=0", "--noshow_progressbar"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "train loss" in line and any(key.endswith("/checkpoint") for key, _ in list_keys(f"{s3_bucket}/killed")):
                break
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "resuming at step" in done.stdout
    download_folder(f"{s3_bucket}/killed", tmp_path / "there")
    assert last(tmp_path / "there").training_state["finished"]
