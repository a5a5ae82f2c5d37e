"""A training's record in a tracking server: what is not written is written later, and nothing waits for it."""

import time
from pathlib import Path
from typing import Any

import pytest

from components.train.followed import tracker as module
from components.train.followed.tracker import TrainingTracker
from components.train.report import PAGE
from components.train.settings import TrainSettings
from speech.tracking.tracked_run import StepRecord

SETTINGS = TrainSettings(tracking_uri="http://127.0.0.1:9")


class Server:
    """What stands for MLflow; while it is away, every call fails."""

    def __init__(self) -> None:
        self.is_away, self.calls = False, 0
        self.metrics_of: dict[int, dict[str, Any]] = {}
        self.parameters: dict[str, Any] = {}
        self.files: dict[str, Any] = {}
        self.names: list[str] = []
        self.states: list[bool] = []

    def __call__(self, settings: object, names: list[str]) -> "Server":
        self._asked()
        self.names = list(names)
        return self

    def _asked(self) -> None:
        self.calls += 1
        if self.is_away:
            raise ConnectionError("Connection refused")

    def log(self, record: StepRecord) -> None:
        self._asked()
        self.parameters |= record.parameters
        self.files |= record.files

    def set_running(self, is_running: bool) -> None:
        self._asked()
        self.states.append(is_running)

    def steps_of(self, metric: str) -> set[int]:
        self._asked()
        return set(self.metrics_of)

    def metrics(self, values: dict[str, Any], step: int) -> None:
        self._asked()
        assert step not in self.metrics_of, "written twice"
        self.metrics_of[step] = values


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(module, "TrackedRun", server)
    return server


def epochs(count: int) -> list[dict[str, Any]]:
    return [{"epoch": n + 1, "train_loss": 9.0 / (n + 1), "metrics": {"other.csv": 1.0}} for n in range(count)]


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_each_epoch_is_written_once_and_the_report_at_the_end(server: Server, tmp_path: Path) -> None:
    server.metrics_of[1] = {}  # by an attempt before
    (tmp_path / PAGE).write_text("<html>")
    tracker = TrainingTracker(SETTINGS, ["run", "run before"], {"epochs": 3})
    for count in (1, 2, 3):
        tracker.show(epochs(count))
        until(lambda count=count: len(server.metrics_of) == count)
    tracker.finish(tmp_path)
    assert server.metrics_of[3] == {"train/train_loss": 3.0, "train/loss other.csv": 1.0}
    assert (server.names, server.parameters, server.files) == (["run", "run before"], {"epochs": 3}, {PAGE: "<html>"})
    assert server.states == [True, False]


def test_a_server_that_is_away_is_one_line_and_gets_all_when_it_is_back(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.is_away = True
    tracker = TrainingTracker(SETTINGS, ["run"], {})
    for count in (1, 2):
        calls = server.calls
        tracker.show(epochs(count))
        until(lambda calls=calls: server.calls > calls)
    server.is_away = False
    tracker.show(epochs(3))
    until(lambda: len(server.metrics_of) == 3)
    (tmp_path / PAGE).write_text("<html>")
    tracker.finish(tmp_path)
    expected = (
        "note: http://127.0.0.1:9: the server does not answer: asked again after each epoch; the training goes on"
    )
    assert capfd.readouterr().err.splitlines() == [expected]


def test_the_end_does_not_wait_for_a_dead_server(server: Server, tmp_path: Path) -> None:
    server.is_away = True
    tracker = TrainingTracker(SETTINGS, ["run"], {})
    until(lambda: tracker._failed)
    (tmp_path / PAGE).write_text("<html>")
    started = time.monotonic()
    tracker.finish(tmp_path)
    assert time.monotonic() - started < 1
