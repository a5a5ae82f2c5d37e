"""Why a step failed or waits: from what Kubernetes knows and the end of the pod's log."""

import pytest

from pipelines.cluster.following import Ending, Failure
from speech.errors import EXIT_INPUT, EXIT_RETRY
from speech.kubeflow_runs.failures import FailureReason, reason, waits_for_image, waits_for_node
from speech.kubeflow_runs.workflow import Pod

END = "F1121 12:00:00.000001       1 main.go:55] failed to execute component: exit status {}\n"


def pod(message: str = "main: Error (exit code 1)", **limits: str) -> Pod:
    return Pod("x-system-container-impl-1", "Failed", message, None, limits)


@pytest.mark.parametrize(
    ("log", "text", "code"),
    [
        ("working\nerror: --epochs 0 is not allowed: 1 or more\n" + END.format(2), "error: --epochs 0 is", 2),
        ("interrupted: SIGTERM\n" + END.format(75), "interrupted: SIGTERM", 75),
        ("Traceback (most recent call last):\n  File x\nValueError: no\n" + END.format(1), "ValueError: no", 1),
        ("\r10 %\rerror: no space\n" + END.format(2), "error: no space", 2),  # behind a progress bar
        ("sh: 1: nothing: not found\n" + END.format(127), "sh: 1: nothing: not found", 127),
        ("error: first\nretry\nerror: last\n" + END.format(2), "error: last", 2),
        (
            "E1121 12:00:00.0 1 l.go:1] Component failed to execute successfully: exit status 2\nerror: late\n",
            "error: late",
            2,
        ),
        ("said\nE1121 12:00:00.0 1 l.go:1] Component failed to execute successfully: exit status 9\n}\n", "said", 9),
        ("", "main: Error (exit code 1)", 1),
    ],
)
def test_the_step_s_own_line_and_code(log: str, text: str, code: int) -> None:
    found = reason(pod(), log)
    assert found.text.startswith(text)
    assert found.exit_code == code


def test_what_the_step_told_its_pod_stands_in_for_a_log_that_is_gone() -> None:
    told = reason(pod("main: Error (exit code 1): exit status 2: error: --epochs 0 is not allowed\n"), "")
    assert told == FailureReason("error: --epochs 0 is not allowed", 2)
    assert told.is_input
    assert reason(pod("main: Error (exit code 1): exit status 75: interrupted: later"), "").is_passing


def test_what_kubernetes_did_to_a_pod_is_said_in_words() -> None:
    assert reason(pod("main: OOMKilled (exit code 137)", memory="8Gi", cpu="2"), "").text == (
        "out of memory (exit code 137): it may use 8Gi: give the step more"
    )
    assert "its node had no more" in reason(pod("main: OOMKilled (exit code 137)", memory="0"), "").text
    killed = "F1121 12:00:00.000001 1 main.go:55] failed to execute component: signal: killed\n"
    assert reason(pod(), killed).text.startswith("out of memory")  # the step alone, not its launcher
    deadline = "Pod was active on the node longer than the specified deadline"
    assert reason(pod(deadline), "").text == "it ran longer than its timeout_s"
    assert reason(pod("pod deleted"), "").text.startswith("its pod was deleted")
    stopped = pod("main: Error (exit code 143)")  # recorded where Argo looked between SIGTERM and the pod's end
    for log in ("", "epoch 1/15: train loss 74.8\nError: exit status 143\n"):
        assert reason(stopped, log).text.startswith("its pod was deleted")
    assert (
        reason(stopped, "interrupted: SIGTERM: saved\nError: exit status 143\n").text == "interrupted: SIGTERM: saved"
    )


@pytest.mark.parametrize("message", ["pod deleted", "main: Error (exit code 143)"])
def test_a_pod_that_was_taken_away_is_no_failure_of_the_step(message: str) -> None:
    """So a run whose last attempt ended like this ends `speechmill submit` with 75: the same may work later."""
    why = reason(pod(message), "")
    assert (why.is_passing, why.is_input) == (True, False)
    assert Ending("FAILED", (Failure("Train", 3, why),)).exit_code == EXIT_RETRY
    wrong = reason(pod("main: Error (exit code 1): exit status 2: error: no release"), "")
    assert Ending("FAILED", (Failure("Train", 3, why), Failure("Import", 1, wrong))).exit_code == EXIT_INPUT


def test_why_a_pod_waits() -> None:
    image = pod('ImagePullBackOff: Back-off pulling image "ghcr.io/team/train:1":\n not found')
    assert waits_for_image(image) == (
        'its image cannot be pulled: ImagePullBackOff: Back-off pulling image "ghcr.io/team/train:1": not found'
    )
    assert waits_for_image(pod("ContainerCreating")) == ""
    full = pod("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.", cpu="64", memory="0")
    assert waits_for_node(full) == "it asks for 64 cpu: Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
    assert waits_for_node(pod("")) == "it asks for nothing in particular"
