"""The command line in a process of its own: signals and exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from speech.nn import snapshots

ROOT = Path(__file__).parents[3]


def start(tones: Path, save: Path, *flags: str) -> subprocess.Popen[str]:
    arguments = ["--train_files", str(tones / "train.csv"), "--dev_files", str(tones / "dev.csv")]
    arguments += ["--checkpoint_dir", str(save), "--n_hidden", "16", "--train_batch_size", "4", *flags]
    command = [sys.executable, "-m", "components.train", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_sigterm_then_sigkill_then_done(tones: Path, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    process = start(tones, straight, "--epochs", "8")
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert "Traceback" not in output

    process = start(tones, broken, "--epochs", "8")
    wait_for(broken / "checkpoint", process)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 75, output
    assert "the same command goes on" in output

    process = start(tones, broken, "--epochs", "8")
    before = (broken / "checkpoint").read_text()
    while (broken / "checkpoint").read_text() == before:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    time.sleep(float(np.random.default_rng(os.getpid()).uniform(0, 0.3)))
    process.kill()
    process.communicate()

    process = start(tones, broken, "--epochs", "8")
    output = process.communicate()[0]
    assert process.returncode == 0, output
    one, two = (snapshots.load(snapshots.find(folder, "last")[0]) for folder in (straight, broken))
    assert one.global_step == two.global_step == 48
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, two.weights[name], err_msg=name)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epoch", "3"], "error: unknown flag --epoch: did you mean --epochs?\n"),
        (
            ["--noearly_stop=true"],
            "error: --noearly_stop takes no value, found 'true': write --noearly_stop, or",
        ),
        (["--lr", "1"], "error: unknown flag --lr: `python -m components.train --help` lists the flags\n"),
        (["--lm_trie_path=trie"], "error: --lm_trie_path is not taken over: a scorer is one file, for --scorer;"),
        (["--learning_rate", "-1"], "error: --learning_rate -1.0 is not allowed: above 0, or 0 for"),
        (["--train_files", "none.csv", "--checkpoint_dir", "x"], "error: --train_files none.csv: no such file"),
        ([], "error: nothing to do: give --train_files"),
    ],
)
def test_user_errors_are_one_line(flags: list[str], message: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "components.train", *flags]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
