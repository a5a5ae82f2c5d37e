"""Runs of the training step: learning, exact resuming, fine-tuning, transfer, and what it leaves behind."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.train import loop, step
from components.train.report import PAGE
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.artifacts import Checkpoint
from speech.clips.manifest import read_manifest
from speech.errors import InputError, RetryError
from speech.model_files.checkpoints import read_state
from speech.model_files.variables import layer_of
from speech.nn import snapshots
from speech.nn.batches import ClipSet, stream
from speech.nn.dropout import DropoutRates
from speech.nn.plans import BatchSize, plan_sorted
from speech.nn.snapshots import Snapshot
from speech.nn.training import Adam, Trainer
from speech.storage.objects import delete_objects, list_keys
from tests.components.train.conftest import Interrupted

SETTINGS = TrainSettings(n_hidden=24, epochs=3, train_batch_size=4, learning_rate=0.005, dropout_rate=0.1)


def train(folder: Path, save: Path, settings: TrainSettings = SETTINGS, load: Path | None = None) -> Checkpoint:
    return step.run(settings, [folder / "train.csv"], [folder / "dev.csv"], save, load)


def last(folder: Path) -> Snapshot:
    return snapshots.load(snapshots.find(folder, "last")[0])


def assert_same_weights(one: Snapshot, two: Snapshot) -> None:
    assert one.global_step == two.global_step
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, two.weights[name], err_msg=name)
    for name, value in one.moments.items():
        np.testing.assert_array_equal(value, two.moments[name], err_msg=name)


@pytest.fixture(scope="module")
def finished(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of SETTINGS."""
    folder = tmp_path_factory.mktemp("finished")
    train(tones, folder)
    return folder


def test_it_learns_and_leaves_a_whole_checkpoint(finished: Path) -> None:
    history = json.loads((finished / Checkpoint.HISTORY).read_text())
    losses = [epoch["dev_loss"] for epoch in history["epochs"]]
    assert len(losses) == 3
    assert history["epochs"][-1]["train_loss"] < 0.5 * history["epochs"][0]["train_loss"]
    assert history["best_dev_loss"] == min(losses)
    assert last(finished).global_step == 18
    names = {path.name for path in finished.iterdir()}
    assert {
        "checkpoint",
        "best_dev_checkpoint",
        "alphabet.txt",
        "model.json",
        "flags.txt",
        "loss.html",
    } <= names
    assert json.loads((finished / "flags.txt").read_text())["n_hidden"] == 24
    assert not [name for name in names if name.endswith(".tmp")]


@pytest.mark.parametrize("batches", [1, 4, 6, 9, 17])
def test_interrupted_runs_end_with_the_same_weights(
    finished: Path, tones: Path, tmp_path: Path, interrupted_after: Interrupted, batches: int
) -> None:
    with interrupted_after(batches), pytest.raises(RetryError, match="the same command goes on"):
        train(tones, tmp_path)
    train(tones, tmp_path)
    assert_same_weights(last(tmp_path), last(finished))
    kept = [json.loads((folder / Checkpoint.HISTORY).read_text())["epochs"] for folder in (tmp_path, finished)]
    for one, two in zip(*kept, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_a_damaged_newest_checkpoint_falls_back(
    finished: Path, tones: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(loop.Interruption, "requested", property(lambda self: True, lambda self, _: None))
    for _ in range(3):
        with pytest.raises(RetryError):
            train(tones, tmp_path)
    monkeypatch.undo()
    newest = Path(snapshots.find(tmp_path, "last")[0] + ".index")
    newest.write_bytes(newest.read_bytes()[:50])
    train(tones, tmp_path)
    assert "trying the checkpoint before it" in capsys.readouterr().err
    assert_same_weights(last(tmp_path), last(finished))


def test_other_settings_do_not_resume(finished: Path, tones: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(loop.Interruption, "requested", property(lambda self: True, lambda self, _: None))
    with pytest.raises(RetryError):
        train(tones, tmp_path)
    monkeypatch.undo()
    train(tones, tmp_path, replace(SETTINGS, epochs=1))
    assert "resuming" not in capsys.readouterr().out.split("from scratch")[-1]


def test_fine_tuning_goes_on_from_the_best(finished: Path, tones: Path, tmp_path: Path, capsys) -> None:
    train(tones, tmp_path, replace(SETTINGS, epochs=1, n_hidden=0), finished)
    assert "same alphabet" in capsys.readouterr().out
    assert last(tmp_path).global_step == 24
    assert last(tmp_path).geometry.n_hidden == 24


def test_epochs_zero_copies_the_weights(finished: Path, tones: Path, tmp_path: Path) -> None:
    train(tones, tmp_path, replace(SETTINGS, epochs=0), finished)
    best = snapshots.load(snapshots.find(finished, "best")[0])
    np.testing.assert_array_equal(last(tmp_path).weights["layer_2/weights"], best.weights["layer_2/weights"])


def test_transfer_to_another_alphabet(finished: Path, tones: Path, tmp_path: Path, capsys) -> None:
    settings = replace(SETTINGS, epochs=0, drop_source_layers="auto")
    step.run(settings, [tones / "other/train.csv"], [], tmp_path, finished)
    assert "another alphabet (5 -> 3 symbols)" in capsys.readouterr().out
    before, after = snapshots.load(snapshots.find(finished, "best")[0]), last(tmp_path)
    assert after.weights["layer_6/weights"].shape == (24, 4)
    np.testing.assert_array_equal(after.weights["layer_5/weights"], before.weights["layer_5/weights"])
    np.testing.assert_array_equal(after.moments["layer_5/weights/Adam"], before.moments["layer_5/weights/Adam"])
    assert not after.moments["layer_6/weights/Adam"].any()


def test_dropped_layers_are_contiguous_from_the_output(finished: Path, tones: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=0, drop_source_layers="3", random_seed=99)
    train(tones, tmp_path, settings, finished)
    before, after = snapshots.load(snapshots.find(finished, "best")[0]), last(tmp_path)
    changed = {name for name, value in after.weights.items() if not np.array_equal(value, before.weights[name])}
    assert {checkpoints_layer(name) for name in changed} == {"lstm", "layer_5", "layer_6"}
    assert after.beta2_power == before.beta2_power


def checkpoints_layer(name: str) -> str:

    return layer_of(name)


def test_contradictions_are_one_line(finished: Path, tones: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--n_hidden 32 contradicts the checkpoint .* which has 24"):
        train(tones, tmp_path, replace(SETTINGS, n_hidden=32), finished)
    with pytest.raises(InputError, match=r"alphabet\.txt differ: the second lacks 'c' 'd': .*--drop_source_layers 1"):
        step.run(SETTINGS, [tones / "other/train.csv"], [], tmp_path, finished)
    with pytest.raises(InputError, match=r"--load_train best: .* holds no checkpoint"):
        train(tones, tmp_path, replace(SETTINGS, load_train="best"))
    with pytest.raises(InputError, match="no such CSV"):
        step.run(SETTINGS, [tmp_path / "none.csv"], [], tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_early_stop_and_plateau(finished: Path, tones: Path, tmp_path: Path, capsys) -> None:
    settings = replace(
        SETTINGS,
        epochs=9,
        early_stop=True,
        es_epochs=2,
        es_min_delta=1000.0,
        reduce_lr_on_plateau=True,
        plateau_epochs=1,
    )
    train(tones, tmp_path, settings)
    history = json.loads((tmp_path / Checkpoint.HISTORY).read_text())["epochs"]
    assert [epoch["learning_rate"] for epoch in history] == pytest.approx([0.005, 0.005, 0.0005])
    output = capsys.readouterr().out
    assert "plateau: back to the best weights, learning rate 0.0005" in output
    assert "early stop" in output


@pytest.mark.parametrize("size", [1, 4])
def test_the_dev_loss_is_the_mean_of_group_means(finished: Path, tones: Path, tmp_path: Path, size: int) -> None:
    bundle = snapshots.load(snapshots.find(finished, "best")[0])
    trainer = Trainer(bundle, Adam(), DropoutRates(), 0.1, 1)
    clips = ClipSet([read_manifest(tones / "dev.csv")], Alphabet.load(tones / "alphabet.txt"), bundle.geometry)
    singles = [
        float(trainer.heard(batch).losses[0]) for batch in stream(clips, plan_sorted(clips.n_frames, BatchSize(1)))
    ]
    groups = [np.mean(singles[start : start + size]) for start in range(0, 6, size)]
    settings = replace(SETTINGS, dev_batch_size=size, epochs=1, learning_rate=1e-30, dropout_rate=0.0)
    train(tones, tmp_path, settings, finished)
    history = json.loads((tmp_path / Checkpoint.HISTORY).read_text())["epochs"]
    assert history[0]["dev_loss"] == pytest.approx(np.mean(groups), rel=1e-5)


def test_metrics_sets_limits_and_summaries(tones: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1, limit_train=8, limit_dev=2, summary_dir=str(tmp_path / "summaries"))
    metrics = [tones / "other/train.csv"]
    step.run(settings, [tones / "train.csv"], [tones / "dev.csv"], tmp_path / "c", metrics_sources=metrics)
    history = json.loads((tmp_path / "c" / Checkpoint.HISTORY).read_text())["epochs"]
    assert list(history[0]["metrics"]) == [str(metrics[0])]
    assert last(tmp_path / "c").global_step == 2
    sidecar = json.loads((tmp_path / "c" / Checkpoint.MODEL).read_text())
    assert (sidecar["train_clips"], sidecar["dev_clips"]) == (8, 2)
    assert list((tmp_path / "summaries").glob("events.out.tfevents.*"))


AUGMENTED = replace(
    SETTINGS,
    epochs=2,
    augment=("volume[p=0.5]", "tempo[p=0.8,factor=1~0.2]", "frequency_mask[p=0.5]", "add[p=0.5,stddev=0.5]"),
    augmentations_per_epoch=2,
)


def test_augmented_runs_resume_exactly(tones: Path, tmp_path: Path, interrupted_after: Interrupted) -> None:
    train(tones, tmp_path / "straight", AUGMENTED)
    assert last(tmp_path / "straight").global_step == 2 * 2 * 6
    with interrupted_after(8), pytest.raises(RetryError):
        train(tones, tmp_path / "broken", AUGMENTED)
    train(tones, tmp_path / "broken", AUGMENTED)
    assert_same_weights(last(tmp_path / "broken"), last(tmp_path / "straight"))


def test_a_run_goes_on_from_its_bucket_on_another_machine(
    finished: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_bucket: str, capsys
) -> None:
    def run(folder: str) -> Checkpoint:
        return step.run(
            SETTINGS, [tones / "train.csv"], [tones / "dev.csv"], tmp_path / folder, mirror=f"{s3_bucket}/key"
        )

    monkeypatch.setattr(loop.Interruption, "requested", property(lambda self: True, lambda self, _: None))
    with pytest.raises(RetryError):
        run("one")
    monkeypatch.setattr(loop.Interruption, "requested", False)
    run("two")
    assert "resuming at step 1" in capsys.readouterr().out
    assert_same_weights(last(tmp_path / "two"), last(finished))
    run("three")
    assert "finished: nothing to train" in capsys.readouterr().out
    assert_same_weights(last(tmp_path / "three"), last(finished))
    mirrored = {key.rsplit("/", 1)[1] for key, _ in list_keys(f"{s3_bucket}/key")}
    kept = {path.name for path in (tmp_path / "two").iterdir()}
    bundles = [read_state(tmp_path / "three", name)[0] for name in (Checkpoint.LAST, Checkpoint.BEST)]
    assert {f"{Path(prefix).name}.index" for prefix in bundles} <= mirrored <= kept
    assert {Checkpoint.LAST, Checkpoint.BEST, "alphabet.txt", "flags.txt", PAGE} <= mirrored
    # Killed behind the last checkpoint, in front of the report: the report is made, nothing is trained again.
    delete_objects(f"{s3_bucket}/key/{name}" for name in (Checkpoint.HISTORY, PAGE))
    run("four")
    assert "resuming at step 18" in capsys.readouterr().out
    assert_same_weights(last(tmp_path / "four"), last(finished))
    assert {key.rsplit("/", 1)[1] for key, _ in list_keys(f"{s3_bucket}/key/{PAGE}")} == {PAGE}
    losses = [json.loads((tmp_path / name / Checkpoint.HISTORY).read_text())["epochs"] for name in ("two", "four")]
    assert [epoch["dev_loss"] for epoch in losses[0]] == [epoch["dev_loss"] for epoch in losses[1]]
