"""Scratch folders of killed attempts are removed by the next one; those in use and those of others stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from speech.storage.scratch import scratch_in

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom speech.storage.scratch import scratch_in\n"
    "with scratch_in(Path(sys.argv[1]), '.export-') as made:\n"
    "    (made / 'file').write_text('x')\n    print(made, flush=True)\n    time.sleep(60)\n"
)


def old(path: Path) -> None:
    os.utime(path, (time.time() - 3600,) * 2)


def hold(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process with a scratch folder of its own."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    made = Path(process.stdout.readline().strip())
    old(made)
    return process, made


def test_what_a_kill_left_is_gone_after_the_next_attempt(tmp_path: Path) -> None:
    killed, left = hold(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    running, in_use = hold(tmp_path)
    others = [tmp_path / ".export-mine", tmp_path / ".exported-12345678"]
    for path in others:
        path.mkdir()
        old(path)
    try:
        with scratch_in(tmp_path, ".export-") as made:
            assert not left.exists()
            assert in_use.exists()
        assert not made.exists()
        assert all(path.exists() for path in others)
    finally:
        running.kill()
        running.wait()


def test_a_folder_that_was_moved_into_place_stays(tmp_path: Path) -> None:
    with scratch_in(tmp_path, ".v1.", ".tmp") as made:
        (made / "file").write_text("x")
        made.rename(tmp_path / "v1")
    assert (tmp_path / "v1" / "file").read_text() == "x"
