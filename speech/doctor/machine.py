"""The machine: interpreter, processor, memory, disk, /dev/shm, programs and libraries around."""

import contextlib
import importlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from speech.doctor.checks import NOTE, OK, PROBLEM, Check
from speech.native.compiling import NoCompilerError, compiler
from speech.native.processors import cores

PYTHONS = ((3, 10), (3, 13))
CPU_INFO = Path("/proc/cpuinfo")
SHARED_MEMORY = Path("/dev/shm")
MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
OWN_NAMES = ("speech", "components", "pipelines")
# The kernels of speech/nn/recurrent and what they ask of the processor, each also what those before it ask.
LSTM_KERNELS = (
    ("AVX2", {"avx2", "fma"}),
    ("AVX-512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    ("AVX-512 BF16", {"avx512_bf16"}),
)
GPUS_SHM = 1_000_000_000  # bytes of /dev/shm for several GPUs; a pod or a container has 64 MB if nobody says more
BYTES_AN_HOUR = 16_000 * 2 * 3600 + 50 * 26 * 4 * 3600  # of audio: 16 kHz 16-bit clips, and their features' cache
BYTES_OF_MODELS = 5_000_000_000  # checkpoints with their moments, and the exported files, at width 2048
TRAINING_MEMORY = 8 << 30  # bytes: what a training's pod gets by default


def python() -> Check:
    """The interpreter."""
    found = f"{platform.python_version()}, {sys.executable}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Check("Python", OK, found)
    return Check(
        "Python", PROBLEM, found, "Python 3.10, 3.11, 3.12 or 3.13 is needed: PYTHON=/path/to/python make setup"
    )


def own_packages(root: Path) -> Check:
    """Whether somebody's folder named like one of our packages hides it; `root` holds ours."""
    for name in OWN_NAMES:
        spec = importlib.util.find_spec(name)
        places = [Path(place).parent for place in (spec.submodule_search_locations or ())] if spec else []
        if spec is None and name == "pipelines":
            continue  # in a step's image it is not there
        if root not in places:
            where = str(places[0] / name) if places else (spec.origin if spec else "nowhere")
            advice = f"rename it or work in another folder: Python finds it before Speechmill's in {root}"
            return Check("package names", PROBLEM, f"`import {name}` finds {where}", advice)
    found = ", ".join(name for name in OWN_NAMES if importlib.util.find_spec(name))
    return Check("package names", OK, f"{found} are those in {root}")


def cpu_flags(cpu_info: Path = CPU_INFO) -> set[str]:
    """The instruction sets that the kernel names; empty where it names none (not Linux, not x86)."""
    with contextlib.suppress(OSError):
        for line in cpu_info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "flags":
                return set(value.split())
    return set()


def lstm_kernel(flags: set[str]) -> str:
    """The LSTM's best kernel for these instruction sets; empty if there is none."""
    best = ""
    for name, wanted in LSTM_KERNELS:
        if not wanted <= flags:
            break
        best = name
    return best


def processor(flags: set[str]) -> Check:
    """What the processor offers TensorFlow and the LSTM."""
    machine, kernel, count = platform.machine(), lstm_kernel(flags), cores()
    found = f"{count} core{'s' * (count > 1)}, {machine}"
    if machine != "x86_64" or not flags:
        return Check(
            "processor", NOTE, found, "the LSTM trains by TensorFlow's operators: its C++ is for Linux on x86-64"
        )
    if "avx" not in flags:
        advice = (
            "TensorFlow's packages end with `Illegal instruction` here: take a processor, or a model of one that the "
        )
        return Check("processor", PROBLEM, f"{found} without AVX", f"{advice}virtual machine shows, that has it")
    if not kernel:
        missing = " ".join(sorted(LSTM_KERNELS[0][1] - flags))
        advice = "training works, 1.2 to 2.6 times slower: the LSTM is computed by TensorFlow's operators"
        return Check("processor", NOTE, f"{found} without {missing}", advice)
    return Check("processor", OK, f"{found}; the LSTM's best kernel for it: {kernel}")


def shared_memory(folder: Path = SHARED_MEMORY) -> Check:
    """/dev/shm, through which the GPUs of a machine exchange gradients (NCCL); all else works without it."""
    name = "/dev/shm"
    advice = (
        "fine for all but training on several GPUs, which need 1 GB of it: docker run --shm-size 1g; `shm` in "
        "deployment.toml"
    )
    if not folder.is_dir():
        return Check(name, NOTE, "is not there", advice)
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(name, NOTE, f"cannot be written: {error.strerror}", advice)
    free = shutil.disk_usage(folder).free
    return Check(name, *((NOTE, f"{_size(free)} free", advice) if free < GPUS_SHM else (OK, f"{_size(free)} free")))


def memory(hours: float) -> Check:
    """The memory that this process may use."""
    total = memory_bytes()
    if not total:
        return Check("memory", NOTE, "this system does not say how much there is")
    found = f"{_size(total)}"
    if total < TRAINING_MEMORY:
        advice = f"a training at width 2048 is given {_size(TRAINING_MEMORY)}: take a smaller --train_batch_size"
        return Check("memory", NOTE, found, advice)
    if hours and total < hours * BYTES_AN_HOUR:
        return Check("memory", OK, f"{found}; clips of {hours:g} h do not fit beside the training and are read anew")
    return Check("memory", OK, found)


def memory_bytes() -> int:
    """The machine's memory, or the container's limit if that is less; 0 if unknown."""
    total = 0
    with contextlib.suppress(ValueError, OSError, AttributeError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in MEMORY_LIMITS:
        with contextlib.suppress(ValueError, OSError):
            total = min(total, int(path.read_text()))
    return total


def disk(folder: Path, hours: float) -> Check:
    """The disk of the results, for a corpus of so many hours of audio."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    needed = int(hours * BYTES_AN_HOUR) + BYTES_OF_MODELS
    found = f"{_size(free)} free in {place}"
    if hours:
        found += f"; {hours:g} h take {_size(needed)} with checkpoints and models at width 2048"
    if hours and free < needed:
        return Check("disk", PROBLEM, found, "make room, or name a folder on another disk with --output")
    if free < BYTES_OF_MODELS:
        advice = f"checkpoints and models at width 2048 take {_size(BYTES_OF_MODELS)}, an hour of audio "
        return Check("disk", NOTE, found, f"{advice}{_size(BYTES_AN_HOUR)}: --hours says whether a corpus fits")
    return Check("disk", OK, found)


def scratch() -> Check:
    """Where temporary files go."""
    try:
        with tempfile.NamedTemporaryFile() as file:
            free = shutil.disk_usage(Path(file.name).parent).free
    except OSError as error:
        advice = (
            "name a folder that can be written: SPEECHMILL_SCRATCH=/path (on a cluster: `scratch` of the deployment)"
        )
        return Check("temporary files", PROBLEM, str(error), advice)
    return Check("temporary files", OK, f"{_size(free)} free in {tempfile.gettempdir()}")


def programs() -> Iterator[Check]:
    """What is needed for some formats, or for speed, alone."""
    try:
        yield Check("C++ compiler", OK, shutil.which(compiler()[0]) or compiler()[0])
    except NoCompilerError as error:
        advice = (
            "fine in a step's image, which has them built; elsewhere decoder and LSTM are slower: apt-get install g++"
        )
        yield Check("C++ compiler", NOTE, str(error), advice)
    if found := shutil.which("ffmpeg"):
        yield Check("ffmpeg", OK, found)
    else:
        yield Check("ffmpeg", NOTE, "not found", "for clips in M4A and WebM alone: apt-get install ffmpeg")
    yield _audio_formats()


def _audio_formats() -> Check:
    if importlib.util.find_spec("soundfile") is None:
        advice = "the steps import_cv, train and evaluate need it: pip install 'speechmill[import-cv]'"
        return Check("audio formats", NOTE, "soundfile is not installed", advice)
    try:
        soundfile = importlib.import_module("soundfile")  # by name: an image without it has no need of it
    except OSError as error:  # libsndfile, which its wheels carry, and a build from source does not
        return Check("audio formats", PROBLEM, f"soundfile: {error}", "apt-get install libsndfile1")
    codecs = soundfile.available_subtypes()
    missing = [name for name, codec in (("MP3", "MPEG_LAYER_III"), ("Opus", "OPUS")) if codec not in codecs]
    version = f"libsndfile {soundfile.__libsndfile_version__}"
    if missing:
        advice = "take the soundfile of a wheel (pip install --force-reinstall soundfile), or libsndfile 1.1 or newer"
        return Check("audio formats", PROBLEM, f"{version} without {' and '.join(missing)}", advice)
    return Check("audio formats", OK, f"{version} with MP3 and Opus; no libopus of the system is needed")


def _size(n_bytes: int) -> str:
    if n_bytes >= 1e6:
        return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
    return f"{n_bytes / 1e3:.0f} kB"
