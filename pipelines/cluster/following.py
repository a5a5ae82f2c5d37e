"""Follow a run to its end: a line a step, what holds it up, why it failed, and further attempts."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pipelines.cluster.api import ENDED, SUCCEEDED, KubeflowApi
from pipelines.local.screen import Screen
from speech.errors import EXIT_INPUT, EXIT_RETRY, InputError, RetryError
from speech.kubeflow_runs import failures, workflow
from speech.kubeflow_runs.workflow import Step
from speech.storage.retries import attempts

T = TypeVar("T")

LOST_ANSWERS = 30  # polls in a row without an answer before following ends
PENDING_S = 120.0  # a pod that waits longer is spoken of
SILENCE_S = 600.0  # without a line for so long, where there is no terminal: what goes on
STALE_S = 60.0  # for so long after a retry, the server may still tell of the end before it
NAME_WIDTH = 38


@dataclass(frozen=True)
class Failure:
    """A step that failed."""

    step: str
    attempt: int
    reason: failures.FailureReason

    def __str__(self) -> str:
        return f"{self.step}, attempt {self.attempt}: {self.reason.text}"


@dataclass(frozen=True)
class Ending:
    """How a run ended, or `RUNNING` if it has not while it was followed."""

    state: str
    failures: tuple[Failure, ...] = ()
    error: str = ""  # the run's own

    @property
    def exit_code(self) -> int:
        """0; 2 if a step refused its input; 75 if another attempt may help; 1 for every other failure."""
        if self.state in SUCCEEDED:
            return 0
        if any(failure.reason.is_input for failure in self.failures):
            return EXIT_INPUT
        passing = bool(self.failures) and all(failure.reason.is_passing for failure in self.failures)
        return EXIT_RETRY if passing else 1


@dataclass
class Following:
    """A run that is looked at every `poll_s` until it ends, or `timeout_s` (0: never) is up."""

    cluster: KubeflowApi
    run_id: str
    screen: Screen
    poll_s: float = 10.0
    timeout_s: float = 0.0
    attempts: int = 1
    retry_wait_s: float = 30.0  # before the second attempt; doubled for each further one
    _told: dict[str, str] = field(default_factory=dict)  # path of a step: what was said of it last
    _spoken_of: set[str] = field(default_factory=set)  # pods that wait or failed
    _tried_again: dict[str, str] = field(default_factory=dict)  # path of a step: why, as it was said last
    _waiting_since_s: dict[str, float] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=dict)  # of a step, before the current attempt
    _ended_before: str = ""
    _retried_s: float = 0.0
    _started_s: float = field(default_factory=time.monotonic)
    _said_s: float = field(default_factory=time.monotonic)

    def to_the_end(self) -> Ending:
        """Follow all attempts; an attempt does again only what failed. Answers that do not come are asked for again."""
        for attempt in range(1, self.attempts + 1):
            ending = self._one_attempt()
            if ending.state != "FAILED" or attempt == self.attempts or ending.exit_code == EXIT_INPUT:
                break
            wait_s = self.retry_wait_s * 2 ** (attempt - 1)
            self._say(f"attempt {attempt + 1} of {self.attempts} in {wait_s:.0f} s, of what failed")
            time.sleep(wait_s)
            try:
                self._asked(lambda: self.cluster.retry(self.run_id))
            except InputError as refusal:
                self._say(f"no further attempt: {refusal}")
                break
            self._retried_s = time.monotonic()
        return ending

    def _one_attempt(self) -> Ending:
        while True:
            run = self._asked(lambda: self.cluster.state(self.run_id))
            is_over = run.state in ENDED and not self._is_stale(run.finished)
            manifest = self._asked(lambda: self.cluster.workflow(self.run_id))
            seen = workflow.steps(manifest)
            for step in seen:
                self._look_at(step)
            if is_over:
                self._ended_before = run.finished
                message = run.error or manifest.get("status", {}).get("message", "")
                if run.state != "FAILED" or workflow.is_stopped(manifest):  # terminated: it ends as FAILED
                    return Ending(run.state if run.state != "FAILED" else "CANCELED", (), message)
                return Ending("FAILED", tuple(self._failure(step) for step in seen if step.state == "failed"), message)
            if self.timeout_s and time.monotonic() - self._started_s > self.timeout_s:
                return Ending("RUNNING")
            self._meanwhile(seen)
            time.sleep(self.poll_s)

    def _is_stale(self, finished: str) -> bool:
        return finished == self._ended_before != "" and time.monotonic() - self._retried_s < STALE_S

    def _asked(self, call: Callable[[], T]) -> T:
        for _ in attempts(LOST_ANSWERS + 1, self.poll_s, growth=1):
            try:
                return call()
            except RetryError as error:
                lost = error
        raise lost

    def _look_at(self, step: Step) -> None:
        """Say what is new of a step: its end, tries that Kubeflow itself made again, and what it waits for."""
        for number, pod in enumerate(step.pods[:-1], self._tries.get(step.path, 0) + 1):
            if pod.phase in workflow.FAILED and pod.name not in self._spoken_of:
                self._spoken_of.add(pod.name)
                why = self._reason(step, pod).text
                if self._tried_again.get(step.path) != why:  # Kubeflow may try dozens of times
                    self._tried_again[step.path] = why
                    self._say(f"{step.name}, attempt {number}: {why}: Kubeflow tries again")
        if step.pod is not None and step.pod.phase == "Pending":
            self._look_at_waiting(step, step.pod)
        if step.is_kubeflows or step.state in ("waiting", "pending", "running"):
            self._told.pop(step.path, None)
            return
        if self._told.get(step.path) != step.state:
            self._told[step.path] = step.state
            self._say(f"{step.name:{NAME_WIDTH}} {step.state:10} {step.seconds:7.0f} s")

    def _look_at_waiting(self, step: Step, pod: workflow.Pod) -> None:
        since_s = self._waiting_since_s.setdefault(pod.name, time.monotonic())
        if pod.name in self._spoken_of:
            return
        if text := failures.waits_for_image(pod):
            self._spoken_of.add(pod.name)
            self._say(f"{step.name}: {text}")
        elif time.monotonic() - since_s >= PENDING_S:
            self._spoken_of.add(pod.name)
            self._say(f"{step.name} is pending for {PENDING_S:.0f} s: {failures.waits_for_node(pod)}")

    def _failure(self, step: Step) -> Failure:
        """Read now why a step failed: another attempt deletes its pod."""
        self._tries[step.path] = self._tries.get(step.path, 0) + max(len(step.pods), 1)
        for pod in step.pods:  # a pod of the next attempt has the same name
            self._spoken_of.discard(pod.name)
            self._waiting_since_s.pop(pod.name, None)
        self._told.pop(step.path, None)
        why = self._reason(step, step.pod) if step.pod else failures.FailureReason("it never had a pod", 1)
        failure = Failure(step.name, self._tries[step.path], why)
        self._say(str(failure))
        return failure

    def _reason(self, step: Step, pod: workflow.Pod) -> failures.FailureReason:
        try:
            log = self.cluster.log(self.run_id, pod.name)
        except (InputError, RetryError):
            log = ""
        return failures.reason(pod, log)

    def _meanwhile(self, seen: list[Step]) -> None:
        """What goes on, on a terminal at every look, elsewhere after a long silence."""
        working = [step for step in seen if step.state in ("waiting", "pending", "running") and not step.is_kubeflows]
        text = "; ".join(f"{step.name} {step.state} {step.seconds:.0f} s" for step in working) or "starting"
        self.screen.meanwhile(text)
        if not self.screen.is_terminal and time.monotonic() - self._said_s > SILENCE_S:
            self._say(text)

    def _say(self, text: str) -> None:
        self._said_s = time.monotonic()
        self.screen.line(text)
