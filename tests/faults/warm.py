"""Steps in forks of a process that has imported what they need: `python -m tests.faults.warm MODULE ...`.

Starting TensorFlow takes seconds of a processor, and a fork of a process that has it does not. One request a line on
stdin, as JSON; the answers, on stdout, are the process id of the fork and, when it has ended, how.
"""

import contextlib
import json
import os
import resource
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIBRARIES = ("boto3", "soundfile", "soxr", "simple_parsing")
LIGHT = ("components.import_cv.step", "components.publish.step", "google.protobuf.message", *LIBRARIES)
MORE_TIMES, AT_WORK_S = 10, 0.3
HEAVY = ("components.train.step", "components.export.step", "components.evaluate.step", *LIBRARIES)


@dataclass(frozen=True)
class Ended:
    """How a step ended: its exit code (negative: the signal), what it wrote to stderr, and how long it took."""

    code: int
    errors: str
    seconds: float


class Running:
    """A step at work."""

    def __init__(self, server: "Steps", pid: int) -> None:
        self.server, self.pid, self._started = server, pid, time.monotonic()

    def kill(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the step's first process, or to all of them, as the end of a container does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number) if group else os.kill(self.pid, number)

    def wait(self, timeout_s: float = 600.0) -> Ended:
        """Until it has ended; a step that takes longer is killed, and its code is that of SIGKILL.

        What computes has not hung, however little of a busy machine it gets: it has so much time again, a few times.
        """
        used_s, code = 0.0, self.server.answer(timeout_s)
        for _ in range(MORE_TIMES):
            now_s = cpu_seconds(self.pid)
            if code is not None or now_s - used_s < AT_WORK_S:
                break
            used_s, code = now_s, self.server.answer(timeout_s)
        if code is None:
            self.kill(signal.SIGKILL, group=True)
            code = self.server.answer(60)
        seconds = time.monotonic() - self._started
        errors = self.server.errors.read_text(encoding="utf-8", errors="replace")
        return Ended(-signal.SIGKILL if code is None else code, errors, seconds)

    def survivors(self, patience_s: float = 10.0) -> list[int]:
        """The processes of an ended step that are still there after a while."""
        until = time.monotonic() + patience_s
        while (left := _processes(self.pid)) and time.monotonic() < until:
            time.sleep(0.05)
        return left


def cpu_seconds(group: int) -> float:
    """What the living processes of a group have computed."""
    ticks = 0
    for pid in _processes(group):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _processes(group: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group and fields[0] not in "ZX":
                    found.append(int(folder.name))
    return found


class Steps:
    """Warm processes that run one step at a time: one with TensorFlow, and one without, whose forks cost less."""

    def __init__(self, scratch: Path, preload: Path | None = None) -> None:
        """`preload` is a library that goes in front of all others, such as the clock's."""
        scratch.mkdir(parents=True, exist_ok=True)
        self.errors = scratch / "stderr.txt"
        self._log = (scratch / "warm.log").open("wb")
        self._preload = preload
        self._servers: dict[bool, subprocess.Popen[bytes]] = {}
        self._active: subprocess.Popen[bytes] | None = None

    def _server(self, light: bool) -> "subprocess.Popen[bytes]":
        if light not in self._servers:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
            if self._preload is not None:
                environment["LD_PRELOAD"] = str(self._preload)
            self._servers[light] = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.faults.warm", *(LIGHT if light else HEAVY)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=ROOT, env=environment,
                bufsize=0,
            )  # fmt: skip
        return self._servers[light]

    def start(
        self,
        module: str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        file_bytes: int = 0,
    ) -> Running:
        """Run `python -m module arguments`; no file of it grows beyond `file_bytes`, if they are given."""
        request = {
            "module": module,
            "arguments": [str(argument) for argument in arguments],
            "environment": dict(environment or {}),
            "file_bytes": file_bytes,
            "stderr": str(self.errors),
        }
        self._active = self._server(f"{module}.step" in LIGHT)
        assert self._active.stdin is not None
        self._active.stdin.write(json.dumps(request).encode() + b"\n")
        pid = self.answer(300)
        assert pid is not None, "the warm process does not answer"
        return Running(self, pid)

    def run(self, module: str, *arguments: object, **more: Any) -> Ended:
        """The same, to its end."""
        return self.start(module, *arguments, **more).wait()

    def answer(self, timeout_s: float) -> int | None:
        """The next number that the process says; None if it does not come in time."""
        assert self._active is not None
        assert self._active.stdout is not None
        if not select.select([self._active.stdout], [], [], timeout_s)[0]:
            return None
        line = self._active.stdout.readline()
        assert line, f"the warm process ended: {self._active.wait()}"
        return int(line)

    def close(self) -> None:
        """End the processes."""
        for server in self._servers.values():
            assert server.stdin is not None
            server.stdin.close()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
        self._log.close()

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _become_step(request: Mapping[str, Any]) -> None:
    os.setpgid(0, 0)
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, os.devnull, os.O_WRONLY),
        (2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        descriptor = os.open(path, flags, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the whole life of the process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.update(request["environment"])
    if request["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
    sys.argv = [request["module"], *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _serve(preload: Sequence[str]) -> None:
    import importlib

    for name in preload:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            answers.close()
            return _become_step(json.loads(line))
        with contextlib.suppress(OSError):  # whoever is first: nobody may signal the group before it is there
            os.setpgid(child, child)
        answers.write(f"{child}\n")
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _serve(sys.argv[1:])
