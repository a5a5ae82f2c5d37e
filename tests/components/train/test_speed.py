"""Settings that make training faster or smaller: exact resuming and equal results hold with them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.train import step
from components.train.settings import TrainSettings
from speech.artifacts import Checkpoint
from speech.errors import InputError, RetryError
from speech.nn import devices, snapshots
from speech.nn.snapshots import Snapshot
from tests.components.train.conftest import Interrupted
from tests.fixtures.ports import free_ports

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = TrainSettings(n_hidden=24, epochs=2, train_batch_size=4, learning_rate=0.005, dropout_rate=0.1)


def train(folder: Path, save: Path, settings: TrainSettings, load: Path | None = None) -> Checkpoint:
    return step.run(settings, [folder / "train.csv"], [folder / "dev.csv"], save, load)


def last(folder: Path) -> Snapshot:
    return snapshots.load(snapshots.find(folder, "last")[0])


def history(folder: Path) -> list[dict]:
    return json.loads((folder / Checkpoint.HISTORY).read_text(encoding="utf-8"))["epochs"]


@pytest.fixture(scope="module")
def plain(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of SETTINGS."""
    folder = tmp_path_factory.mktemp("plain")
    train(tones, folder, SETTINGS)
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"mixed_precision": True},
        {"train_batch_frames": 300, "gradient_accumulation_steps": 2},
    ],
)
def test_interrupted_runs_end_with_the_same_weights(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted_after: Interrupted, changes: dict
) -> None:
    monkeypatch.setattr(devices, "processor_has_bfloat16", lambda: True)
    settings = replace(SETTINGS, **changes)
    train(tones, tmp_path / "straight", settings)
    with interrupted_after(3), pytest.raises(RetryError):
        train(tones, tmp_path / "broken", settings)
    train(tones, tmp_path / "broken", settings)
    one, two = last(tmp_path / "straight"), last(tmp_path / "broken")
    assert one.global_step == two.global_step > 3
    for name, value in {**one.weights, **one.moments}.items():
        np.testing.assert_array_equal(value, {**two.weights, **two.moments}[name], err_msg=name)


def test_accumulated_batches_are_one_larger_batch(plain: Path, tones: Path, tmp_path: Path) -> None:
    train(tones, tmp_path, replace(SETTINGS, train_batch_size=2, gradient_accumulation_steps=2))
    for one, two in zip(history(tmp_path), history(plain), strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-3)
        assert one["dev_loss"] == pytest.approx(two["dev_loss"], rel=1e-3)
    assert last(tmp_path).global_step == last(plain).global_step


def test_mixed_precision_tunes_and_transfers(
    plain: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(devices, "processor_has_bfloat16", lambda: True)
    settings = replace(SETTINGS, mixed_precision=True, epochs=1)
    train(tones, tmp_path / "tuned", settings, plain)
    output = capsys.readouterr().out
    assert "same alphabet" in output
    assert "mixed precision: bfloat16 products" in output
    assert history(tmp_path / "tuned")[0]["train_loss"] < history(plain)[0]["train_loss"]
    step.run(
        replace(settings, drop_source_layers="auto"), [tones / "other/train.csv"], [], tmp_path / "transferred", plain
    )
    assert "another alphabet (5 -> 3 symbols)" in capsys.readouterr().out
    after = last(tmp_path / "transferred")
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in after.weights.values())


def test_two_workers_train_as_one_and_the_chief_writes(tones: Path, tmp_path: Path) -> None:
    more = {"lr_schedule": "one_cycle", "lr_peak": 1.0, "average_checkpoints": 2}
    train(tones, tmp_path / "alone", replace(SETTINGS, **more))
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    program = (
        "import sys; from pathlib import Path; from components.train import step; "
        "from components.train.settings import TrainSettings; "
        "settings = TrainSettings(n_hidden=24, epochs=2, train_batch_size=4, learning_rate=0.005, dropout_rate=0.1, "
        f"**{more}); "
        "step.run(settings, [Path(sys.argv[1]) / 'train.csv'], [Path(sys.argv[1]) / 'dev.csv'], Path(sys.argv[2]))"
    )
    processes = []
    try:
        for number in range(2):
            place = {devices.WORKERS_VARIABLE: ",".join(addresses), devices.INDEX_VARIABLE: str(number)}
            variables = {**os.environ, **place, "PYTHONPATH": str(ROOT)}
            variables.pop("TF_CONFIG", None)
            command = [sys.executable, "-c", program, str(tones), str(tmp_path / str(number))]
            processes.append(subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True))
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in processes:
            process.kill()
    for one, two in zip(history(tmp_path / "0"), history(tmp_path / "alone"), strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-3)
        assert one["dev_loss"] == pytest.approx(two["dev_loss"], rel=1e-3)
        assert (one["dev_wer"], one["dev_cer"]) == pytest.approx((two["dev_wer"], two["dev_cer"]), abs=0.05)
        assert one["learning_rate"] == two["learning_rate"]
    averages = [json.loads((tmp_path / name / Checkpoint.HISTORY).read_text())["average"] for name in ("0", "alone")]
    assert averages[0]["dev_loss"] == pytest.approx(averages[1]["dev_loss"], rel=1e-3)
    assert not list(tmp_path.glob("1/*.index"))


def test_a_gpu_that_is_asked_for_and_absent_exits_with_75(tones: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "components.train", "--train_files", str(tones / "train.csv"), "--devices", "gpu"]
    variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--checkpoint_dir", str(tmp_path / "c")], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 75
    assert done.stderr.strip().startswith("interrupted: --devices gpu: this machine has 0 GPUs")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"devices": "tpu"}, {"devices": "gpu:0"}, {"train_batch_frames": -1}, {"gradient_accumulation_steps": 0}],
)
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"--{next(iter(wrong))}"):
        replace(SETTINGS, **wrong)
