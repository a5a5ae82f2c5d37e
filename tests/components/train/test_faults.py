"""What goes wrong: one clear line each, exit code 2 (or 75), and nothing of what was there is lost."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.train import __main__ as train
from components.train import step
from components.train.report import PAGE
from components.train.settings import TrainSettings
from speech.artifacts import Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.variables import MOMENTS, initial_weights, weight_shapes
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from tests.components.train.test_main import ROOT, start

SETTINGS = TrainSettings(n_hidden=16, epochs=4, train_batch_size=4, learning_rate=0.005)


def last(folder: Path) -> Snapshot:
    return snapshots.load(snapshots.find(folder, "last")[0])


def assert_same(one: Snapshot, two: Snapshot) -> None:
    assert one.global_step == two.global_step
    for name, value in {**one.weights, **one.moments}.items():
        np.testing.assert_array_equal(value, {**two.weights, **two.moments}[name], err_msg=name)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def error_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that the command ends with, exit code 2."""
    monkeypatch.setattr("sys.argv", ["train", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        train.main()
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert len(lines) == 1
    return lines[0]


WRONG_INPUT = {
    "a symbol twice": ("alphabet", " \na\nb\na\n", r"letters\.txt: symbol 'a' occurs twice: remove one of the lines"),
    "no space": ("alphabet", "a\nb\n", r"train\.csv: no usable clip \(\d+ characters outside the alphabet"),
    "an empty alphabet": ("alphabet", "# nothing\n", r"letters\.txt: the alphabet is empty"),
    "no transcripts": ("csv", "wav_filename,wav_filesize\na.wav,9\n", r"data\.csv: line 1: no column transcript"),
    "another name": (
        "csv",
        "wav_filename,wav_filesize,text\na.wav,9,a\n",
        r"no column transcript: expected wav_filename,wav_filesize,transcript, found wav_filename,wav_filesize,text",
    ),
    "no number": ("csv", "wav_filename,wav_filesize,transcript\na.wav,many,a\n", r"data\.csv: line 2: .*'many'"),
    "a short row": ("csv", "wav_filename,wav_filesize,transcript\na.wav,9,a\nb.wav\n", r"data\.csv: line 3"),
    "no rows": ("csv", "wav_filename,wav_filesize,transcript\n", r"data\.csv: no usable clip \(it has no rows\)"),
    "an empty file": ("csv", "", r"data\.csv: line 1: no column .* found nothing"),
    "no audio": (
        "csv",
        "wav_filename,wav_filesize,transcript\nno.wav,90000,a\n",
        r"usable clip \(1 missing file",
    ),
    "other letters": ("csv", "wav_filename,wav_filesize,transcript\nno.wav,90000,Ж\n", r"outside the alphabet"),
}


@pytest.mark.parametrize("name", WRONG_INPUT)
def test_wrong_input(name: str, tones: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    kind, content, message = WRONG_INPUT[name]
    csv, alphabet = tones / "train.csv", tones / "alphabet.txt"
    if kind == "alphabet":
        alphabet = tmp_path / "letters.txt"
        alphabet.write_text(content)
    else:
        csv = tmp_path / "data.csv"
        csv.write_text(content)
    save = tmp_path / "c"
    flags = ("--alphabet_config_path", alphabet, "--checkpoint_dir", save, "--n_hidden", 16, "--skip_batch_test")
    line = error_of(monkeypatch, capsys, "--train_files", csv, *flags)
    assert re.search(message, line), line
    assert not list(save.glob("*.index"))


@pytest.mark.parametrize(
    ("flag", "value", "found"),
    [
        ("n_hidden", 32, 16),
        ("feature_win_len", 64, 32),
        ("audio_sample_rate", 8000, 16000),
        ("layer_norm", True, False),
    ],
)
def test_a_contradiction_names_both_values(flag, value, found, tones, tmp_path, monkeypatch, capsys) -> None:
    step.run(replace(SETTINGS, epochs=0), [tones / "train.csv"], [], tmp_path / "c")
    before = files(tmp_path)
    capsys.readouterr()
    flags = ("--checkpoint_dir", tmp_path / "c", f"--{flag}", value)
    line = error_of(monkeypatch, capsys, "--train_files", tones / "train.csv", *flags)
    assert f"--{flag} {value} contradicts the checkpoint" in line
    assert f"which has {found}" in line
    assert files(tmp_path) == before


def test_an_unreadable_recording_is_named_and_skipped(tones: Path, tmp_path: Path) -> None:
    """The run goes on, and its history says which clip and why."""
    header, *rows = (tones / "train.csv").read_text().splitlines()
    rows = [f"{tones}/{row}" for row in rows]
    (tmp_path / "bad.wav").write_bytes(b"\0" * 30_000)
    (tmp_path / "cut.wav").write_bytes((tones / "train-1.wav").read_bytes()[:40])
    rows += ["bad.wav,30000,ab,,,,", "cut.wav,30000,ab,,,,", "gone.wav,30000,ab,,,,"]
    (tmp_path / "data.csv").write_text("\n".join([header, *rows]) + "\n")
    settings = replace(SETTINGS, epochs=1, alphabet_config_path=str(tones / "alphabet.txt"), allow_skipped="3")
    step.run(settings, [tmp_path / "data.csv"], [], tmp_path / "c")
    skipped = json.loads((tmp_path / "c" / Checkpoint.HISTORY).read_text())["clips"]["train"]
    assert (skipped["listed"], skipped["used"], skipped["skipped"]) == (25, 22, 3)
    assert skipped["counts"] == {"unreadable audio": 2, "missing file": 1}
    assert skipped["examples"] == {"unreadable audio": ["bad.wav", "cut.wav"], "missing file": ["gone.wav"]}


def run(tones: Path, folder: Path) -> Path:
    step.run(replace(SETTINGS, epochs=3), [tones / "train.csv"], [tones / "dev.csv"], folder)
    return folder


@pytest.fixture(scope="module")
def straight(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    return run(tones, tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("failing", [1, 2, 3, 4, 7])
def test_a_full_disk_loses_nothing(
    failing: int, straight: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever write fails (bundles and state files alike), the next run of the same command ends the same."""
    written = 0

    def full(real):
        def write(*arguments, **named):
            nonlocal written
            written += 1
            if written == failing:
                if real is checkpoints_save:
                    real(*arguments, **named)  # the bundle is there, its end is not
                raise OSError(28, "No space left on device", "x")
            return real(*arguments, **named)

        return write

    checkpoints_save = snapshots.save
    monkeypatch.setattr(snapshots, "save", full(snapshots.save))
    monkeypatch.setattr(snapshots, "write_state", full(snapshots.write_state))
    with pytest.raises(InputError, match="cannot be written: No space left on device: make room and run the same com"):
        run(tones, tmp_path / "broken")
    monkeypatch.undo()
    states = (Checkpoint.LAST, Checkpoint.BEST)
    named = {Path(found).name for state in states for found in snapshots.read_state(tmp_path / "broken", state)}
    assert {path.stem for path in (tmp_path / "broken").glob("*.index")} == named
    run(tones, tmp_path / "broken")
    assert_same(last(tmp_path / "broken"), last(straight))


def test_a_disk_that_is_really_full(tones: Path, tmp_path: Path) -> None:
    """Files may not grow beyond a limit: the system refuses in the middle of TensorFlow's own write."""
    step.run(replace(SETTINGS, epochs=1), [tones / "train.csv"], [], tmp_path / "c")
    before = files(tmp_path / "c")
    arguments = [
        "--train_files",
        str(tones / "train.csv"),
        "--checkpoint_dir",
        str(tmp_path / "c"),
        "--epochs",
        "2",
        "--skip_batch_test",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "components.train", *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in done.stderr
    assert "the checkpoint cannot be written" in errors[0]
    after = files(tmp_path / "c")
    for name in [name for name in before if name.startswith(("train-", "checkpoint"))]:
        assert after[name] == before[name]
    assert {name for name in after if name.startswith("train-")} == {name for name in before if name[:6] == "train-"}


@pytest.mark.slow
def test_twenty_kills_at_random_moments(tones: Path, tmp_path: Path) -> None:
    """Many fall before the training, some into it, and some behind the last checkpoint, before the report."""
    flags = ("--epochs", "250", "--checkpoint_secs", "1", "--augment", "volume[p=0.5]")
    process = start(tones, tmp_path / "straight", *flags)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    complete = tmp_path / "broken" / PAGE
    generator, kills = np.random.default_rng(20), 0
    while kills < 20 and not complete.is_file():
        process = start(tones, tmp_path / "broken", *flags)
        deadline = time.monotonic() + float(generator.uniform(0.5, 9.0 if kills % 3 else 14.0))
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        kills += 1
    if not complete.is_file():
        process = start(tones, tmp_path / "broken", *flags)
        output = process.communicate()[0]
        assert process.returncode == 0, output
    assert kills >= 5
    assert_same(last(tmp_path / "broken"), last(tmp_path / "straight"))


def test_a_kill_behind_the_last_checkpoint_costs_no_second_training(
    straight: Path, tones: Path, tmp_path: Path
) -> None:
    """Only the report is missing, so only the report is made; the run after that is a new one."""
    shutil.copytree(straight, tmp_path / "c")
    (tmp_path / "c" / PAGE).unlink()
    (tmp_path / "c" / Checkpoint.HISTORY).unlink()
    run(tones, tmp_path / "c")
    assert_same(last(tmp_path / "c"), last(straight))
    assert (tmp_path / "c" / PAGE).is_file()
    epochs = [json.loads((one / Checkpoint.HISTORY).read_text())["epochs"] for one in (tmp_path / "c", straight)]
    assert epochs[0] == epochs[1]
    before = last(tmp_path / "c").prefix
    run(tones, tmp_path / "c")
    assert last(tmp_path / "c").prefix != before


def release_checkpoint(folder: Path, n_hidden: int) -> Snapshot:
    """A checkpoint as DeepSpeech's releases have them: trained with cuDNN, so the LSTM's moments are missing.

    In their place is what cuDNN's parameter buffer left: tensors that no other graph can use.
    """
    import tensorflow as tf

    geometry = Geometry(n_hidden=n_hidden, n_labels=28)
    weights = initial_weights(geometry, 1)
    tensors: dict[str, np.ndarray] = dict(weights)
    for name, shape in weight_shapes(geometry).items():
        if "lstm" not in name:
            tensors |= {f"{name}/{moment}": np.full(shape, 1e-8, np.float32) for moment in MOMENTS}
    opaque = (8 * n_hidden * n_hidden + 8 * n_hidden,)
    tensors |= {f"cudnn_lstm/opaque_kernel/{moment}": np.zeros(opaque, np.float32) for moment in MOMENTS}
    tensors |= {
        "global_step": np.array(732_522, np.int64),
        "beta1_power": np.array(0.0, np.float32),
        "beta2_power": np.array(0.1, np.float32),
    }
    folder.mkdir()
    names = sorted(tensors)
    prefix = str(folder / "best_dev-732522")
    values = [tf.constant(tensors[name]) for name in names]
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    for state in (Checkpoint.LAST, Checkpoint.BEST):
        (folder / state).write_text('model_checkpoint_path: "/somewhere/else/best_dev-732522"\n')
    return Snapshot(geometry, weights)


@pytest.mark.parametrize("n_hidden", [64, pytest.param(2048, marks=pytest.mark.slow)])
def test_a_release_trains_on_with_no_flag_but_its_path(n_hidden, tones, tmp_path, monkeypatch, capsys) -> None:
    released = release_checkpoint(tmp_path / "release", n_hidden)
    header, *rows = (tones / "train.csv").read_text().splitlines()
    (tmp_path / "data.csv").write_text("\n".join([header, f"{tones}/{rows[0]}"]) + "\n")
    (tmp_path / "alphabet.txt").write_text("".join(f"{symbol}\n" for symbol in " abcdefghijklmnopqrstuvwxyz'"))
    flags = ["--train_files", tmp_path / "data.csv", "--checkpoint_dir", tmp_path / "release", "--epochs", 1]
    monkeypatch.setattr("sys.argv", ["train", *map(str, flags)])
    train.main()
    assert f"fine-tuning best_dev-732522 (n_hidden {n_hidden})" in capsys.readouterr().out
    after = last(tmp_path / "release")
    assert after.global_step == 732_523
    assert after.missing_moments == []
    moved = {name for name, value in after.weights.items() if not np.array_equal(value, released.weights[name])}
    assert moved == set(released.weights)
    assert all(np.isfinite(value).all() for value in after.weights.values())
