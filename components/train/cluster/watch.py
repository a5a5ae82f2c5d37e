"""Waiting for a TrainJob: what becomes of its nodes, what its chief says, and how it ends."""

import contextlib
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from components.train.cluster.jobs import API_VERSION, FILES, INDEX_LABEL, NODE, RUNTIME, owners_of
from components.train.cluster.kubernetes_api import ApiError, KubernetesApi
from components.train.interruption import Interruption
from speech.errors import EXIT_INPUT, InputError, RetryError

POLL_S = 5.0
PATIENCE_S = 900.0  # how long the API server may be away; the job does not need it
CRASHED = (1, EXIT_INPUT)  # exit codes that another attempt would end with, too; the runtime gives up on them
LAST_LINES = "20"


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the API server answers about a job into one line that says what to do."""
    try:
        yield
    except ApiError as error:
        raise explanation(name, error) from error


def explanation(name: str, error: ApiError) -> Exception:
    """What an answer of the API server means: InputError, or RetryError where another attempt can help."""
    message = f"TrainJob {name}: {error}"
    if error.temporary:
        return RetryError(f"{message}: the API server of Kubernetes does not answer")
    if "admission webhook" in str(error):
        return InputError(f"{message}: is the TrainingRuntime {RUNTIME} there? {FILES}/runtime.yaml")
    if error.status in (401, 403):
        return InputError(f"{message}: apply {FILES}/rbac.yaml for the service account of the pipeline")
    if error.status == 404:
        return InputError(
            f"{message}: this cluster knows no {API_VERSION}: install Kubeflow Trainer 2.2 or newer, or leave "
            "train_workers at 1"
        )
    return InputError(message)


def state(job: dict[str, Any]) -> str:
    """`Complete`, `Failed`, `Suspended` or, while it runs or waits for machines, the empty string."""
    return next(
        (
            condition["type"]
            for condition in _conditions(job)
            if condition["type"] in ("Complete", "Failed", "Suspended")
        ),
        "",
    )


def _conditions(thing: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        condition for condition in thing.get("status", {}).get("conditions", []) if condition.get("status") == "True"
    ]


def until_gone(cluster: KubernetesApi, name: str, seconds: float = 300.0) -> None:
    """Wait until a deleted job has made room for another of the same name."""
    deadline = time.monotonic() + seconds
    while cluster.job(name) is not None:
        if time.monotonic() > deadline:
            raise RetryError(f"TrainJob {name} was deleted, but is still there after {seconds:g} s")
        time.sleep(0.2)


def until_done(
    cluster: KubernetesApi, name: str, n_nodes: int, interruption: Interruption, mine: Sequence[dict[str, Any]] = ()
) -> None:
    """Relay what happens until the job is complete. `mine` is the workflow that this pod belongs to, if any.

    Raises InputError or RetryError when it failed, and RetryError on SIGTERM or when the run is terminated, which
    deletes the job. Argo takes about 10 s from a run's termination to SIGTERM, and 0.1 s after that are too few for two
    calls on a busy node: so that is asked for all the time.
    """
    relay = Relay(cluster, name, n_nodes)
    known: dict[str, Any] | None = None  # the job as it was seen last
    answered = time.monotonic()
    while not interruption.wait(POLL_S):
        try:
            job = cluster.job(name)
            relay.update()
            answered = time.monotonic()
        except ApiError as error:
            if not error.temporary:
                raise explanation(name, error) from error
            if time.monotonic() - answered > PATIENCE_S:
                raise RetryError(
                    f"TrainJob {name}: no answer from the API server for {PATIENCE_S:g} s ({error}); the job goes on"
                ) from error
            continue
        if job is None:
            raise RetryError(f"TrainJob {name} was deleted by somebody else; its checkpoints are there")
        if state(job) == "Complete":
            print(f"TrainJob {name}: complete", flush=True)
            return
        if state(job) == "Failed":
            raise _failure(cluster, name, job, relay.chief)
        relay.say("suspended, by a queue or a person" if state(job) else relay.describe())
        known = job
        with contextlib.suppress(ApiError):  # no role for it, or no answer: SIGTERM remains
            if mine and cluster.run_ends(mine[0]):
                raise _stopped("the run is terminated", cluster, name, known, mine)
    raise _stopped("SIGTERM", cluster, name, known, mine)


class Relay:
    """Prints the lines of the chief's log, and a line whenever the nodes' state changes."""

    def __init__(self, cluster: KubernetesApi, name: str, n_nodes: int) -> None:
        self.cluster, self.name, self.n_nodes = cluster, name, n_nodes
        self.pods: list[dict[str, Any]] = []
        self.chief = ""  # the pod's name; another one after a restart
        self._printed = ""  # time stamp of the newest line that was printed
        self._said = ""

    def update(self) -> None:
        """Look at the pods, and print what is new in the chief's log."""
        self.pods = self.cluster.pods_of(self.name)
        chiefs = [pod for pod in self.pods if _index(pod) == 0 and pod.get("status", {}).get("phase") != "Pending"]
        if not chiefs:
            return
        newest = max(chiefs, key=lambda pod: pod["metadata"].get("creationTimestamp", ""))["metadata"]["name"]
        if newest != self.chief:
            self.chief, self._printed = newest, ""
        since = {"sinceTime": f"{self._printed[:19]}Z"} if self._printed else {}
        try:
            log = self.cluster.log(self.chief, NODE, timestamps="true", **since)
        except ApiError as error:
            if error.temporary:
                raise
            return  # there is none yet, or none any more
        for line in log.splitlines():
            stamp, _, text = line.partition(" ")
            if _comparable(stamp) > _comparable(self._printed):
                print(text, flush=True)
                self._printed = stamp

    def describe(self) -> str:
        """How many nodes are in which phase, and why one does not start."""
        newest = {_index(pod): pod for pod in sorted(self.pods, key=lambda pod: pod["metadata"]["creationTimestamp"])}
        phases = Counter(pod.get("status", {}).get("phase", "Pending").lower() for pod in newest.values())
        phases["not created yet"] = max(0, self.n_nodes - len(newest))
        shown = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()) if count)
        reasons = sorted({reason for pod in newest.values() if (reason := _waits_for(pod))})
        return f"nodes: {shown}" + (f" ({'; '.join(reasons)})" if reasons else "")

    def say(self, text: str) -> None:
        """A line about the job, unless it was the last one said."""
        if text != self._said:
            print(f"TrainJob {self.name}: {text}", flush=True)
            self._said = text


def _index(pod: dict[str, Any]) -> int:
    return int(pod["metadata"].get("labels", {}).get(INDEX_LABEL, -1))


def _comparable(stamp: str) -> tuple[str, str]:
    """Of an RFC 3339 time: what comes before the fraction of the second, and nine digits of that."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return whole, fraction.ljust(9, "0")


def _waits_for(pod: dict[str, Any]) -> str:
    """Why a pod does not start; empty if it does."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason", "ContainerCreating") not in ("ContainerCreating", "PodInitializing"):
            return waiting["reason"]
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return condition.get("message") or condition.get("reason", "")
    return ""


def _failure(cluster: KubernetesApi, name: str, job: dict[str, Any], chief: str) -> Exception:
    """What a failed job comes to, with the last words of the node that is to blame."""
    condition = next(condition for condition in _conditions(job) if condition["type"] == "Failed")
    reason = ": ".join(text for text in (condition.get("reason"), condition.get("message")) if text)
    ends = []
    with contextlib.suppress(ApiError):
        ends = sorted((_exit_code(pod), _index(pod), pod["metadata"]["name"]) for pod in cluster.pods_of(name))
    crashed = [end for end in ends if end[0] in CRASHED]
    if not crashed:
        codes = ", ".join(f"node {index} with {code}" for code, index, _ in ends if code) or "none known"
        return RetryError(
            f"TrainJob {name} failed ({reason}; exit codes: {codes}); another attempt goes on from the last checkpoint"
        )
    code, index, pod = crashed[-1]  # an error of the input rather than a crash that it caused elsewhere
    lines: list[str] = []
    with contextlib.suppress(ApiError):
        lines = cluster.log(pod, NODE, tailLines=LAST_LINES).splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return InputError(f"TrainJob {name}, node {index}: {errors[-1].removeprefix('error: ')}")
    if pod != chief:
        print("\n".join(lines), file=sys.stderr, flush=True)
    last = next((line for line in reversed(lines) if re.search(r"\S", line)), reason)
    return InputError(f"TrainJob {name}, node {index} ended with exit code {code}: {last.strip()}")


def _exit_code(pod: dict[str, Any]) -> int:
    """The exit code of the node's container; 0 while it runs."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        if container.get("name") == NODE:
            return int(container.get("state", {}).get("terminated", {}).get("exitCode", 0))
    return 0


def _stopped(
    why: str, cluster: KubernetesApi, name: str, job: dict[str, Any] | None, mine: Sequence[dict[str, Any]]
) -> RetryError:
    """Delete the job if the run is terminated. If only this pod has to go, a retry will look for the job.

    A step of Kubeflow Pipelines lives 0.1 s after SIGTERM: as few questions as possible, and nothing that waits.
    """
    if mine and job is not None and (owners := owners_of(job)) and owners != list(mine):
        return RetryError(f"{why}: TrainJob {name} goes on, as it belongs to {owners[0]['name']} now")
    if not _run_ends(cluster, mine):
        return RetryError(f"{why}: only this pod has to go: TrainJob {name} goes on, and a retry waits for it again")
    try:
        cluster.delete_job(name, job["metadata"].get("uid", "") if job else "")
    except ApiError as error:
        return RetryError(f"{why}: TrainJob {name} could not be deleted ({error}): `kubectl delete trainjob {name}`")
    return RetryError(f"{why}: deleted TrainJob {name}; another run goes on from its last checkpoint")


def _run_ends(cluster: KubernetesApi, mine: Sequence[dict[str, Any]]) -> bool:
    """Whether the run is terminated, as opposed to this pod being preempted, drained or deleted."""
    with contextlib.suppress(ApiError):
        if mine:
            return cluster.run_ends(mine[0])
    with contextlib.suppress(ApiError):  # no workflow, or it must not be read
        return all(condition["type"] != "DisruptionTarget" for condition in _conditions(cluster.own_pod()))
    return True
