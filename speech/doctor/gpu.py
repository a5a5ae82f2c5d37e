"""TensorFlow and GPUs: asked in a process of its own, for it is heavy, and ends where a processor is too old."""

import ctypes
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from speech.doctor.checks import NOTE, OK, PROBLEM, Check

ROOT = Path(__file__).parents[2]
PROBE = "speech.nn"
PROBE_S = 300  # a first import from a slow disk takes a minute
DRIVER = "libcuda.so.1"
# What the GPU build of TensorFlow loads, and the wheel of requirements/train-gpu.lock that has it.
LIBRARIES = {
    "libcudart.so.12": "nvidia-cuda-runtime-cu12",
    "libcublas.so.12": "nvidia-cublas-cu12",
    "libcublasLt.so.12": "nvidia-cublas-cu12",
    "libcufft.so.11": "nvidia-cufft-cu12",
    "libcusolver.so.11": "nvidia-cusolver-cu12",
    "libcusparse.so.12": "nvidia-cusparse-cu12",
    "libcudnn.so.9": "nvidia-cudnn-cu12",
    "libnccl.so.2": "nvidia-nccl-cu12",
}
GPU_BUILD = (
    "make setup GPU=1 in a checkout, pip install 'speechmill[train-gpu]' elsewhere, the image train-gpu in a pod"
)


def checks() -> Iterator[Check]:
    """TensorFlow, its GPUs and the LSTM's path."""
    cards = gpu_names()
    if importlib.util.find_spec("tensorflow") is None:
        advice = "the steps train, freeze, convert_tflite and evaluate need it: pip install 'speechmill[train]'"
        yield Check("TensorFlow", NOTE, "not installed", advice)
        yield _cards(cards)
        return
    if importlib.util.find_spec(PROBE) is None:
        yield Check("TensorFlow", NOTE, "installed, and nothing here uses it")
        yield _cards(cards)
        return
    report = probe()
    if "error" in report:
        yield Check("TensorFlow", PROBLEM, report["error"], report.get("advice", "install it anew: make setup"))
        yield _cards(cards)
        return
    build = f"built for CUDA {report['cuda']}, cuDNN {report['cudnn']}" if report["cuda"] else "built for CPUs"
    yield Check("TensorFlow", OK, f"{report['version']}, {build}")
    if report["lstm"]:
        yield Check("LSTM on the CPU", OK, "; ".join(f"{kind}: {path}" for kind, path in report["lstm"].items()))
    yield of_gpus(cards, report)


def probe() -> dict[str, Any]:
    """What `python -m speech.nn` says: version, cuda, cudnn, gpus, lstm; `error` if it does not come to that."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}  # TensorFlow names the libraries that it misses
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment["PYTHONSAFEPATH"] = "1"  # a folder of that name in the current one is not ours
    command = [sys.executable, "-m", PROBE]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=PROBE_S
        )
    except subprocess.TimeoutExpired:
        return {
            "error": f"its import did not end within {PROBE_S} s",
            "advice": "is the disk slow or the machine busy?",
        }
    if done.returncode == -signal.SIGILL:
        return {"error": "it ends with `Illegal instruction`", "advice": "its packages need a processor with AVX"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"error": f"cannot be imported: {last[:300]}"}
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return report | {"unloaded": sorted(set(re.findall(r"library '?(lib[\w.-]+\.so[.\d]*)", done.stderr)))}


def gpu_names() -> list[str]:
    """`NAME, driver VERSION, MEMORY` of each GPU that the driver shows; empty without driver or GPU."""
    if (program := shutil.which("nvidia-smi")) is None:
        version = Path("/proc/driver/nvidia/version")
        return [f"an NVIDIA driver: {version.read_text().splitlines()[0]}"] if version.is_file() else []
    command = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    rows = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [f"{row[0]}, driver {row[1]}, {row[2]}" for row in rows if len(row) == 3]


def _cards(cards: list[str]) -> Check:
    return Check("GPU", OK, "; ".join(cards)) if cards else _no_gpu()


def _no_gpu() -> Check:
    advice = "if the machine has one, install NVIDIA's driver; a container gets it by --gpus all, a pod by train_gpus"
    return Check("GPU", NOTE, "no NVIDIA GPU shows, training takes the CPU", advice)


def of_gpus(cards: list[str], report: dict[str, Any]) -> Check:
    """Whether TensorFlow sees the GPUs that the driver shows, and if not, what is missing by name."""
    if report["gpus"]:
        return Check(
            "GPU", OK, "; ".join([*cards, f"TensorFlow sees {len(report['gpus'])}: " + ", ".join(report["gpus"])])
        )
    if not cards:
        return _no_gpu()
    found, advice = why_unseen(report["cuda"], report.get("unloaded", ()))
    return Check("GPU", PROBLEM, f"{'; '.join(cards)}; {found}", advice)


def why_unseen(cuda: str, unloaded: Iterable[str] = ()) -> tuple[str, str]:
    """Why a TensorFlow built for `cuda` (empty: for CPUs) sees no GPU of a machine that has one, and what to do.

    `unloaded` are libraries that TensorFlow itself said it could not load.
    """
    if not cuda:
        return "this TensorFlow is the build for CPUs", GPU_BUILD
    missing = sorted({*missing_libraries(), *unloaded})
    if DRIVER in missing:
        advice = "install NVIDIA's driver; a container gets it from its engine: docker run --gpus all"
        return f"the driver's library {DRIVER} is missing", advice
    if missing:
        wheels = sorted({LIBRARIES[name] for name in missing if name in LIBRARIES})
        named = f" (in {', '.join(wheels)})" if wheels else ""
        return f"TensorFlow finds no {', '.join(missing)}{named}", GPU_BUILD
    advice = "is CUDA_VISIBLE_DEVICES empty, or the driver older than the CUDA that TensorFlow was built for?"
    return "all libraries are there, and TensorFlow sees none of them", advice


def missing_libraries(packages: list[Path] | None = None) -> list[str]:
    """Of the driver's and CUDA's libraries those that neither the wheels in `packages` nor the system has."""
    folders = packages if packages is not None else [Path(folder) for folder in sys.path if folder]
    there = {path.name for folder in folders for path in folder.glob("nvidia/*/lib/lib*.so*")}
    return [name for name in (DRIVER, *LIBRARIES) if name not in there and not _loads(name)]


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
