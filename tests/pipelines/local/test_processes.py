"""A step's messages reach the screen as they come, its log the file, and no process outlives the run."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pipelines.local.processes import run_process
from pipelines.local.screen import Screen


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run_python(code: str, screen: Screen, log: Path) -> int:
    return run_process([sys.executable, "-c", textwrap.dedent(code)], os.environ, log, screen)


@pytest.mark.parametrize("stream_class", [io.StringIO, Terminal])
def test_stderr_goes_to_the_screen_and_stdout_to_the_log(stream_class, tmp_path) -> None:
    screen = Screen(stream_class())
    code = """
        import sys
        print("a line for the log")
        print("\\rhalf", end="", file=sys.stderr, flush=True)
        print("\\rdone é", file=sys.stderr)
        sys.exit(7)
    """
    assert run_python(code, screen, tmp_path / "log") == 7
    assert screen.stream.getvalue() == "\rhalf\rdone é\n"
    assert (tmp_path / "log").read_text() == "a line for the log\n"


@pytest.mark.parametrize(("stream_class", "expected"), [(io.StringIO, "False"), (Terminal, "True")])
def test_a_step_draws_its_progress_bar_only_on_a_terminal(stream_class, expected, tmp_path) -> None:
    screen = Screen(stream_class())
    run_python("import sys; print(sys.stderr.isatty(), file=sys.stderr)", screen, tmp_path / "log")
    assert screen.stream.getvalue() == f"{expected}\n"


def test_output_comes_through_while_the_step_works(tmp_path) -> None:
    screen, code = Screen(io.StringIO()), "import sys, time; print('early', file=sys.stderr, flush=True); time.sleep(2)"
    thread = threading.Thread(target=run_python, args=(code, screen, tmp_path / "log"))
    thread.start()
    deadline_s = time.monotonic() + 10
    while "\n" not in screen.stream.getvalue() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert thread.is_alive()
    assert screen.stream.getvalue() == "early\n"
    thread.join()


def test_an_interrupted_run_ends_the_step_and_what_it_started(tmp_path) -> None:
    code = f"""
        import sys
        from pathlib import Path
        from pipelines.local.processes import run_process
        from pipelines.local.screen import Screen
        import os
        command = ["sh", "-c", "sleep 300 & echo $! > {tmp_path}/pid; wait"]
        run_process(command, os.environ, Path("{tmp_path}/log"), Screen())
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.DEVNULL)
    pid_file = tmp_path / "pid"
    deadline_s = time.monotonic() + 20
    while not (pid_file.is_file() and pid_file.read_text().strip()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    sleeper = int(pid_file.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 0
    assert not lives(sleeper)


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
