"""The pool: order, back-pressure, and workers that die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from components.import_cv.convert.workers import CHUNKS_AHEAD, Pool
from speech.errors import InputError

KILLER, SLOW, FAILING, REFUSED = -1, -2, -3, -4


class Squares:
    """Squares numbers; some end the process, some take their time."""

    def __call__(self, items: Sequence[int]) -> list[int]:
        return [self._one(item) for item in items]

    def _one(self, item: int) -> int:
        if item == KILLER:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == SLOW:
            time.sleep(0.3)
        if item == FAILING:
            raise ZeroDivisionError("a bug")
        if item == REFUSED:
            raise InputError("the bucket is gone")
        return item * item

    def give_up(self, item: int) -> int:
        return -1000


def results(chunks: list[list[int]], count: int) -> list[list[int]]:
    with Pool(Squares(), count) as pool:
        return [found for _, found in pool.ordered(chunks)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_keep_the_order(count: int) -> None:
    chunks = [[n, n + 1] for n in range(40)]
    chunks[3] = [SLOW, 7]
    assert results(chunks, count) == [[a * a, b * b] for a, b in chunks]


@pytest.mark.parametrize("count", [1, 3])
def test_a_crash_costs_one_item(count: int) -> None:
    chunks = [[n, KILLER if n % 7 == 3 else n, n] for n in range(30)]
    expected = [[n * n, -1000 if n % 7 == 3 else n * n, n * n] for n in range(30)]
    assert results(chunks, count) == expected


def test_the_source_is_read_no_faster_than_needed() -> None:
    read = 0

    def source() -> Iterator[list[int]]:
        nonlocal read
        for n in range(200):
            read += 1
            yield [n]

    with Pool(Squares(), 2) as pool:
        for done, _ in enumerate(pool.ordered(source()), 1):
            time.sleep(0.001)
            assert read <= done + 2 * CHUNKS_AHEAD


@pytest.mark.parametrize(
    ("item", "error", "message"), [(FAILING, RuntimeError, "a bug"), (REFUSED, InputError, "bucket")]
)
def test_errors_come_back(item: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        results([[1], [item], [2]], 2)


def test_nothing_to_do() -> None:
    assert results([], 2) == []


def test_the_workers_die_with_their_parent() -> None:
    program = (
        "import os, time\n"
        "from components.import_cv.convert.workers import Pool\n"
        "class Work:\n"
        "    def __call__(self, items): return [os.getpid() for _ in items]\n"
        "    def give_up(self, item): return 0\n"
        "with Pool(Work(), 3) as pool:\n"
        "    pids = {found[0] for _, found in pool.ordered([[n] for n in range(60)])}\n"
        "    print(*pids, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_an_interrupt_while_a_worker_starts_is_the_parent_s_alone() -> None:
    """Ctrl-C reaches the whole group, and a child may be younger than its first line."""
    program = (
        "import os, signal\n"
        "from components.import_cv.convert.workers import Pool\n"
        "from tests.components.import_cv.convert.test_workers import Squares\n"
        "os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "with Pool(Squares(), 2) as pool:\n"
        "    print([found for _, found in pool.ordered([[2], [3]])])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[[4], [9]]\n", "")
