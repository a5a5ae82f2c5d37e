"""A full disk and a clock that moves, under single steps."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.faults.ledger import IDENTICAL, LOST, REFUSED, Ledger, is_clear
from tests.faults.work import Workshop, difference_of

CLOCK = Path(__file__).with_name("moved_clock.cpp")
AHEAD = "SPEECHMILL_TEST_SECONDS_AHEAD"
JUMPS_S = (-20 * 365 * 86400, -86400, -3600, 61, 3600, 86400, 365 * 86400, 10 * 365 * 86400)
ROOM = "512m"


def clock_library(folder: Path) -> Path | None:
    """The library with the moved clock, compiled; None where there is no compiler."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        return None
    library = folder / "moved_clock.so"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", str(CLOCK), "-o", str(library), "-ldl"], check=True)
    return library


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A file system of `size` bytes at `folder`; yields whether this process may make one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = os.getuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_disk(workshop: Workshop, name: str, count: int, numbers: np.random.Generator, ledger: Ledger) -> None:
    """Let one step run out of disk; then make room, and have it done again.

    Where no small file system can be made, a limit of the size of files stands in for it.
    """
    one = workshop.works()[name]
    needed = sum(path.stat().st_size for path in workshop.of(name).rglob("*") if path.is_file())
    for number in range(count):
        folder = workshop.folder / f"full-{name}-{number}"
        size = max(4096, int(needed * numbers.uniform(0.02, 1.3)))
        with small_disk(folder, size) as mounted:
            limit = {} if mounted else {"file_bytes": max(1, int(size * numbers.uniform(0.01, 0.5)))}
            scratch = folder / "scratch"
            scratch.mkdir()
            variables = {"TMPDIR": str(scratch), "SPEECHMILL_SCRATCH": str(scratch)} if mounted else {}
            ended = one.start(workshop.steps, folder / "out", environment=variables, **limit).wait()
            refused = ended.code != 0
            problem = ""
            if refused and not is_clear(ended.code, ended.errors):
                problem = f"exit code {ended.code}: {ended.errors[-1500:]}"
            elif refused and mounted and ended.code != 75:
                problem = f"a full disk, and exit code {ended.code}: {ended.errors[-500:]}"
            if mounted:
                subprocess.run(["mount", "-o", f"remount,size={ROOM}", str(folder)], check=True)
            again = one.run(workshop.steps, folder / "out")
            if again.code:
                problem += f" the rerun: {again.code}: {again.errors[-800:]}"
            elif difference := difference_of(one, folder / "out", workshop.references[name]):
                problem += f" another result: {difference}"
        outcome = LOST if problem else REFUSED if refused else IDENTICAL
        kind = "disk of a few kB" if mounted else "limit of a file's size"
        ledger.add(f"full disk: {name}, {kind}", outcome, f"{size} bytes of {needed}: {problem}")


def move_clock(workshop: Workshop, name: str, count: int, numbers: np.random.Generator, ledger: Ledger) -> None:
    """Interrupt a step, move the clock and the files' times, and go on; `workshop.steps` has the moved clock."""
    one = workshop.works()[name]
    for number in range(count):
        out = workshop.folder / f"clock-{name}-{number}"
        first, second = (int(numbers.choice(JUMPS_S)) for _ in range(2))
        running = one.start(workshop.steps, out, environment={AHEAD: str(first)})
        time.sleep(float(numbers.uniform(0, workshop.seconds[name])))
        running.kill(signal.SIGKILL, group=True)
        running.wait()
        moved_s = time.time() + float(numbers.choice(JUMPS_S))
        for path in out.rglob("*"):
            if path.is_file() and numbers.random() < 0.7:
                os.utime(path, (moved_s, moved_s))
        ended = one.start(workshop.steps, out, environment={AHEAD: str(second)}).wait()
        problem = difference_of(one, out, workshop.references[name]) if ended.code == 0 else ended.errors[-1500:]
        ledger.add(f"clock moved: {name}", LOST if problem else IDENTICAL, f"{first} s, then {second} s: {problem}")
