"""A step on a machine that is busy has not hung; one that waits for nothing has."""

import subprocess
import sys

import pytest

from tests.faults import warm
from tests.faults.warm import Running, cpu_seconds


class Server:
    """Stands for the warm process: it says nothing, until the given moment."""

    def __init__(self, process: "subprocess.Popen[bytes]", tmp_path) -> None:
        self.process, self.errors = process, tmp_path / "stderr"
        self.errors.write_text("")

    def answer(self, timeout_s: float) -> int | None:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


@pytest.mark.parametrize(("program", "code"), [("while time.process_time() < 1: pass", 0), ("time.sleep(60)", -9)])
def test_what_computes_has_not_hung(program: str, code: int, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(warm, "AT_WORK_S", 0.02)
    process = subprocess.Popen([sys.executable, "-S", "-c", f"import time\n{program}"], start_new_session=True)
    ended = Running(Server(process, tmp_path), process.pid).wait(0.8)  # type: ignore[arg-type]
    assert ended.code == code
    assert cpu_seconds(process.pid) == 0
