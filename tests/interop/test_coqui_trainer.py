"""Checkpoints to and from Coqui STT 1.4.0 on TensorFlow 1.15: the numbers agree and training goes on on both sides."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.train import step
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.artifacts import Checkpoint
from speech.clips.manifest import read_manifest
from speech.nn import snapshots
from speech.nn.batches import ClipSet, stream
from speech.nn.model import AcousticModel, ctc_loss
from speech.nn.plans import BatchSize, plan_sorted
from tests.peers.environments import Peer

SETTINGS = TrainSettings(n_hidden=32, epochs=1, train_batch_size=4, learning_rate=0.003)


@pytest.fixture(scope="module")
def coqui(peer: Callable[[str], Peer]) -> Peer:
    return peer("coqui-training")


def coqui_flags(tones: Path, checkpoint: Path, epochs: int) -> list[str]:
    return [
        *("--train_files", str(tones / "train.csv"), "--dev_files", str(tones / "dev.csv")),
        *("--alphabet_config_path", str(tones / "alphabet.txt"), "--checkpoint_dir", str(checkpoint)),
        *("--n_hidden", "32", "--epochs", str(epochs), "--train_batch_size", "4", "--learning_rate", "0.003"),
    ]


@pytest.fixture(scope="module")
def coqui_checkpoint(coqui: Peer, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """A checkpoint that Coqui trained for two epochs, and its losses."""
    folder = tmp_path_factory.mktemp("coqui")
    answer = coqui.drive("coqui_trainer", "train", *coqui_flags(tones, folder, 2))
    return folder, answer["epochs"]


def forward(folder: Path, tones: Path) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Features, logits and loss of every dev clip by our code, in Coqui's order."""
    bundle, _ = snapshots.load_first(snapshots.find(folder, "auto"))
    model = AcousticModel(bundle.geometry, bundle.weights, trainable=False)
    clips = ClipSet([read_manifest(tones / "dev.csv")], Alphabet.load(tones / "alphabet.txt"), bundle.geometry)
    rows = []
    for batch in stream(clips, plan_sorted(clips.n_frames, BatchSize(1))):
        logits = model.logits(batch.features)
        loss = ctc_loss(logits, batch.n_frames, batch.labels, batch.n_labels)
        rows.append((batch.features.numpy()[0], logits.numpy()[:, 0], float(loss[0])))
    return rows


def test_features_logits_and_losses_are_the_peers(coqui: Peer, coqui_checkpoint, tones: Path, tmp_path: Path) -> None:
    folder, _ = coqui_checkpoint
    flags = ["--test_files", str(tones / "dev.csv"), "--checkpoint_dir", str(folder), "--n_hidden", "32"]
    flags += ["--alphabet_config_path", str(tones / "alphabet.txt")]
    answer = coqui.drive("coqui_trainer", "forward", "--npz", str(tmp_path / "x.npz"), *flags)
    theirs = np.load(tmp_path / "x.npz")
    ours = forward(folder, tones)
    assert len(ours) == len(answer["clips"]) == 6
    for number, (features, logits, loss) in enumerate(ours):
        # They divide int16 by 32767, the clients (and we) by 32768: 6e-5 of a log energy.
        np.testing.assert_allclose(features, theirs[f"features_{number}"], atol=2e-3)
        scale = np.abs(theirs[f"logits_{number}"]).max()
        assert np.abs(logits - theirs[f"logits_{number}"]).max() < 1e-4 * scale
        assert loss == pytest.approx(answer["clips"][number]["loss"], rel=1e-4)


def test_their_checkpoint_goes_on_here(coqui_checkpoint, tones: Path, tmp_path: Path) -> None:
    folder, epochs = coqui_checkpoint
    losses = [loss for _, _, loss in forward(folder, tones)]
    assert np.mean(losses) == pytest.approx(epochs[-1]["dev"][str(tones / "dev.csv")], rel=1e-3)
    step.run(SETTINGS, [tones / "train.csv"], [tones / "dev.csv"], tmp_path, folder)
    history = json.loads((tmp_path / Checkpoint.HISTORY).read_text())["epochs"]
    assert history[-1]["train_loss"] < epochs[-1]["train"]
    assert snapshots.load(snapshots.find(tmp_path, "last")[0]).global_step == 2 * 5 + 6


def test_ours_goes_on_there(coqui: Peer, tones: Path, tmp_path: Path) -> None:
    step.run(SETTINGS, [tones / "train.csv"], [tones / "dev.csv"], tmp_path)
    before = json.loads((tmp_path / Checkpoint.HISTORY).read_text())["epochs"][-1]
    answer = coqui.drive("coqui_trainer", "train", *coqui_flags(tones, tmp_path, 1))
    assert answer["epochs"][0]["train"] < before["train_loss"]
    assert snapshots.load(snapshots.find(tmp_path, "last")[0]).global_step == 6 + 5


def test_what_was_trained_here_in_their_folder_goes_on_there(
    coqui: Peer, coqui_checkpoint, tones: Path, tmp_path: Path
) -> None:
    """Theirs is as it was, and their trainer finds it; ours, in the folder inside, is a whole one for them, too."""
    place = tmp_path / "theirs"
    shutil.copytree(coqui_checkpoint[0], place)
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    made = step.run(SETTINGS, [tones / "train.csv"], [tones / "dev.csv"], place, place)
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == before
    tuned = json.loads((made.folder / Checkpoint.HISTORY).read_text())["epochs"][-1]["train_loss"]
    answer = coqui.drive("coqui_trainer", "train", *coqui_flags(tones, made.folder, 1))
    assert answer["epochs"][0]["train"] < tuned
    assert snapshots.load(snapshots.find(made.folder, "last")[0]).global_step == 2 * 5 + 6 + 5
    coqui.drive("coqui_trainer", "train", *coqui_flags(tones, place, 1))
    theirs = snapshots.read_state(place, Checkpoint.LAST)[0]
    assert snapshots.load(theirs).global_step == 3 * 5
