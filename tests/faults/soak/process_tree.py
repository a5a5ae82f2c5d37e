"""What a command and all of its processes hold, once a second: memory, descriptors, threads and temporary files."""

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EVERY_S = 1.0
MB = 1e6


@dataclass(frozen=True)
class Sample:
    """What the processes of a command hold at a moment; memory that several share counts once."""

    seconds: float
    memory_mb: float  # of their own: neither files nor programs that are mapped
    resident_mb: float  # with the mapped ones
    descriptors: int
    threads: int
    processes: int
    temporary: int  # files in the scratch folder, and hidden or unfinished ones in the result
    written_mb: float  # of the result


@dataclass(frozen=True)
class Watched:
    """A command that has ended."""

    code: int
    errors: str
    samples: tuple[Sample, ...]
    survivors: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """How long it took, to the last sample."""
        return self.samples[-1].seconds if self.samples else 0.0


def watch(
    command: Sequence[str], result: Path, scratch: Path, log: Path, environment: Mapping[str, str] | None = None,
    every_s: float = EVERY_S,
) -> Watched:  # fmt: skip
    """Run a command, which writes to `result` and `scratch`, and look at it until it ends."""
    samples: list[Sample] = []
    started = time.monotonic()
    variables = {**os.environ, **(environment or {}), "TMPDIR": str(scratch), "SPEECHMILL_SCRATCH": str(scratch)}
    scratch.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=variables,
            start_new_session=True,
        )  # fmt: skip
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(every_s)
                break
            samples.append(take(session(process.pid), result, scratch, time.monotonic() - started))
    left = session(process.pid)
    return Watched(process.returncode, log.read_text("utf-8", errors="replace"), tuple(samples), tuple(left))


def session(leader: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] not in "ZX":
                    found.append(int(folder.name))
    return found


def take(processes: Sequence[int], result: Path, scratch: Path, seconds: float) -> Sample:
    """Look at the processes and at their files."""
    memory = resident = descriptors = threads = 0
    for pid in processes:
        with contextlib.suppress(OSError):  # it may end meanwhile
            folder = Path(f"/proc/{pid}")
            sizes = _sizes((folder / "smaps_rollup").read_text())
            held, running = len(os.listdir(folder / "fd")), len(os.listdir(folder / "task"))
            memory += sizes["Pss_Anon"] + sizes["Pss_Shmem"]
            resident += sizes["Pss"]
            descriptors, threads = descriptors + held, threads + running
    temporary, written = _files(result, scratch)
    return Sample(
        seconds, memory / MB, resident / MB, descriptors, threads, len(processes), temporary, written / MB
    )  # fmt: skip


def _sizes(text: str) -> dict[str, int]:
    """The lines of smaps_rollup, in bytes."""
    lines = (line.split() for line in text.splitlines()[1:])
    return {fields[0].rstrip(":"): int(fields[1]) * 1024 for fields in lines}


def _files(result: Path, scratch: Path) -> tuple[int, int]:
    """How many files are temporary, and the bytes of the result."""
    temporary = written = 0
    for path in result.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                written += path.stat().st_size
                temporary += unfinished(path.relative_to(result))
    return temporary + sum(len(names) for _, _, names in os.walk(scratch)), written


def unfinished(path: Path) -> bool:
    """Whether a file of a result is there for the time of the work alone."""
    return any(part.startswith(".") or part.endswith(".tmp") for part in path.parts)


@dataclass(frozen=True)
class Course:
    """How one figure went on while the work was under way."""

    first: float  # median of the first tenth
    last: float  # median of the last tenth
    most: float
    slope_a_minute: float
    minutes: float

    @property
    def growth(self) -> float:
        """By how much the line through all samples rises."""
        return self.slope_a_minute * self.minutes


def at_work(samples: Sequence[Sample]) -> list[Sample]:
    """The samples without the start, when little is written yet, and without the end of the command."""
    most = max((sample.written_mb for sample in samples), default=0.0)
    begun = [sample for sample in samples if sample.written_mb >= 0.05 * most]
    return begun[: max(1, int(len(begun) * 0.97))]


def course(samples: Sequence[Sample], name: str) -> Course:
    """How a field of the samples went on."""
    minutes = np.array([sample.seconds for sample in samples]) / 60
    values = np.array([getattr(sample, name) for sample in samples], np.float64)
    tenth = max(1, len(values) // 10)
    slope = float(np.polyfit(minutes - minutes[0], values, 1)[0]) if len(values) > 2 else 0.0
    first, last = float(np.median(values[:tenth])), float(np.median(values[-tenth:]))
    return Course(first, last, float(values.max()), slope, float(minutes[-1] - minutes[0]))
