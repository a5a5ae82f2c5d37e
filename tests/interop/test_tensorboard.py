"""TensorBoard reads the curves of trainings, from folders and from object stores, killed ones as well."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from speech.curves.reader import CurveFiles
from speech.curves.writer import CurveWriter
from tests.fixtures import tones
from tests.peers.environments import REPOSITORY, Peer

pytestmark = pytest.mark.slow
START_S = 300.0


@pytest.fixture
def tensorboard(peer: Callable[[str], Peer]) -> Peer:
    return peer("tensorboard")


def give(curves: CurveWriter, steps: range) -> None:
    for step in steps:
        curves.add(step, {"train/step_loss": step / 2})


def test_curves_in_an_object_store(tensorboard: Peer, s3_bucket: str, s3_endpoint: str) -> None:
    """TensorBoard without TensorFlow reads s3:// by itself."""
    place = f"{s3_bucket}/running/summaries/0123"
    first = CurveWriter(place, 1)
    give(first, range(1, 50))
    first.close()
    again = CurveWriter(place, 41)
    give(again, range(41, 60))
    again.close()
    found = tensorboard.drive("tensorboard_reader", place, s3_endpoint)
    assert found == {"train/step_loss": [[step, step / 2] for step in range(1, 60)]}


def test_a_training_that_was_killed_and_goes_on_is_one_curve(tensorboard: Peer, tmp_path: Path) -> None:
    train = tones.write_csv(tmp_path, "train", tones.texts(200, 1))
    dev = tones.write_csv(tmp_path, "dev", tones.texts(8, 2))
    command = [
        *(sys.executable, "-m", "components.train", "--train_files", train, "--dev_files", dev, "--epochs", "6"),
        *("--checkpoint_dir", tmp_path / "checkpoint", "--summary_dir", tmp_path / "curves", "--n_hidden", "16"),
        *("--train_batch_size", "2", "--checkpoint_secs", "1", "--skip_batch_test"),
    ]
    killed = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    for line in killed.stdout:
        if line.startswith("epoch 2/6"):
            break
    time.sleep(0.5)
    killed.kill()
    killed.communicate(timeout=START_S)
    behind = CurveFiles(str(tmp_path / "curves")).look().line("train/step_loss")
    assert 150 < len(behind) < 600
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "resuming at step" in done.stdout
    found = tensorboard.drive("tensorboard_reader", tmp_path / "curves")
    for tag in ("train/step_loss", "train/gradient_norm", "train/clips_per_second", "progress/epoch"):
        assert [step for step, _ in found[tag]] == list(range(1, 601)), tag
    for tag in ("epoch_loss/train", "epoch_loss/dev", "epoch_wer/dev", "epoch_cer/dev"):
        assert [step for step, _ in found[tag]] == list(range(100, 601, 100)), tag
