"""Runs with schedules and recipes: exact resuming, the best by WER, averages, the peers' losses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.train import step
from components.train.settings import SCHEDULES, TrainSettings
from components.train.validation import Scores, Validator
from speech.artifacts import Checkpoint
from speech.errors import RetryError
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from tests.components.train.conftest import Interrupted

SETTINGS = TrainSettings(n_hidden=24, epochs=3, train_batch_size=4, learning_rate=0.005, dropout_rate=0.1)
# Of SETTINGS with the trainer as it was before there were recipes: train loss and dev loss of each epoch.
LOSSES = [(23.892548, 9.4972266), (9.9746542, 10.448403), (9.2934265, 8.6679306)]


def train(folder: Path, save: Path, settings: TrainSettings, load: Path | None = None) -> Checkpoint:
    return step.run(settings, [folder / "train.csv"], [folder / "dev.csv"], save, load)


def newest(folder: Path, which: str = "last") -> Snapshot:
    return snapshots.load(snapshots.find(folder, which)[0])


def history(folder: Path) -> dict:
    return json.loads((folder / Checkpoint.HISTORY).read_text())


def script(scores: list[Scores], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the dev sets come out like this."""
    coming = iter(scores)
    monkeypatch.setattr(Validator, "measure", lambda self, sets, label: next(coming))


def test_the_peers_recipe_gives_the_losses_that_it_always_gave(tones: Path, tmp_path: Path, capsys) -> None:
    train(tones, tmp_path, SETTINGS)
    found = [(epoch["train_loss"], epoch["dev_loss"]) for epoch in history(tmp_path)["epochs"]]
    np.testing.assert_allclose(found, LOSSES, rtol=2e-5)
    assert "recipe peers: as DeepSpeech and Coqui STT train; --recipe auto" in capsys.readouterr().out


@pytest.mark.parametrize("schedule", SCHEDULES[1:])
def test_a_run_that_stops_within_its_schedule_ends_with_the_same_weights(
    tones: Path, tmp_path: Path, interrupted_after: Interrupted, schedule: str
) -> None:
    settings = replace(SETTINGS, lr_schedule=schedule, lr_warmup=0.2, epochs=2, plateau_epochs=1, es_min_delta=1e3)
    train(tones, tmp_path / "straight", settings)
    with interrupted_after(8), pytest.raises(RetryError, match="the same command goes on"):
        train(tones, tmp_path / "stopped", settings)
    train(tones, tmp_path / "stopped", settings)
    one, two = newest(tmp_path / "straight"), newest(tmp_path / "stopped")
    assert one.global_step == two.global_step == 12
    for name, value in {**one.weights, **one.moments}.items():
        np.testing.assert_array_equal(value, {**two.weights, **two.moments}[name], err_msg=name)
    epochs = [
        [{**epoch, "seconds": 0} for epoch in history(tmp_path / name)["epochs"]] for name in ("straight", "stopped")
    ]
    assert epochs[0] == epochs[1]


@pytest.mark.parametrize("name", ["small-data", "fine-tune"])
def test_a_recipes_run_that_stops_ends_with_the_same_weights(
    tones: Path, tmp_path: Path, interrupted_after: Interrupted, name: str
) -> None:
    """With what recipes do besides the schedule: augmentation, layer 1 of standardised inputs."""
    extras = {"augment": ("voice[p=0.5]", "noise[p=0.5]", "tempo[p=0.5]"), "input_scaling": "features"}
    settings = TrainSettings(n_hidden=24, epochs=2, recipe="small-data", train_batch_size=4, **extras)
    base = None
    if name == "fine-tune":
        train(tones, tmp_path / "base", settings)
        base, settings = tmp_path / "base", replace(settings, recipe=name)
    train(tones, tmp_path / "straight", settings, base)
    with interrupted_after(8), pytest.raises(RetryError, match="the same command goes on"):
        train(tones, tmp_path / "stopped", settings, base)
    train(tones, tmp_path / "stopped", settings, base)
    one, two = newest(tmp_path / "straight"), newest(tmp_path / "stopped")
    for tensor, value in {**one.weights, **one.moments}.items():
        np.testing.assert_array_equal(value, {**two.weights, **two.moments}[tensor], err_msg=tensor)
    assert one.training_state["origin"]["input_scaling"] == two.training_state["origin"]["input_scaling"]


def test_the_checkpoint_holds_the_rate_and_not_where_the_schedule_is(tones: Path, tmp_path: Path) -> None:
    train(tones, tmp_path, replace(SETTINGS, lr_schedule="cosine", epochs=2))
    assert newest(tmp_path).learning_rate == pytest.approx(0.005)
    rates = [epoch["learning_rate"] for epoch in history(tmp_path)["epochs"]]
    assert 0.005 > rates[0] > 5 * rates[1] > 0


def test_auto_keeps_the_recipe_that_it_began_with(
    tones: Path, tmp_path: Path, interrupted_after: Interrupted, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    settings = TrainSettings(n_hidden=24, epochs=1, recipe="auto", train_batch_size=4)
    with interrupted_after(2), pytest.raises(RetryError):
        train(tones, tmp_path, settings)
    monkeypatch.setattr("components.train.recipes.recipe.SMALL_HOURS", 0.0)
    train(tones, tmp_path, settings)
    chosen = [line for line in capsys.readouterr().out.splitlines() if line.startswith("recipe ")]
    assert len(chosen) == 2
    assert chosen[0] == chosen[1]
    assert "small-data (auto: from scratch, " in chosen[0]
    model = json.loads((tmp_path / Checkpoint.MODEL).read_text())
    assert (model["settings"]["recipe"], model["recipe"]["name"]) == ("small-data", "small-data")
    assert history(tmp_path)["recipe"] == "small-data"


def test_auto_fine_tunes_a_checkpoint(tones: Path, tmp_path: Path, capsys) -> None:
    settings = replace(SETTINGS, epochs=1)
    train(tones, tmp_path / "base", settings)
    tuning = TrainSettings(epochs=1, recipe="auto", train_batch_size=4)
    train(tones, tmp_path / "tuned", tuning, tmp_path / "base")
    assert "recipe fine-tune (auto: from a trained model): train_batch_size 4, " in capsys.readouterr().out


@pytest.mark.parametrize(("by", "best"), [("loss", 1), ("wer", 3), ("cer", 2)])
def test_the_best_epoch_is_the_best_by_what_was_asked(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, best: int
) -> None:
    script([Scores(2.0, 0.5, 0.3), Scores(2.5, 0.4, 0.1), Scores(3.0, 0.3, 0.2)], monkeypatch)
    train(tones, tmp_path, replace(SETTINGS, best_by=by))
    assert newest(tmp_path, "best").training_state["epoch"] == best
    found = history(tmp_path)
    assert (found["best_by"], found["best_epoch"]) == (by, best)
    assert [epoch["dev_wer"] for epoch in found["epochs"]] == [0.5, 0.4, 0.3]
    assert [epoch["dev_cer"] for epoch in found["epochs"]] == [0.3, 0.1, 0.2]


def test_the_mean_of_the_last_epochs_is_the_best_if_it_is_better(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    script([Scores(2.0, 0.5, 0.3), Scores(2.5, 0.4, 0.1), Scores(3.0, 0.3, 0.2), Scores(2.9, 0.2, 0.1)], monkeypatch)
    settings = replace(SETTINGS, best_by="wer", average_checkpoints=2, max_to_keep=1, checkpoint_secs=0)
    train(tones, tmp_path, settings)
    ends = [snapshots.load(prefix) for prefix in snapshots.read_state(tmp_path, Checkpoint.LAST)]
    assert [end.training_state["epoch"] for end in ends] == [3, 2]  # kept although max_to_keep is 1
    best = newest(tmp_path, "best")
    for name, value in best.weights.items():
        np.testing.assert_allclose(value, (ends[0].weights[name] + ends[1].weights[name]) / 2, atol=1e-7)
    assert history(tmp_path)["average"] == {
        "epochs": 2, "dev_loss": 2.9, "dev_wer": 0.2, "dev_cer": 0.1, "is_best": True,
    }  # fmt: skip
    assert "mean of the last 2 epochs' weights: dev loss 2.900, WER 20.0%, CER 10.0% (best)" in capsys.readouterr().out


def test_a_mean_that_is_no_better_is_not_kept(tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script([Scores(2.0, 0.5, 0.3), Scores(2.5, 0.4, 0.1), Scores(2.9, 0.4, 0.2)], monkeypatch)
    train(tones, tmp_path, replace(SETTINGS, best_by="wer", average_checkpoints=2, epochs=2))
    best, last = newest(tmp_path, "best"), newest(tmp_path)
    np.testing.assert_array_equal(best.weights["layer_1/weights"], last.weights["layer_1/weights"])
    assert history(tmp_path)["average"]["is_best"] is False


def test_a_mean_spans_a_stop(tones: Path, tmp_path: Path, interrupted_after: Interrupted) -> None:
    settings = replace(SETTINGS, average_checkpoints=3, max_to_keep=1)
    train(tones, tmp_path / "straight", settings)
    with interrupted_after(14), pytest.raises(RetryError):
        train(tones, tmp_path / "stopped", settings)
    train(tones, tmp_path / "stopped", settings)
    assert history(tmp_path / "straight")["average"] == history(tmp_path / "stopped")["average"]
