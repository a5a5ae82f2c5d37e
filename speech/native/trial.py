"""Strangers' files in foreign libraries: first in a child process with limits, whose crash is an error line.

The libraries that run models (TensorFlow Lite, OpenVINO) are C++ that trusts its files: a damaged one ends the process.
"""

import contextlib
import ctypes
import faulthandler
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from speech.errors import InputError

TIME_S = 120
MEMORY_BYTES = 4 << 30  # of address space, besides what the process has and a multiple of the file
MEMORY_A_BYTE = 16
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def attempt(work: Callable[[], object], path: Path, library: str) -> None:
    """Do `work` with the model file `path` in a fork of this process, and come back if it ended well.

    Raises InputError if it raised one, crashed, or took more time or memory than any model of the kind. The fork has
    this process's memory and none of its threads, so `work` is for libraries that need none which this process has
    started. It has no network where the system lets it do without.
    """
    if not hasattr(os, "fork"):
        return
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(work, writing, memory_for(path))
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as answers:
        message, in_time = _answer(answers.fileno(), time.monotonic() + TIME_S)
        if not in_time:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    _judge(os.waitstatus_to_exitcode(status) if in_time else None, message, path, library)


def attempt_apart(module: str, path: Path, library: str) -> None:
    """The same in a process of its own, for libraries with threads: `python -m MODULE PATH`, which calls `limit`.

    It says on stderr what is wrong, and ends with the code 1.
    """
    places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]  # this code, not another
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}
    try:
        found = subprocess.run(
            [sys.executable, "-m", module, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=TIME_S,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        _judge(None, "", path, library)
    else:
        lines = found.stderr.decode("utf-8", "replace").strip().splitlines()
        _judge(found.returncode, lines[-1] if lines and found.returncode == 1 else "", path, library)


def _judge(code: int | None, message: str, path: Path, library: str) -> None:
    """What the end of a child says; `code` is None if it did not come."""
    if code is None:
        raise InputError(f"{path}: damaged: {library} does not come to an end with it within {TIME_S} s")
    if code < 0:
        name = signal.Signals(-code).name
        raise InputError(f"{path}: damaged: {library} crashes with it ({name}): make or fetch the file again")
    if code:
        raise InputError(message or f"{path}: damaged: {library} ends with it: make or fetch the file again")


def memory_for(path: Path) -> int:
    """Bytes of address space that reading a model file may take."""
    return MEMORY_BYTES + MEMORY_A_BYTE * path.stat().st_size


def _answer(pipe: int, until: float) -> tuple[str, bool]:
    """What the child says until it ends, and whether it ended in time."""
    said = b""
    while (left := until - time.monotonic()) > 0:
        if not select.select([pipe], [], [], left)[0]:
            break
        if not (more := os.read(pipe, 1 << 16)):
            return said.decode("utf-8", "replace"), True
        said += more
    return "", False


def _run(work: Callable[[], object], writing: int, memory_bytes: int) -> None:
    """In the child: never returns, and runs nothing of the parent's on its way out."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        faulthandler.disable()
        limit(memory_bytes)
        work()
        code = 0
    except InputError as error:
        os.write(writing, str(error).encode("utf-8", "replace")[:4000])
    except BaseException:  # of a foreign library, whatever it is: the parent says that the file is to blame
        code = 2
    finally:
        os._exit(code)


def limit(memory_bytes: int) -> None:
    """Let this process do little besides computing, for good: memory, time, no files, no network where possible."""
    limits = [(resource.RLIMIT_CPU, TIME_S), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)]
    with contextlib.suppress(OSError):  # Linux alone says it so
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits.append((resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes))
    for kind, most in limits:
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or most <= hard:
            resource.setrlimit(kind, (most, hard))
    with contextlib.suppress(OSError, AttributeError):  # needs a kernel that gives namespaces to everybody
        ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
