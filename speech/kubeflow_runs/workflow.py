"""What Argo's Workflow says of a run: its steps, their pods, and what became of each.

Kubeflow makes several nodes of a step: a driver (`train-driver`), which looks into the cache and decides what the pod
gets, and below the node of the step itself an `executor`, whose pod does the work. Each of them, and the whole graph,
is wrapped once more for retries (`train(0)`, `executor(1)`).
"""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

DRIVER, EXECUTOR = "-driver", "executor"
CONTAINER_DRIVER = "system-container-driver"  # the name of its template ends so; other drivers are those of graphs
POD, RETRY = "Pod", "Retry"
FAILED = ("Failed", "Error")
WORKING = ("Pending", "Running")
ATTEMPT = re.compile(r"\(\d+\)$")
ITERATION = re.compile(r"\((\d+):")


@dataclass(frozen=True)
class Pod:
    """One try of a step, or of its driver."""

    name: str
    phase: str  # Pending, Running, Succeeded, Failed, Error
    message: str  # why it waits, or what Kubernetes knows of its end
    started: datetime | None
    limits: dict[str, str] = field(default_factory=dict)  # what it asks for


@dataclass(frozen=True)
class Step:
    """A step of the pipeline at one moment."""

    path: str  # unique in the run
    name: str  # for people
    state: str  # waiting, pending, running, succeeded, cached, failed, canceled
    seconds: float  # from its driver's start to its end, or to now
    pods: tuple[Pod, ...]  # the oldest first; those of the driver until it is done, and if it failed
    is_kubeflows: bool = False  # no step, but what prepares the graph, or a part of it

    @property
    def pod(self) -> Pod | None:
        """The newest one."""
        return self.pods[-1] if self.pods else None


def of_answer(answer: str | bytes) -> dict[str, Any]:
    """The Workflow in what API v1beta1 answers about a run; `{}` before it has begun."""
    manifest = (json.loads(answer).get("pipeline_runtime") or {}).get("workflow_manifest")
    workflow = json.loads(manifest) if manifest else {}
    status = workflow.get("status", {})
    if packed := status.get("compressedNodes"):  # of many nodes
        status["nodes"] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return workflow


def name_of_answer(answer: str | bytes) -> str:
    """The run's name in the same answer; a scheduled run's pods know it from there alone."""
    return str((json.loads(answer).get("run") or {}).get("name") or "")


def steps(workflow: dict[str, Any]) -> list[Step]:
    """The steps that have begun, in the order of their beginning, and what prepares the graph."""
    status = workflow.get("status", {})
    nodes = list((status.get("nodes") or {}).values())
    by_path: dict[str, list[dict[str, Any]]] = {}
    for node in nodes:
        by_path.setdefault(_path(node), []).append(node)
    drivers = [
        path for path, group in by_path.items() if path.endswith(DRIVER) and _whole(group)["type"] in (POD, RETRY)
    ]
    stopped = workflow.get("spec", {}).get("activeDeadlineSeconds") == 0 or bool(
        workflow.get("spec", {}).get("shutdown")
    )
    begun = [_step(workflow, path.removesuffix(DRIVER), by_path, stopped) for path in drivers]
    first = {step.path: min(_time(node) or _now() for node in by_path[step.path + DRIVER]) for step in begun}
    return sorted(begun, key=lambda step: (first[step.path], step.path))


def is_stopped(workflow: dict[str, Any]) -> bool:
    """Whether somebody terminated the run: Kubeflow then takes its time away, and calls it FAILED in the end."""
    spec = workflow.get("spec", {})
    return spec.get("activeDeadlineSeconds") == 0 or bool(spec.get("shutdown"))


def _step(workflow: dict[str, Any], path: str, by_path: dict[str, list[dict[str, Any]]], stopped: bool) -> Step:
    drivers, executors = by_path[path + DRIVER], by_path.get(f"{path}.{EXECUTOR}", [])
    driver, executor = _whole(drivers), _whole(executors)
    decides = driver if driver["phase"] in FAILED or executor is None else executor
    pods = [_pod(workflow, node) for node in (drivers if decides is driver else executors) if node["type"] == POD]
    pods.sort(key=lambda pod: (pod.started or _now(), pod.name))
    cached = any(parameter(node, "outputs", "cached-decision") == "true" for node in drivers)
    state = _state(decides, pods, cached, is_driver=decides is driver)
    around = _whole(by_path.get(path, []))
    if state == "failed" and stopped:
        state = "canceled"
    elif state == "failed" and decides is executor and around and around["phase"] in WORKING:
        state = "pending"  # tried again with the graph around it
    begun = min(_time(node) or _now() for node in drivers)
    ended = _time(decides, "finishedAt") if decides["phase"] not in WORKING else None
    seconds = ((ended or _now()) - begun).total_seconds()
    is_kubeflows = not drivers[0].get("templateName", "").endswith(CONTAINER_DRIVER)
    return Step(path, _name(drivers, path), state, seconds, tuple(pods), is_kubeflows)


def _state(node: dict[str, Any], pods: list[Pod], cached: bool, is_driver: bool) -> str:
    if node["phase"] in FAILED:
        return "failed"
    if cached:
        return "cached"
    if is_driver:
        return "waiting"
    if node["phase"] in WORKING:
        return "pending" if not pods or pods[-1].phase == "Pending" else "running"
    return "succeeded" if node["phase"] == "Succeeded" else "canceled"


def _whole(nodes: list[dict[str, Any]]) -> Any:
    """The node that stands for all tries, or the only one; the newest, where the graph around it was tried again."""
    those = [node for node in nodes if node["type"] == RETRY] or nodes
    return max(those, key=lambda node: (node.get("startedAt") or "", node["name"]), default=None)


def _path(node: dict[str, Any]) -> str:
    """`retrain-x7(0).root(0).train(0).executor(1)` -> `retrain-x7.root.train.executor`."""
    return ".".join(ATTEMPT.sub("", part) for part in node["name"].split("."))


def _name(drivers: list[dict[str, Any]], path: str) -> str:
    """The display name, and of the pods of a loop their number."""
    task = next((text for node in drivers if (text := parameter(node, "inputs", "task"))), "{}")
    name = json.loads(task).get("taskInfo", {}).get("name") or path.rpartition(".")[2]
    iterations = ITERATION.findall(path)
    return f"{name} {'.'.join(str(int(number) + 1) for number in iterations)}" if iterations else name


def parameter(node: dict[str, Any], direction: str, name: str) -> str:
    """The text of one of a node's `inputs` or `outputs`; empty if it has none of that name."""
    parameters = (node.get(direction) or {}).get("parameters") or ()
    return next((entry.get("value", "") for entry in parameters if entry["name"] == name), "")


def _pod(workflow: dict[str, Any], node: dict[str, Any]) -> Pod:
    return Pod(
        f"{workflow['metadata']['name']}-{node['templateName']}-{node['id'].rpartition('-')[2]}",
        node["phase"],
        node.get("message", ""),
        _time(node),
        dict(_limits(node)),
    )


def _limits(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What the driver decided that the pod may use; a limit is a request as well."""
    patch = json.loads(parameter(node, "inputs", "pod-spec-patch") or "{}")
    for container in patch.get("containers", ()):
        resources = container.get("resources") or {}
        yield from {**resources.get("limits", {}), **resources.get("requests", {})}.items()


def _time(node: dict[str, Any], name: str = "startedAt") -> datetime | None:
    text = node.get(name)
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def _now() -> datetime:
    return datetime.now(timezone.utc)
