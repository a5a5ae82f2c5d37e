"""SIGTERM ends a wait early, is kept for later looks, and is listened for no longer than asked."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.train.interruption import Interruption

ROOT = Path(__file__).resolve().parents[3]
AT_EVERY_LINE = """
import signal, sys
from components.train.interruption import Interruption

def terminate(*_):
    signal.raise_signal(signal.SIGTERM)
    return terminate

with Interruption().armed() as interruption:
    sys.settrace(terminate)
    requested = interruption.wait(60)
    sys.settrace(None)
sys.exit(not requested)
"""


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def terminated_after(seconds: float) -> Iterator[None]:
    """SIGTERM comes during the block."""
    timer = threading.Timer(seconds, terminate)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_sigterm_ends_a_wait_and_is_kept() -> None:
    started = time.monotonic()
    with Interruption().armed() as interruption:
        with terminated_after(0.2):
            assert interruption.wait(60)
        assert interruption.requested
        assert interruption.wait(60)
    assert 0.2 <= time.monotonic() - started < 30


def test_without_sigterm_a_wait_takes_its_time() -> None:
    started = time.monotonic()
    with Interruption().armed() as interruption:
        assert not interruption.wait(0.25)
    assert time.monotonic() - started >= 0.25
    assert not interruption.requested


def test_a_signal_may_come_at_every_line_of_a_wait() -> None:
    """In a process of its own, because a handler that waits for a lock of the wait never ends."""
    subprocess.run([sys.executable, "-c", AT_EVERY_LINE], cwd=ROOT, check=True, timeout=60)


def test_the_handler_before_comes_back() -> None:
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("before"))
    try:
        with Interruption().armed() as first:
            terminate()
        assert first.requested
        assert not seen
        terminate()
        assert seen == ["before"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not Interruption().requested  # one run's wish is not the next one's


def test_another_thread_than_the_main_one_does_not_listen() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with Interruption().armed() as interruption:
            found.extend([signal.getsignal(signal.SIGTERM), interruption.wait(0)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before, False]
