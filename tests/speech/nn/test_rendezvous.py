"""Workers that look for each other, and what one says that does not find the others."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from speech.errors import RetryError
from speech.nn import rendezvous
from tests.fixtures.ports import free_ports

ROOT = Path(__file__).resolve().parents[3]


def test_workers_that_come_one_after_another_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "LOOK_S", 0.2)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    met: list[int] = []

    def worker(number: int) -> None:
        time.sleep(0.2 * number)
        rendezvous.meet(addresses, number, 20)
        met.append(number)

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(met) == [0, 1, 2]
    for address in addresses:  # the ports are TensorFlow's now
        socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))).close()


def test_one_that_waits_says_for_whom_and_gives_up(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(rendezvous, "LOOK_S", 0.05)
    monkeypatch.setattr(rendezvous, "SAY_S", 0.4)
    own, silent = free_ports(2)
    addresses = [f"127.0.0.1:{own}", f"127.0.0.1:{silent}", "no-such-worker.invalid:2222"]
    with pytest.raises(RetryError, match=r"worker 0: 1 s were not enough to reach worker 1 at 127\.0\.0\.1:.*timeout"):
        rendezvous.meet(addresses, 0, 1.0)
    said = capsys.readouterr().out.splitlines()
    assert 1 <= len(said) <= 3
    assert f"worker 0: waiting for worker 1 at 127.0.0.1:{silent} (nothing listens there)" in said[0]
    assert "worker 2 at no-such-worker.invalid:2222 (" in said[0]
    assert said[0].endswith(" s")


def test_a_wait_inside_of_tensorflow_ends_with_75() -> None:
    answers = socket.create_server(("127.0.0.1", 0))
    code = (
        "import time; from speech.nn import rendezvous; rendezvous.SAY_S = 0.2\n"
        f"with rendezvous.watched(['127.0.0.1:1', '127.0.0.1:{answers.getsockname()[1]}'], 0, 'a sum', 0.5):\n"
        "    time.sleep(30)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    answers.close()
    assert done.returncode == 75
    assert "worker 0: waiting for a sum, for 0 s: worker 1 at 127.0.0.1:" in done.stdout
    assert "(answers)" in done.stdout
    assert done.stderr.startswith("interrupted: worker 0: ")
    assert done.stderr.count("\n") == 1


def test_a_block_that_ends_in_time_says_nothing(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "SAY_S", 0.1)
    with rendezvous.watched(["127.0.0.1:1", "127.0.0.1:2"], 0, "a sum", 0.1):
        pass
    time.sleep(0.3)
    with rendezvous.watched(["127.0.0.1:1"], 0, "nobody", 0.1):  # alone
        time.sleep(0.3)
    assert capsys.readouterr().out == ""
