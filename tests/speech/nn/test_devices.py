"""Devices: what is asked for and what is there; several of them give the numbers of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from speech.errors import InputError, RetryError
from speech.nn import devices
from speech.nn.devices import Compute, Devices, compute_on, configure, processor_has_bfloat16
from tests.fixtures.ports import free_ports

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("several_devices.py")


def start(kind: str, parts: int = 1, tf_config: dict | None = None) -> subprocess.Popen:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    variables.pop("TF_CONFIG", None)
    if tf_config:
        variables["TF_CONFIG"] = json.dumps(tf_config)
    command = [sys.executable, str(PROGRAM), kind, str(parts)]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen) -> dict:
    try:
        stdout, stderr = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, stderr[-3000:]
    return json.loads(stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def alone() -> dict:
    """What one device comes to."""
    return answer(start("cpu"))


def assert_same_run(found: dict, alone: dict) -> None:
    assert found["mean_losses"] == pytest.approx(alone["mean_losses"], rel=1e-5)
    assert found["clips"] == [5] * 6
    assert found["global_step"] == alone["global_step"] == 6
    for name, values in alone["weights"].items():
        # The first bias takes up what scaled inputs move of 494 weights, and the rounding of all of them.
        atol = 1e-4 if name == "layer_1/bias" else 2e-5
        np.testing.assert_allclose(found["weights"][name], values, atol=atol, err_msg=name)


@pytest.mark.parametrize(("asked", "quota", "expected"), [(0, 3, [3]), (0, 8, []), (5, 3, [5])])
def test_threads_are_as_many_as_a_quota_allows(
    monkeypatch: pytest.MonkeyPatch, asked: int, quota: int, expected: list[int]
) -> None:
    found: list[int] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(devices, "cores", lambda: quota)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", found.append)
    configure("cpu", asked, 0, False)
    assert found == expected


def test_two_devices_that_compute_in_parts_give_the_losses_of_one(alone: dict) -> None:
    found = answer(start("cpu:2", parts=2))
    assert (alone["devices"], found["devices"]) == (1, 2)
    assert_same_run(found, alone)


def test_two_workers_give_the_losses_of_one(alone: dict) -> None:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    processes = [start("cpu", 1, {"cluster": cluster, "task": {"type": "worker", "index": k}}) for k in range(2)]
    try:
        found = [answer(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [one["chief"] for one in found] == [True, False]
    for one in found:
        assert one["devices"] == 2
        assert_same_run(one, alone)
        assert one["sum"] == [2.0, 1.0]
        assert one["stops"] == [False, False, False, True, False, False]  # the other worker's wish reaches both
        assert one["restored"] == 4.0  # the chief's checkpoint reaches both


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.UnavailableError(None, None, "Socket closed\nAdditional GRPC error information"),
        tf.errors.InternalError(
            None, None, "Graph execution error:\n\nat node x\nCollective ops is aborted by: Socket closed"
        ),
        tf.errors.DeadlineExceededError(
            None, None, "Graph execution error:\n\nCollective ops is aborted by: Socket closed"
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_worker_is_one_line_to_retry(error: tf.errors.OpError) -> None:
    two = Devices(tf.distribute.get_strategy(), worker=1, n_workers=2)
    with pytest.raises(RetryError, match=r"^another worker is gone \(Socket closed\): start all workers again"):
        with devices.lost_workers(two):
            raise error
    with pytest.raises(type(error)), devices.lost_workers(devices.single()):
        raise error


@pytest.mark.parametrize(("index", "chief"), [("0", True), ("1", False)])
def test_kubernetes_counts_the_workers(monkeypatch: pytest.MonkeyPatch, index: str, chief: bool) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv(devices.WORKERS_VARIABLE, "job-node-0-0.job:2222,job-node-0-1.job:2222")
    monkeypatch.setenv(devices.INDEX_VARIABLE, index)
    assert devices.is_chief() is chief
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 1}}))
    assert not devices.is_chief()  # what is said in TensorFlow's own way counts


@pytest.mark.parametrize("index", ["", "2", "-1", "first"])
def test_a_worker_that_is_none_of_them_is_refused(monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv(devices.WORKERS_VARIABLE, "a:1,b:1")
    monkeypatch.setenv(devices.INDEX_VARIABLE, index)
    with pytest.raises(InputError, match=f"JOB_COMPLETION_INDEX is '{index}': expected 0 to 1"):
        configure("cpu", 0, 0, False)


@pytest.mark.parametrize("asked", ["gpu", "gpu:2"])
def test_a_gpu_that_is_not_there_is_an_error_to_retry(asked: str) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(RetryError, match=f"--devices {asked}: this machine has 0 GPUs") as raised:
        configure(asked, 0, 0, False)
    assert "the build for CPUs: make setup GPU=1" in str(raised.value)


def test_a_gpu_that_tensorflow_does_not_see_is_said_where_none_was_asked_for(monkeypatch, capsys) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    configure("auto", 0, 0, False)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(devices, "gpu_names", lambda: ["NVIDIA H200, driver 570.86, 143771 MiB"])
    configure("auto", 0, 0, False)
    told = capsys.readouterr().err
    assert told.startswith("warning: training on the CPU, although there is NVIDIA H200")
    assert "make setup GPU=1" in told
    configure("cpu", 0, 0, False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("wrong", ["gpus", "cpu:0", "auto:2", "gpu:", ""])
def test_nonsense_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):
        devices.parse_devices(wrong)


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("flags\t\t: fpu avx512_bf16 fsrm", True),
        ("flags\t\t: fpu amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx2", False),
    ],
)
def test_bfloat16_instructions_are_found(tmp_path: Path, line: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n", encoding="utf-8")
    assert processor_has_bfloat16(tmp_path / "cpuinfo") is has
    assert not processor_has_bfloat16(tmp_path / "none")


@pytest.mark.parametrize("has", [True, False])
def test_the_processor_decides_about_bfloat16(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(devices, "processor_has_bfloat16", lambda: has)
    cpu = devices.single()
    assert compute_on(cpu, mixed_precision=False)[0] == Compute(tf.float32)
    compute, why = compute_on(cpu, mixed_precision=True)
    assert compute == Compute(tf.bfloat16 if has else tf.float32)
    assert ("bfloat16 products" in why) is has


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [([(9, 0), (8, 0)], tf.bfloat16), ([(8, 0), (7, 5)], tf.float16), ([(6, 1)], tf.float32)],
)
def test_the_weakest_gpu_decides(monkeypatch: pytest.MonkeyPatch, capabilities: list, dtype: tf.DType) -> None:
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: capabilities)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
    gpus = Devices(tf.distribute.get_strategy(), on_gpu=True)
    assert compute_on(gpus, mixed_precision=True)[0] == Compute(dtype, cudnn=True)
    assert compute_on(gpus, mixed_precision=False)[0] == Compute(tf.float32, cudnn=True)
