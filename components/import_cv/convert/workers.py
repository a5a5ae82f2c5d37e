"""Worker processes: chunks of items out, outcomes back in order, with back-pressure, and no chunk can end the import.

A worker that dies (a decoder that crashes on damaged audio, the kernel's memory killer) is replaced; the items of its
chunk are then tried one at a time, and the one that ends a worker again is given up.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Protocol, TypeVar

from speech.errors import InputError, RetryError

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out")
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BYTES = 1 << 26
CHUNKS_A_WORKER = 2  # one in work, one waiting, so that a worker never waits for the parent
CHUNKS_AHEAD = 3  # a worker: how far work may go beyond the first chunk that is not done
MAX_WAITING_BYTES = 64 << 20  # finished chunks that wait for an earlier one


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for the next clip.

    glibc gives arrays of this size back to the kernel, which clears every page of the next one: a fifth of the CPU
    time of an import.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library: nothing to set
        library = ctypes.CDLL(None)
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            library.mallopt(parameter, KEPT_BYTES)


class Work(Protocol[In, Out]):
    """What the workers do."""

    def __call__(self, items: Sequence[In]) -> list[Out]:
        """One result an item, in order. InputError, RetryError and OSError end the import."""
        ...

    def give_up(self, item: In) -> Out:
        """The result of an item that no worker survives."""
        ...


@dataclass
class _Worker:
    process: Any
    connection: Connection
    chunks: deque[int] = field(default_factory=deque)  # numbers of the chunks it has, the first in work


class Pool(Generic[I, O]):
    """`count` worker processes; use as a context manager."""

    def __init__(self, work: Work[I, O], count: int) -> None:
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._work = work
        self._workers: list[_Worker] = []
        for _ in range(count):
            self._workers.append(self._start())

    def __enter__(self) -> "Pool[I, O]":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def ordered(self, chunks: Iterable[list[I]]) -> Iterator[tuple[list[I], list[O]]]:
        """Yield each chunk with its results, in the order of `chunks`, which is read no faster than needed."""
        keep_freed_memory()  # here at the earliest: tables that grow would leave holes
        source = iter(chunks)
        waiting: dict[int, list[I]] = {}  # handed out
        done: dict[int, tuple[list[O], int]] = {}
        first = following = 0
        exhausted = False
        while True:
            while not exhausted and following - first < CHUNKS_AHEAD * len(self._workers):
                if sum(size for _, size in done.values()) > MAX_WAITING_BYTES:
                    break
                worker = min(self._workers, key=lambda worker: len(worker.chunks))
                if len(worker.chunks) >= CHUNKS_A_WORKER:
                    break
                chunk = next(source, None)
                if chunk is None:
                    exhausted = True
                    break
                waiting[following] = chunk
                worker.chunks.append(following)
                self._send(worker, chunk)
                following += 1
            if first in done:
                results, _ = done.pop(first)
                yield waiting.pop(first), results
                first += 1
                continue
            if first == following and exhausted:
                return
            for number, results, size in self._receive(waiting):
                done[number] = (results, size)

    def _receive(self, waiting: dict[int, list[I]]) -> Iterator[tuple[int, list[O], int]]:
        busy = {worker.connection: worker for worker in self._workers if worker.chunks}
        for ready in wait(list(busy)):
            worker = busy[ready]  # type: ignore[index]
            try:
                answer = worker.connection.recv_bytes()
            except (EOFError, OSError):
                yield from self._recover(worker, waiting)
                continue
            number = worker.chunks.popleft()
            yield number, _results(answer), len(answer)

    def _recover(self, dead: _Worker, waiting: dict[int, list[I]]) -> Iterator[tuple[int, list[O], int]]:
        """Put a new worker in the place of a dead one, with the same chunks but the first, done item by item."""
        self._workers[self._workers.index(dead)] = worker = self._start(instead_of=dead)
        dead.connection.close()
        dead.process.join()
        culprit, *not_begun = dead.chunks
        for number in not_begun:
            worker.chunks.append(number)
            self._send(worker, waiting[number])
        yield culprit, [self._alone(item) for item in waiting[culprit]], 0

    def _alone(self, item: I) -> O:
        worker = self._start()
        try:
            self._send(worker, [item])
            (result,) = _results(worker.connection.recv_bytes())
            return result
        except (EOFError, OSError):
            return self._work.give_up(item)
        finally:
            worker.connection.close()
            worker.process.join()

    def _start(self, instead_of: _Worker | None = None) -> _Worker:
        here, there = self._context.Pipe()
        # a forked child inherits the parent's ends; while it holds them, no other worker sees the parent's death
        inherited = [here, *(worker.connection for worker in self._workers if worker is not instead_of)]
        if self._context.get_start_method() != "fork":
            inherited = []
        process = self._context.Process(target=_serve, args=(there, self._work, inherited), daemon=True)
        # A keyboard's interrupt goes to the whole group: until the child ignores it, it would end with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        there.close()
        return _Worker(process, here)

    @staticmethod
    def _send(worker: _Worker, chunk: list[I]) -> None:
        with contextlib.suppress(OSError):  # it has died: _receive sees that
            worker.connection.send_bytes(pickle.dumps(chunk, pickle.HIGHEST_PROTOCOL))


def _results(answer: bytes) -> Any:
    results = pickle.loads(answer)
    if isinstance(results, BaseException):
        raise results
    return results


def _serve(connection: Connection, work: Callable[[Any], Any], inherited: list[Connection]) -> None:
    """A worker's life: until the parent closes its end, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard's interrupt is the parent's to handle
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for other in inherited:
        other.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # libmpg123 prints what it thinks of each damaged file
    keep_freed_memory()
    chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_ahead, args=(connection, chunks), daemon=True).start()
    while True:
        try:
            results = work(pickle.loads(chunks.get()))
        except (InputError, RetryError, OSError) as error:
            results = error
        except Exception as error:
            results = RuntimeError(f"a worker failed: {type(error).__name__}: {error}")
        with contextlib.suppress(OSError):  # the parent is gone, and soon this process
            connection.send_bytes(pickle.dumps(results, pickle.HIGHEST_PROTOCOL))


def _read_ahead(connection: Connection, chunks: "queue.SimpleQueue[bytes]") -> None:
    """Take chunks in while another is in work, so that the parent's sending never waits for this worker's sending.

    When the parent closes its end or dies, nobody wants the work in hand: end at once.
    """
    try:
        while True:
            chunks.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)  # without the parent's exit handlers, which a fork inherits
