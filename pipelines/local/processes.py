"""Run a step's process: its messages and progress bar go to the screen as they come, its log to a file.

What a step writes to stderr is for the person at the terminal; what it writes to stdout (kfp's executor logs every
input there) is for the log. On a terminal the step gets a pseudo-terminal, so that progress bars draw themselves.
"""

import codecs
import contextlib
import fcntl
import math
import os
import pty
import select
import signal
import subprocess
import termios
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.local.screen import Screen

TICK_S = 1.0
GRACE_S = 20.0  # from asking an interrupted step to end, to ending it


def run_process(command: Sequence[str], environment: Mapping[str, str], log: Path, screen: Screen) -> int:
    """Run `command` to its end and return its exit code; an exception on the way ends the process group first."""
    with _channel(screen) as (reading, writing), log.open("wb") as log_file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=writing,
            env=dict(environment),
            start_new_session=True,  # its own process group, so that the shell's children can be ended with it
        )
        os.close(writing)
        try:
            forward(reading, screen)
            return process.wait()
        finally:
            if process.poll() is None:
                _end(process, reading, screen)


@contextlib.contextmanager
def _channel(screen: Screen) -> Iterator[tuple[int, int]]:
    """The (reading, writing) ends that the step's stderr goes through; `writing` is the caller's to close."""
    if screen.is_terminal:
        reading, writing = pty.openpty()
        tty.setraw(writing)  # line ends as the step writes them
        with contextlib.suppress(OSError, ValueError):
            size = fcntl.ioctl(screen.stream.fileno(), termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(writing, termios.TIOCSWINSZ, size)
    else:
        reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)


def forward(reading: int, screen: Screen, limit_s: float = math.inf) -> bool:
    """Copy what comes through a pipe or pseudo-terminal to the screen until nobody holds the other end.

    False if that took longer than `limit_s`.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        if not select.select([reading], [], [], TICK_S)[0]:
            screen.tick()
            continue
        try:
            data = os.read(reading, 1 << 16)
        except OSError:  # Linux's way of saying that a pseudo-terminal was closed
            return True
        if not data:
            return True
        screen.output(decoder.decode(data))
    return False


def _end(process: subprocess.Popen[bytes], reading: int, screen: Screen) -> None:
    """Ask the process group to end, show its last words, and end it if it takes too long."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        if not forward(reading, screen, GRACE_S):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
