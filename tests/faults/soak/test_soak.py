"""The soak itself: a small one passes, and what grows or stays behind is seen."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.soak.__main__ import arguments, grown, left_over, soak
from tests.faults.soak.process_tree import Sample, Watched, course, watch

LEAKS = """
import subprocess, sys, threading, time
from pathlib import Path
result, scratch = Path(sys.argv[1]), Path(sys.argv[2])
result.mkdir()
(result / "data").write_bytes(bytes(1000))
kept, held = [], []
for number in range(30):
    held.append(open("/dev/null"))
    kept.append(bytearray(b"x") * 3_000_000)
    time.sleep(0.05)
(scratch / "left").write_text("x")
(result / ".data.tmp").write_text("x")
subprocess.Popen(["sleep", "5"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""


def samples(**growth: float) -> list[Sample]:
    """A minute of samples; a figure with a `growth` has grown by that in the end."""
    first = Sample(0, 100, 200, 20, 5, 3, 0, 1)
    return [
        replace(
            first,
            seconds=float(number),
            **{
                name: type(getattr(first, name))(getattr(first, name) + by * number / 60) for name, by in growth.items()
            },
        )
        for number in range(61)
    ]


@pytest.mark.parametrize(
    ("growth", "found"),
    [
        ({}, []),
        ({"memory_mb": 5.0}, []),  # within the noise
        ({"memory_mb": 40.0}, ["memory grew"]),
        ({"resident_mb": 40.0}, []),  # mapped files are the system's to drop
        ({"descriptors": 10.0, "threads": 4.0}, ["descriptors grew", "threads grew"]),
        ({"processes": 5.0}, ["processes grew"]),
    ],
)
def test_what_grows_is_seen(growth: dict[str, float], found: list[str]) -> None:
    problems = grown(samples(**growth))
    assert [" ".join(problem.split()[:2]) for problem in problems] == found


def test_a_course_is_a_line_through_the_samples() -> None:
    one = course(samples(memory_mb=60.0), "memory_mb")
    assert one.slope_a_minute == pytest.approx(60)
    assert one.growth == pytest.approx(60)
    assert (one.first, one.last, one.most) == (102.5, 157.5, 160)
    assert grown([]) == ["no sample of the work"]


def test_a_command_that_leaks_is_seen(tmp_path: Path) -> None:
    """Its memory and descriptors grow, and it leaves files and a process."""
    result, scratch = tmp_path / "result", tmp_path / "scratch"
    command = [sys.executable, "-c", LEAKS, str(result), str(scratch)]
    ended = watch(command, result, scratch, tmp_path / "log", every_s=0.1)
    assert ended.code == 0, ended.errors
    found = " ".join(grown(ended.samples) + left_over(ended, result, scratch))
    for text in ("memory grew", "descriptors grew", "outlives it", "left is left", ".data.tmp is left"):
        assert text in found
    subprocess.run(["kill", *map(str, ended.survivors)], check=True)


def test_a_clean_command(tmp_path: Path) -> None:
    result, scratch = tmp_path / "result", tmp_path / "scratch"
    ended = watch([sys.executable, "-c", "pass"], result, scratch, tmp_path / "log", every_s=0.01)
    assert left_over(ended, result, scratch) == []
    assert isinstance(ended, Watched)


@pytest.mark.slow
def test_a_small_soak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = arguments(
        ["--clips", "600", "--steps", "30", "--checkpoint_secs", "1", "--every_s", "0.2", "--n_hidden", "16",
         "--folder", str(tmp_path / "soak")]
    )  # fmt: skip
    problems = [problem for problem in soak(asked) if "grew" not in problem]  # so short a work says nothing of that
    assert problems == []
    assert "import of 600 clips" in capsys.readouterr().out
    assert "<polyline" in (tmp_path / "soak/soak.svg").read_text()
    assert not (tmp_path / "soak/corpus").exists()
