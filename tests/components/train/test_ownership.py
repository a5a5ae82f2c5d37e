"""A release that is trained on in its own folder: it stays, byte for byte, and the result is that of another folder."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.train import outcome, step
from components.train.peers.one_shot import transcribe
from components.train.report import PAGE
from components.train.saving.record import RunRecord
from components.train.saving.store import CheckpointStore
from components.train.settings import TrainSettings
from speech.artifacts import ALPHABET, Checkpoint
from speech.clips.manifest import read_manifest
from speech.errors import InputError
from speech.metrics import word_errors
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from speech.storage.objects import download_folder, upload_folder
from tests.components.train.test_main import ROOT
from tests.fixtures.release_checkpoint import ENGLISH, copy_release, make_release

# Steps too small to undo what the release has learned.
GENTLE = TrainSettings(epochs=2, train_batch_size=4, learning_rate=1e-4, skip_batch_test=True, show_progressbar=False)
TUNING = replace(GENTLE, learning_rate=3e-3, epochs=10)
# Steps so large that every epoch is worse.
WILD = replace(GENTLE, learning_rate=0.03, epochs=1)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It mishears most clips: there is something to learn."""
    return make_release(tmp_path_factory.mktemp("made") / "release", epochs=40)


@pytest.fixture(scope="module")
def english(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones with the release's alphabet beside the CSVs, and `other` with another one."""
    folder = tmp_path_factory.mktemp("english") / "tones"
    shutil.copytree(tones, folder)
    ENGLISH.save(folder / ALPHABET)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def train(corpus: Path, save: Path, settings: TrainSettings = GENTLE, load: Path | None = None, dev: bool = True):
    sets = [corpus / "dev.csv"] if dev else []
    return step.run(settings, [corpus / "train.csv"], sets, save, load or save)


def snapshot(folder: Path, load: str) -> Snapshot:
    return snapshots.load(snapshots.find(folder, load)[0])


def error_rate(checkpoint: Path, corpus: Path, load: str = "auto") -> float:
    """The WER of a checkpoint on the dev set, the alphabet being what the folder says, or the releases'."""
    counts = [
        word_errors(clip.transcript, transcribe(corpus / clip.wav_filename, checkpoint, load=load, beam_width=16))
        for clip in read_manifest(corpus / "dev.csv")
    ]
    return sum(counts[1:], counts[0]).rate


def test_in_place_and_elsewhere_are_the_same_and_the_base_is_as_it_was(
    release: Path, english: Path, tmp_path: Path, capsys
) -> None:
    """Seen: best_dev-720 (dev loss 2.2) was deleted for one of 59, and train-* went with the pruning."""
    place = copy_release(release, tmp_path / "place")
    of_base = error_rate(release, english)
    made = train(english, place, TUNING)
    assert f"this run's go to {place / 'run-1'}" in capsys.readouterr().out
    elsewhere = train(english, tmp_path / "elsewhere", TUNING, load=release)
    for load in ("last", "best"):
        one, two = snapshot(place, load), snapshot(tmp_path / "elsewhere", load)
        assert one.global_step == two.global_step
        assert all(np.array_equal(value, two.weights[name]) for name, value in one.weights.items())
    assert error_rate(place, english) == error_rate(tmp_path / "elsewhere", english) < of_base
    assert (made.folder, elsewhere.folder) == (place / "run-1", tmp_path / "elsewhere")
    before, after = files(release), files(place)
    assert {name: after[name] for name in before} == before
    shutil.rmtree(made.folder)
    assert files(place) == before
    assert error_rate(place, english) == of_base


def test_in_place_in_an_object_store(release: Path, english: Path, tmp_path: Path, s3_bucket: str, capsys) -> None:
    uri = f"{s3_bucket}/releases/R#1"
    upload_folder(release, uri)
    settings = replace(GENTLE, epochs=1)
    step.run(settings, [english / "train.csv"], [], tmp_path / "save", tmp_path / "save", mirror=uri)
    assert (
        f"{uri} holds files of others, which stay as they are: this run's go to {uri}/run-1" in capsys.readouterr().out
    )
    download_folder(uri, tmp_path / "after")
    before, after = files(release), files(tmp_path / "after")
    assert {name: after.get(name) for name in before} == before
    assert "run-1/checkpoint" in after
    assert all(name.startswith("run-1/") for name in after.keys() - before.keys())


def test_where_no_epoch_is_better_the_base_stays_the_best(release: Path, english: Path, tmp_path: Path, capsys) -> None:
    place = copy_release(release, tmp_path / "place")
    base = snapshot(place, "best")
    name = Path(base.prefix).name
    train(english, place, WILD)
    output = capsys.readouterr().out
    history = json.loads((place / "run-1" / Checkpoint.HISTORY).read_text())
    best = {f"dev_{score}": history[f"best_dev_{score}"] for score in ("loss", "wer", "cer")}
    assert history["base"] == {"checkpoint": name, **best, "is_best": True}
    assert history["epochs"][0]["dev_loss"] > history["base"]["dev_loss"]
    base_line = next(line for line in output.splitlines() if line.startswith("before training: "))
    assert base_line.startswith(f"before training: dev loss {history['base']['dev_loss']:.3f}, WER ")
    assert base_line.endswith(f" ({name})")
    assert f"no epoch was better than {name} (dev loss {history['base']['dev_loss']:.3f}): it stays the best" in output
    assert "no epoch was better" in (place / "run-1" / PAGE).read_text()
    kept = snapshot(place, "auto")  # what a test or an export takes
    assert kept.global_step == base.global_step
    assert all(np.array_equal(value, base.weights[weight]) for weight, value in kept.weights.items())
    # An epoch that is better takes its place; the base's own dev loss is the measure of the next run, too.
    train(english, tmp_path / "new", GENTLE, load=release)
    history = json.loads((tmp_path / "new" / Checkpoint.HISTORY).read_text())
    assert history["base"]["is_best"] == (min(e["dev_loss"] for e in history["epochs"]) >= history["base"]["dev_loss"])


def test_without_a_dev_set_the_newest_is_the_result(release: Path, english: Path, tmp_path: Path) -> None:
    """Seen: the old best_dev was exported as if it were what had been trained."""
    place = copy_release(release, tmp_path / "place")
    base = snapshot(place, "best")
    train(english, place, dev=False)
    found = snapshot(place, "auto")
    assert Path(found.prefix).name == f"train-{base.global_step + 2 * 6}"
    with pytest.raises(InputError, match=r"run-1: no best_dev_checkpoint state file: .* without dev sets has none"):
        snapshots.find(place, "best")


def test_transfer_has_nothing_to_beat(release: Path, english: Path, tmp_path: Path, capsys) -> None:
    settings = replace(GENTLE, drop_source_layers="auto", epochs=1)
    made = step.run(settings, [english / "other/train.csv"], [english / "other/train.csv"], tmp_path / "new", release)
    assert "before training" not in capsys.readouterr().out
    model, history = (json.loads((made.folder / name).read_text()) for name in (Checkpoint.MODEL, Checkpoint.HISTORY))
    assert model["dropped_layers"] == ["layer_6"]
    assert "--drop_source_layers auto: another alphabet (28 -> 3 symbols)" in model["start"]
    assert "base" not in history
    assert outcome.headline(made)["dropped_layers"] == 1


class Killed(BaseException):
    """No handler of ours gets to see a kill."""


def killed_after(calls: int, function: Callable[..., object]) -> Callable[..., object]:
    """The function, behind whose call number `calls` the process ends."""

    def counting(*given: object, **named: object) -> object:
        nonlocal calls
        made, calls = function(*given, **named), calls - 1
        if calls == 0:
            raise Killed
        return made

    return counting


def test_a_resumed_run_keeps_its_base(release: Path, english: Path, tmp_path: Path, monkeypatch) -> None:
    straight = train(english, tmp_path / "straight", load=release)
    monkeypatch.setattr(CheckpointStore, "save_last", killed_after(1, CheckpointStore.save_last))
    with pytest.raises(Killed):
        train(english, tmp_path / "broken", load=release)
    monkeypatch.undo()
    broken = train(english, tmp_path / "broken", load=release)
    for name in (Checkpoint.HISTORY, Checkpoint.MODEL):
        one, two = (json.loads((made.folder / name).read_text()) for made in (straight, broken))
        for key in ("base", "best_dev_loss", "start", "dropped_layers"):
            assert one.get(key) == two.get(key)
    assert all(
        np.array_equal(value, snapshot(tmp_path / "broken", "last").weights[name])
        for name, value in snapshot(tmp_path / "straight", "last").weights.items()
    )


@pytest.mark.slow
def test_killed_at_any_moment(release: Path, english: Path, tmp_path: Path) -> None:
    """SIGKILL to a process that trains in a release's folder, again and again, until a run comes through."""
    place = copy_release(release, tmp_path / "place")
    before = files(place)
    command = [sys.executable, "-m", "components.train", "--train_files", str(english / "train.csv"), "--dev_files"]
    command += [str(english / "dev.csv"), "--checkpoint_dir", str(place), "--epochs", "60", "--checkpoint_secs", "1"]
    environment, generator = {**os.environ, "PYTHONPATH": str(ROOT)}, random.Random(7)
    for attempt in range(12):
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        end = time.monotonic() + generator.uniform(3, 15) if attempt < 11 else float("inf")
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        after = files(place)
        assert {name: after.get(name) for name in before} == before
        if (place / "run-1" / PAGE).is_file():
            break
    assert (place / "run-1" / PAGE).is_file()
    left = {path.name.split(".")[0] for path in (place / "run-1").glob("*.index")}
    record = RunRecord.load(place / "run-1")
    assert record is not None
    assert left == set(record.bundles)
