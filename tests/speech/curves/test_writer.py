"""Curves are written beside the training, whatever becomes of the place that they go to."""

import time
from pathlib import Path

import pytest

from speech.curves import writer
from speech.curves.reader import CurveFiles, newest
from speech.curves.writer import CurveWriter


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOCAL_EVERY_S", 0.02)
    monkeypatch.setattr(writer, "REMOTE_EVERY_S", 0.05)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)


@pytest.fixture(params=["folder", "prefix"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "run") if request.param == "folder" else request.getfixturevalue("s3_bucket") + "/curves/run"


def give(curves: CurveWriter, steps: range, value: float = 0.0) -> None:
    for step in steps:
        curves.add(step, {"loss": step + value})


def until(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.01)
    assert condition()  # type: ignore[operator]


def kill(curves: CurveWriter) -> None:
    """Its thread ends, and what waited is lost."""
    with curves._changed:
        curves._waiting.clear()
    curves.close()
    assert not curves._thread.is_alive()


def test_points_arrive_while_it_runs(place: str) -> None:
    curves = CurveWriter(place, 1)
    give(curves, range(1, 40))
    until(lambda: not curves.unwritten())
    seen = CurveFiles(place)
    assert seen.look().line("loss") == [(step, step) for step in range(1, 40)]
    give(curves, range(40, 60))
    curves.close()
    assert seen.look().line("loss") == [(step, step) for step in range(1, 60)]


def test_a_run_that_goes_on_takes_back_what_it_does_again(place: str) -> None:
    killed = CurveWriter(place, 1)
    give(killed, range(1, 40))
    killed.close()
    again = CurveWriter(place, 31)  # its checkpoint is of step 30
    give(again, range(31, 35), 0.5)
    again.close()
    line = CurveFiles(place).look().line("loss")
    assert line == [(step, step) for step in range(1, 31)] + [(step, step + 0.5) for step in range(31, 35)]


def test_points_that_were_lost_come_from_the_checkpoint(place: str) -> None:
    killed = CurveWriter(place, 1)
    give(killed, range(1, 10))
    until(lambda: not killed.unwritten())
    killed.every_s = 100.0
    time.sleep(0.3)  # its last look with the old pace
    give(killed, range(10, 15))
    unwritten = killed.unwritten()  # in the checkpoint of step 14; then it is killed
    assert [point["step"] for point in unwritten] == list(range(10, 15))
    kill(killed)
    again = CurveWriter(place, 15, unwritten)
    give(again, range(15, 20))
    again.close()
    assert CurveFiles(place).look().line("loss") == [(step, step) for step in range(1, 20)]


def test_a_step_of_which_a_part_was_lost_comes_whole(place: str) -> None:
    killed = CurveWriter(place, 1)
    give(killed, range(1, 5))
    until(lambda: not killed.unwritten())
    killed.every_s = 100.0
    time.sleep(0.3)
    killed.add(4, {"epoch_loss/dev": 2.0}, rare=True)
    unwritten = killed.unwritten()
    kill(killed)
    again = CurveWriter(place, 5, unwritten)
    again.close()
    curves = CurveFiles(place).look()
    assert curves.line("loss") == [(step, step) for step in range(1, 5)]
    assert curves.line("epoch_loss/dev") == [(4, 2.0)]


def test_long_runs_get_further_files(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_BYTES", 2000)
    curves = CurveWriter(place, 1)
    for start in range(1, 300, 50):
        give(curves, range(start, start + 50))
        until(lambda: not curves.unwritten())
    curves.close()
    seen = CurveFiles(place)
    assert seen.look().line("loss") == [(step, step) for step in range(1, 301)]
    if place.startswith("s3://"):
        assert len(seen._read) > 3


def test_a_clock_that_goes_back_does_not_mix_the_files_up(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = CurveWriter(place, 1)
    give(first, range(1, 10))
    first.close()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1e9)
        again = CurveWriter(place, 5)
        give(again, range(5, 8), 0.5)
        again.close()
    expected = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5.5), (6, 6.5), (7, 7.5)]
    assert CurveFiles(place).look().line("loss") == expected


def test_a_place_that_is_away_is_one_line_and_no_wait(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "below")
    curves = CurveWriter(place, 1)
    started = time.monotonic()
    give(curves, range(1, 100))
    time.sleep(0.4)  # several attempts
    curves.close()
    assert time.monotonic() - started < 2
    assert capfd.readouterr().err.splitlines() == [f"note: {place}: Not a directory: curves wait; the training goes on"]


def test_points_wait_for_a_store_that_is_back(
    s3_bucket: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, write = f"{s3_bucket}/curves", writer.write_object
    monkeypatch.setattr(writer, "write_object", lambda *_, **__: 1 / 0)
    curves = CurveWriter(place, 1)
    give(curves, range(1, 10))
    said, deadline = "", time.monotonic() + 20
    while "curves wait" not in said and time.monotonic() < deadline:
        said += capfd.readouterr().err
        time.sleep(0.05)
    monkeypatch.setattr(writer, "write_object", write)
    until(lambda: not curves.unwritten())
    curves.close()
    assert CurveFiles(place).look().line("loss") == [(step, step) for step in range(1, 10)]
    _, last = (said + capfd.readouterr().err).splitlines()
    assert last == f"note: {place}: curves go on"


def test_where_many_wait_they_get_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_WAITING", 100)
    (tmp_path / "file").write_text("")
    curves = CurveWriter(str(tmp_path / "file" / "below"), 1)
    for step in range(1, 5001):
        curves.add(step, {"loss": 1.0})
        if step % 1000 == 0:
            curves.add(step, {"epoch_loss/dev": 1.0}, rare=True)
    unwritten = curves.unwritten()
    curves.close()
    assert len(unwritten) <= 101
    assert [point["step"] for point in unwritten if point["rare"]] == [1000, 2000, 3000, 4000, 5000]


def test_the_newest_run_below_a_place(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert newest(place) == ""
    for number, name in enumerate(("b", "a")):
        monkeypatch.setattr(time, "time", lambda number=number: 1e9 + number)
        curves = CurveWriter(f"{place}/{name}", 1)
        give(curves, range(1, 3))
        curves.close()
    assert newest(place) == f"{place}/a"
    assert newest(f"{place}/b") == f"{place}/b"
