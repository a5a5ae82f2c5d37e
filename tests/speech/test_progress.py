"""Quiet lines where there is no terminal."""

import pytest

from speech import progress
from speech.progress import Progress, format_duration


def test_short_work_is_silent_in_a_log(capsys) -> None:
    with Progress("work", 10, "clips") as bar:
        bar.update(10)
    assert capsys.readouterr().err == ""


def test_long_work_writes_a_line(capsys, monkeypatch) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    with Progress("work", 10, "clips", done=2) as bar:
        bar.update(3, loss="1.5")
    line = capsys.readouterr().err
    assert line.startswith("work: 5/10 clips, ")
    assert line.endswith("left, loss 1.5\n")


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")])
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
