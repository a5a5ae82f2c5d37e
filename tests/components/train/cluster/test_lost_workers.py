"""Two worker processes, of which one is killed: the other says so and ends, and both together go on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from speech.artifacts import Checkpoint
from speech.nn import snapshots
from speech.nn.devices import INDEX_VARIABLE, WORKERS_VARIABLE
from speech.nn.snapshots import Snapshot
from tests.fixtures.ports import free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
FLAGS = ["--n_hidden=48", "--epochs=40", "--train_batch_size=4", "--dropout_rate=0.1", "--checkpoint_secs=1"]
BOUND_S = 60.0  # TensorFlow notices a closed connection at once, and a silent one after some 10 s


def start(tones: Path, folder: Path) -> list[subprocess.Popen]:
    """The two workers of one training."""
    addresses = ",".join(f"127.0.0.1:{port}" for port in free_ports(2))
    command = [sys.executable, "-m", "components.train", "--train_files", str(tones / "train.csv"), "--dev_files"]
    command += [str(tones / "dev.csv"), "--checkpoint_dir", str(folder), "--noshow_progressbar", *FLAGS]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", WORKERS_VARIABLE: addresses}
    variables.pop("TF_CONFIG", None)
    return [
        subprocess.Popen(
            command,
            env={**variables, INDEX_VARIABLE: str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def finish(workers: list[subprocess.Popen]) -> list[str]:
    """What the workers printed until they ended well."""
    printed = []
    try:
        for worker in workers:
            output, errors = worker.communicate(timeout=300)
            assert worker.returncode == 0, errors[-3000:]
            printed.append(output)
    finally:
        for worker in workers:
            worker.kill()
    return printed


def last(folder: Path) -> Snapshot:
    return snapshots.load(snapshots.find(folder, "last")[0])


@pytest.fixture(scope="module")
def undisturbed(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start(tones, folder))
    return folder


@pytest.mark.parametrize("victim", [0, 1], ids=["chief", "other"])
def test_a_killed_worker_ends_the_other_and_both_go_on(
    undisturbed: Path, tones: Path, tmp_path: Path, victim: int
) -> None:
    workers = start(tones, tmp_path)
    try:
        while not (tmp_path / Checkpoint.LAST).is_file():
            assert workers[0].poll() is None
            time.sleep(0.05)
        workers[victim].kill()
        _, errors = workers[1 - victim].communicate(timeout=BOUND_S)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert workers[1 - victim].returncode == 75
    assert "Traceback" not in errors
    said = [line for line in errors.splitlines() if line.startswith("interrupted: ")]
    assert len(said) == 1
    assert "another worker is gone" in said[0]
    assert "start all workers again, they go on together" in said[0]
    reached = last(tmp_path)
    assert not reached.training_state["finished"]

    for printed in finish(start(tones, tmp_path)):
        assert f"resuming at step {reached.global_step}" in printed
    one, two = last(undisturbed), last(tmp_path)
    assert one.global_step == two.global_step > reached.global_step > 0
    for name, value in {**one.weights, **one.moments}.items():
        np.testing.assert_array_equal(value, {**two.weights, **two.moments}[name], err_msg=name)
