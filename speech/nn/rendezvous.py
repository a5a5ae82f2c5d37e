"""How several workers find each other: each listens, and looks for the others, before TensorFlow is asked to connect.

TensorFlow waits without a word and without an end; this says for whom, and gives up.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from speech.errors import EXIT_RETRY, RetryError

SAY_S = 15.0
LOOK_S = 0.5  # between two looks at a worker that is not there yet
ANSWER_S = 3.0  # for one attempt to connect


def meet(addresses: Sequence[str], own: int, timeout_s: float) -> None:
    """Return once every other worker was reached at its HOST:PORT; this one can be reached meanwhile.

    Says every 15 s for whom it waits. Raises RetryError after `timeout_s` (0: never).
    """
    missing = {number: "" for number in range(len(addresses)) if number != own}
    began = last_note = time.monotonic()
    with _listening(int(addresses[own].rpartition(":")[2])):
        while True:
            for number in list(missing):
                missing[number] = problem = _look(addresses[number])
                if not problem:
                    del missing[number]
            if not missing:
                time.sleep(2 * LOOK_S)  # until the others have seen the last one to come, too
                return
            now = time.monotonic()
            whom = _named(addresses, missing)
            if timeout_s and now - began >= timeout_s:
                raise RetryError(
                    f"worker {own}: {now - began:.0f} s were not enough to reach {whom}; --worker_timeout says how "
                    "long to wait; start all workers again"
                )
            if now - last_note >= SAY_S:
                last_note = now
                print(f"worker {own}: waiting for {whom}, for {now - began:.0f} s", flush=True)
            time.sleep(LOOK_S)


@contextlib.contextmanager
def watched(addresses: Sequence[str], own: int, what: str, timeout_s: float) -> Iterator[None]:
    """While the block waits for other workers inside of TensorFlow, say every 15 s for what, and who cannot be reached.

    After `timeout_s` (0: never) the process ends with exit code 75, as nothing else ends TensorFlow's wait.
    """
    done = threading.Event()
    peers = [number for number in range(len(addresses)) if number != own]

    def watch() -> None:
        began = time.monotonic()
        while not done.wait(SAY_S):
            seconds = time.monotonic() - began
            missing = {number: problem for number in peers if (problem := _look(addresses[number]))}
            whom = _named(addresses, missing or dict.fromkeys(peers, "answers"))
            if done.is_set():
                return
            print(f"worker {own}: waiting for {what}, for {seconds:.0f} s: {whom}", flush=True)
            if timeout_s and seconds >= timeout_s:
                print(
                    f"interrupted: worker {own}: {seconds:.0f} s were not enough for {what}: {whom}; "
                    "--worker_timeout says how long to wait; start all workers again",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(EXIT_RETRY)

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    if peers:
        thread.start()
    try:
        yield
    finally:
        done.set()


def _named(addresses: Sequence[str], problems: dict[int, str]) -> str:
    shown = [f"worker {number} at {addresses[number]} ({problem})" for number, problem in list(problems.items())[:5]]
    more = [f"{len(problems) - 5} more"] if len(problems) > 5 else []
    return ", ".join([*shown, *more])


def _look(address: str) -> str:
    """Why nothing answers at HOST:PORT; empty if something does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S):
            return ""
    except socket.gaierror:
        return "there is no such name yet"
    except ConnectionRefusedError:
        return "nothing listens there"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return error.strerror or str(error)


@contextlib.contextmanager
def _listening(port: int) -> Iterator[None]:
    """Accept connections on `port`, and end them, so that the others see that this worker is there."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=128) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):  # it is closed at the end
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=accept, name="rendezvous", daemon=True).start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread; a mere close would not
