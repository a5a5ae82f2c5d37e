"""The curves of trainings: what they show, and one line whatever happened in between."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.train import loop, step
from components.train.settings import TrainSettings
from speech.artifacts import Checkpoint
from speech.curves.reader import CurveFiles, Curves

SETTINGS = TrainSettings(n_hidden=16, epochs=3, train_batch_size=4, learning_rate=0.005, skip_batch_test=True)
OF_STEPS = {
    *("train/step_loss", "train/gradient_norm", "train/learning_rate", "train/clips_per_second"),
    *("train/seconds_waited_for_clips", "progress/epoch", "progress/seconds_left"),
}
OF_EPOCHS = {"epoch_loss/train", "epoch_loss/dev", "epoch_wer/dev", "epoch_cer/dev"}
STEPS, EPOCH = 18, 6  # 22 clips


class Killed(BaseException):
    """What ends a training without a word."""


def train(tones: Path, save: Path, load: Path | None = None, **changed: object) -> Curves:
    settings = replace(SETTINGS, summary_dir=str(save / "curves"), **changed)
    step.run(settings, [tones / "train.csv"], [tones / "dev.csv"], save / "checkpoint", load)
    return CurveFiles(str(save / "curves")).look()


def test_a_training_shows_its_numbers(tones: Path, tmp_path: Path) -> None:
    seen = train(tones, tmp_path, lr_schedule="linear", lr_warmup=0.0)
    assert seen.series.keys() == OF_STEPS | OF_EPOCHS | {"progress/epochs", "progress/finished"}
    for tag in OF_STEPS:
        assert [one for one, _ in seen.line(tag)] == list(range(1, STEPS + 1))
    history = json.loads((tmp_path / "checkpoint" / Checkpoint.HISTORY).read_text())["epochs"]
    for tag, name in (("epoch_loss/train", "train_loss"), ("epoch_loss/dev", "dev_loss"), ("epoch_cer/dev", "dev_cer")):
        expected = [(EPOCH * (number + 1), pytest.approx(epoch[name])) for number, epoch in enumerate(history)]
        assert seen.line(tag) == expected
    rates = [value for _, value in seen.line("train/learning_rate")]
    assert rates == sorted(rates, reverse=True)
    assert rates[EPOCH - 1] == pytest.approx(history[0]["learning_rate"])
    assert seen.line("progress/epoch")[-1] == (STEPS, 3.0)
    assert min(value for _, value in seen.line("train/gradient_norm")) > 0
    left = [value for _, value in seen.line("progress/seconds_left")]
    assert min(left[:-1]) > 0 == left[-1]


def test_a_killed_training_that_goes_on_shows_one_curve(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed twice: behind its newest checkpoint, whose steps come again, and before its first one."""
    straight = train(tones, tmp_path / "straight")
    trained = loop.TrainingRun.add_to_curves
    for place in (2, 11):
        with monkeypatch.context() as patch:

            def kill(self: loop.TrainingRun, *arguments: object, place: int = place) -> None:
                trained(self, *arguments)
                if self.trainer.global_step == place:
                    raise Killed

            patch.setattr(loop.TrainingRun, "add_to_curves", kill)
            with pytest.raises(Killed):
                train(tones, tmp_path / "killed")
    again = train(tones, tmp_path / "killed")
    assert again.series.keys() == straight.series.keys()
    assert again.last("progress/epochs") == SETTINGS.epochs
    for tag in ("train/step_loss", "train/gradient_norm", "progress/epoch", *OF_EPOCHS):
        assert again.line(tag) == straight.line(tag)


def test_what_is_trained_on_is_measured_before_the_first_step(tones: Path, tmp_path: Path) -> None:
    train(tones, tmp_path / "base")
    seen = train(tones, tmp_path / "tuned", tmp_path / "base/checkpoint", epochs=1)
    assert [one for one, _ in seen.line("epoch_loss/dev")] == [STEPS, STEPS + EPOCH]


def test_a_dead_place_changes_nothing_but_a_line(
    tones: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr("speech.curves.writer.REMOTE_EVERY_S", 0.05)
    settings = replace(SETTINGS, summary_dir="s3://nowhere/curves", epochs=8)
    made = step.run(settings, [tones / "train.csv"], [tones / "dev.csv"], tmp_path)
    assert len(json.loads((made.folder / Checkpoint.HISTORY).read_text())["epochs"]) == 8
    lines = [line for line in capfd.readouterr().err.splitlines() if "curves" in line]
    assert len(lines) <= 1  # none, if the training was faster than the first attempt
