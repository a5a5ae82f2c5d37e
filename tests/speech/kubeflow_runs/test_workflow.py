"""What a run's Workflow says of its steps, in what a real Kubeflow Pipelines answered."""

from typing import Any

import pytest

from speech.kubeflow_runs import workflow
from tests.fixtures.kfp_server import recording


def steps(scenario: str, frame: int = -1) -> dict[str, workflow.Step]:
    found = workflow.steps(recording(scenario)["frames"][frame]["workflow"])
    return {step.name: step for step in found if not step.is_kubeflows}


@pytest.mark.parametrize(
    ("scenario", "prepare", "work"),
    [
        ("succeeded", "succeeded", "succeeded"),
        ("cached", "cached", "cached"),
        ("wrong_input", ("cached", "succeeded"), "failed"),
        ("pod_deleted", ("cached", "succeeded"), "succeeded"),
        ("terminated", "succeeded", "canceled"),
        ("driver_failed", "succeeded", "failed"),
        ("no_node", "succeeded", "pending"),
    ],
)
def test_how_each_step_stands_at_the_end(scenario: str, prepare: Any, work: str) -> None:
    found = steps(scenario)
    assert list(found) == ["Prepare", "Work"]  # by people's names, in the order of their beginning
    assert found["Prepare"].state in ([prepare] if isinstance(prepare, str) else prepare)
    assert found["Work"].state == work


def test_a_step_goes_through_its_states() -> None:
    seen = [steps("succeeded", frame)["Work"].state for frame in range(-4, 0)]
    assert seen[-1] == "succeeded"
    assert set(seen[:-1]) <= {"waiting", "pending", "running"}
    assert steps("succeeded", 0) == {}
    assert 10 < steps("succeeded")["Work"].seconds < 120  # its driver's seconds included


def test_a_step_s_tries_are_in_their_order() -> None:
    first, second = steps("pod_deleted")["Work"].pods
    assert (first.phase, first.message) == ("Error", "pod deleted")
    assert (second.phase, second.message) == ("Succeeded", "")
    assert first.name != second.name


def test_a_graph_that_is_tried_again_counts_by_its_newest_try() -> None:
    """Argo cannot read a fractional backoff_factor, gives up the step, and runs the graph around it once more."""
    frames = recording("factor")["frames"]
    assert not any(steps("factor", frame)["Work"].state == "failed" for frame in range(-4, 0))
    assert frames[-1]["run"]["state"] == "SUCCEEDED"
    assert steps("factor")["Work"].state == "succeeded"
    assert [pod.phase for pod in steps("factor")["Work"].pods] == ["Error", "Succeeded"]


def test_a_pod_has_the_name_that_its_log_is_asked_by() -> None:
    for scenario in ("wrong_input", "passing", "traceback", "driver_failed"):
        pod = steps(scenario)["Work"].pod
        assert pod is not None
        assert pod.name in recording(scenario)["logs"]


def test_what_a_waiting_pod_asks_for_and_why_it_waits() -> None:
    pod = steps("no_node")["Work"].pod
    assert pod is not None
    assert pod.limits == {"cpu": "1k", "memory": "64Mi"}
    assert pod.message.startswith("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu")


def test_the_pods_of_a_loop_are_numbered() -> None:
    found = steps("loop")
    assert {name: step.state for name, step in found.items() if name != "Prepare"} == {
        "Work 1": "succeeded",
        "Work 2": "failed",
    }


def test_what_prepares_the_graph_is_no_step() -> None:
    everything = workflow.steps(recording("succeeded")["frames"][-1]["workflow"])
    assert [step.name for step in everything if step.is_kubeflows] == ["root"]


def test_a_run_that_was_terminated_is_known_although_it_is_called_failed() -> None:
    last = recording("terminated")["frames"][-1]
    assert last["run"]["state"] == "FAILED"
    assert workflow.is_stopped(last["workflow"])
    assert not workflow.is_stopped(recording("wrong_input")["frames"][-1]["workflow"])
