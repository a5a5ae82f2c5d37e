"""Following a run: what is said of it, further attempts, and how it ends."""

import io
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.cluster import following
from pipelines.cluster.api import KubeflowApi
from pipelines.cluster.following import Following
from pipelines.local.screen import Screen
from tests.fixtures.api_server import running
from tests.fixtures.kfp_server import KfpServer


@pytest.fixture(scope="module")
def module_server() -> Iterator[KfpServer]:
    with running(KfpServer()) as server:
        yield server


@pytest.fixture
def server(module_server: KfpServer) -> KfpServer:
    return module_server


def follow(server: KfpServer, scenario: str, **options: Any) -> tuple[following.Ending, list[str]]:
    """Play a scenario; returns how it ended and all lines."""
    server.scenario = scenario
    run_id = server.start()
    stream = io.StringIO()
    options = {"poll_s": 0.001, "retry_wait_s": 0.0, **options}
    ending = Following(KubeflowApi(server.endpoint), run_id, Screen(stream), **options).to_the_end()
    return ending, stream.getvalue().splitlines()


def test_one_line_a_step(server: KfpServer) -> None:
    ending, lines = follow(server, "succeeded")
    assert ending.exit_code == 0
    assert [line.split()[:2] for line in lines] == [["Prepare", "succeeded"], ["Work", "succeeded"]]
    assert all(line.endswith(" s") for line in lines)
    _, cached = follow(server, "cached")
    assert [line.split()[:2] for line in cached] == [["Prepare", "cached"], ["Work", "cached"]]


def test_a_wrong_input_is_told_and_never_tried_again(server: KfpServer) -> None:
    ending, lines = follow(server, "wrong_input", attempts=3)
    assert ending.exit_code == 2
    assert str(ending.failures[0]) == "Work, attempt 1: error: --epochs -1 is not allowed: 1 or more"
    assert lines.count(str(ending.failures[0])) == 1
    assert server.newest.retried == 0


def test_what_failed_is_tried_again_and_what_succeeded_is_not_told_twice(server: KfpServer) -> None:
    ending, lines = follow(server, "passing", attempts=2)
    assert ending.exit_code == 75
    assert str(ending.failures[0]).startswith("Work, attempt 2: interrupted: s3://corpora")
    assert server.newest.retried == 1
    assert "attempt 2 of 2 in 0 s, of what failed" in lines
    assert len([line for line in lines if line.startswith("Prepare")]) == 1


def test_one_attempt_is_one(server: KfpServer) -> None:
    ending, _ = follow(server, "traceback", attempts=1)
    assert (ending.exit_code, ending.failures[0].reason.text) == (1, "KeyError: 3")
    assert server.newest.retried == 0


def test_an_answer_from_before_the_retry_ends_nothing(server: KfpServer) -> None:
    server.stale_answers = 3
    ending, _ = follow(server, "passing", attempts=2)
    assert ending.failures[0].attempt == 2
    assert server.newest.retried == 1


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("out_of_memory", "out of memory (exit code 137): it may use 96Mi: give the step more"),
        ("too_long", "it ran longer than its timeout_s"),
        ("driver_failed", "failed to init podSpecPatch: quantities must match"),
        ("told_the_pod", "error: x"),
    ],
)
def test_every_failure_has_its_words(server: KfpServer, scenario: str, reason: str) -> None:
    ending, lines = follow(server, scenario, attempts=1)
    assert ending.failures[0].reason.text.startswith(reason)
    assert lines[-1] == str(ending.failures[0])


def test_a_log_that_is_gone_leaves_what_kubernetes_knows(server: KfpServer) -> None:
    server.has_logs = False
    try:
        told, _ = follow(server, "told_the_pod", attempts=3)
        untold, _ = follow(server, "traceback", attempts=1)
    finally:
        server.has_logs = True
    assert told.exit_code == 2
    assert untold.failures[0].reason.text == "main: Error (exit code 1)"


def test_a_terminated_run_is_canceled_and_not_tried_again(server: KfpServer) -> None:
    ending, lines = follow(server, "terminated", attempts=3)
    assert (ending.state, ending.exit_code) == ("CANCELED", 1)
    assert server.newest.retried == 0
    assert lines[-1].split()[:2] == ["Work", "canceled"]


def test_a_pod_that_vanished_is_told_and_kubeflow_goes_on(server: KfpServer) -> None:
    ending, lines = follow(server, "pod_deleted", attempts=3)
    assert ending.exit_code == 0
    assert [line for line in lines if "attempt" in line] == [
        "Work, attempt 1: its pod was deleted: its node was taken away, or somebody deleted it: Kubeflow tries again"
    ]
    assert server.newest.retried == 0


def test_a_pod_that_waits_is_spoken_of_once(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    _, quiet = follow(server, "no_node", timeout_s=0.3)
    assert not any("pending for" in line for line in quiet)
    monkeypatch.setattr(following, "PENDING_S", 0.05)
    ending, lines = follow(server, "no_node", timeout_s=2.0)
    assert ending.state == "RUNNING"
    (line,) = [line for line in lines if line.startswith("Work is pending for")]
    assert "it asks for 1k cpu, 64Mi memory: Unschedulable: 0/1 nodes are available: 1 Insufficient cpu" in line


def test_an_image_that_cannot_be_pulled_is_said_at_once(server: KfpServer) -> None:
    _, lines = follow(server, "no_image", timeout_s=2.0)
    assert len([line for line in lines if line.startswith("Work: its image cannot be pulled: ")]) == 1


def test_answers_that_do_not_come_are_asked_for_again(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.broken_runs = 5
    ending, _ = follow(server, "succeeded")
    assert ending.exit_code == 0


def test_a_terminal_shows_what_goes_on(server: KfpServer) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    server.scenario = "succeeded"
    stream = Terminal()
    Following(KubeflowApi(server.endpoint), server.start(), Screen(stream), poll_s=0.001).to_the_end()
    assert "\r\x1b[KPrepare " in stream.getvalue()
    assert stream.getvalue().endswith(" s\n")
