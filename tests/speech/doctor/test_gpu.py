"""What the doctor says of TensorFlow and GPUs; the machines are made of a driver's and TensorFlow's answers."""

from pathlib import Path

import pytest

from speech.doctor import gpu
from speech.doctor.checks import NOTE, OK, PROBLEM, Check

CARD = "NVIDIA H200, driver 570.86, 143771 MiB"
CPU_BUILD = {"version": "2.21.0", "cuda": "", "cudnn": "", "gpus": [], "lstm": {}, "unloaded": []}
GPU_BUILD = CPU_BUILD | {"cuda": "12.5.1", "cudnn": "9"}


def looked(monkeypatch, cards: list[str], report: dict, missing: list[str]) -> Check:
    monkeypatch.setattr(gpu, "missing_libraries", lambda: missing)
    return gpu.of_gpus(cards, report)


def test_a_gpu_that_tensorflow_sees(monkeypatch) -> None:
    check = looked(monkeypatch, [CARD], GPU_BUILD | {"gpus": ["NVIDIA H200 (compute capability 9.0)"]}, [])
    assert check.state == OK
    assert check.found.startswith(f"{CARD}; TensorFlow sees 1: NVIDIA H200")


@pytest.mark.parametrize(
    ("report", "missing", "found", "advice"),
    [
        (CPU_BUILD, [], "this TensorFlow is the build for CPUs", "make setup GPU=1"),
        (GPU_BUILD, ["libcuda.so.1"], "the driver's library libcuda.so.1 is missing", "--gpus all"),
        (GPU_BUILD, ["libcudnn.so.9"], "finds no libcudnn.so.9 (in nvidia-cudnn-cu12)", "train-gpu"),
        (GPU_BUILD | {"unloaded": ["libcufft.so.11"]}, [], "finds no libcufft.so.11 (in nvidia-cufft-cu12)", "GPU=1"),
        (GPU_BUILD, [], "all libraries are there, and TensorFlow sees none", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_gpu_that_tensorflow_does_not_see(monkeypatch, report, missing, found, advice) -> None:
    check = looked(monkeypatch, [CARD], report, missing)
    assert check.state == PROBLEM
    assert found in check.found
    assert advice in check.advice


def test_without_a_gpu_nothing_is_missing(monkeypatch) -> None:
    assert looked(monkeypatch, [], CPU_BUILD, []).state == NOTE


def test_libraries_are_found_in_the_wheels_folders(tmp_path: Path) -> None:
    before = gpu.missing_libraries([tmp_path])
    for name in gpu.LIBRARIES:
        folder = tmp_path / "nvidia" / name.split(".")[0] / "lib"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"")
    after = gpu.missing_libraries([tmp_path])
    assert not set(after) & set(gpu.LIBRARIES)
    assert set(before) >= set(after)


def test_each_library_s_wheel_is_in_the_lock() -> None:
    lock = (gpu.ROOT / "requirements/train-gpu.lock").read_text(encoding="utf-8")
    assert [wheel for wheel in gpu.LIBRARIES.values() if f"\n{wheel}==" not in lock] == []


def test_the_driver_s_answer(tmp_path, monkeypatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{CARD.replace(', driver ', ', ')}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpu.gpu_names() == [CARD]


def program(folder: Path, text: str, monkeypatch) -> None:
    """A Python that answers the probe so."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setattr(gpu.sys, "executable", str(path))


def test_a_processor_that_tensorflow_s_package_is_too_new_for(tmp_path, monkeypatch) -> None:
    program(tmp_path, "kill -ILL $$", monkeypatch)
    assert "Illegal instruction" in gpu.probe()["error"]


def test_libraries_that_tensorflow_names_are_taken_from_its_log(tmp_path, monkeypatch) -> None:
    line = "W dso_loader.cc:64] Could not load dynamic library 'libcudnn.so.9'; dlerror: libcudnn.so.9: cannot open"
    program(tmp_path, f'echo "{line}" >&2; echo \'{{"gpus": []}}\'', monkeypatch)
    assert gpu.probe() == {"gpus": [], "unloaded": ["libcudnn.so.9"]}


def test_the_probe_of_this_environment() -> None:
    report = gpu.probe()
    assert report["version"].startswith("2.")
    assert set(report["lstm"]) == {"float32", "bfloat16"}
    assert all(path.startswith("LSTM ") for path in report["lstm"].values())
