"""Record what a real Kubeflow Pipelines answers, for the stand-in (tests/fixtures/kfp_server.py) to play back.

    KFP_ENDPOINT=http://... KFP_TEST_IMAGE=... python -m tests.kubeflow.record [SCENARIO ...]

Each scenario is a run that is looked at every half second; answers that say nothing new are left out, and so are the
parts that nobody here reads: the pipeline's specification, and of the Workflow all but its nodes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kfp_server_api

from components import images
from pipelines.cluster.api import ENDED
from speech.kubeflow_runs import workflow
from tests.kubeflow import small_pipelines
from tests.kubeflow.server import Kubeflow, until

FOLDER = images.ROOT / "tests" / "pipelines" / "recorded"
RUN_PARTS = (
    "run_id",
    "display_name",
    "state",
    "error",
    "created_at",
    "finished_at",
    "recurring_run_id",
    "state_history",
)
NODE_PARTS = (
    "id",
    "name",
    "displayName",
    "type",
    "templateName",
    "phase",
    "message",
    "startedAt",
    "finishedAt",
    "children",
)
PARAMETERS = ("task", "pod-spec-patch", "cached-decision", "condition")
MISSING = "127.0.0.1:9/nothing/here:1"

Act = Callable[[Kubeflow, str, str], None]  # the server, the run, its state as it was recorded


def terminate(kubeflow: Kubeflow, run_id: str, state: str) -> None:
    """Stop the run when Work works."""
    if _work(kubeflow, run_id, "running"):
        kubeflow.client.terminate_run(run_id)
        raise StopIteration


def delete_pod(kubeflow: Kubeflow, run_id: str, state: str) -> None:
    """Take the pod of Work away, as a node that is drained does."""
    if step := _work(kubeflow, run_id, "running"):
        subprocess.run(["kubectl", "-n", "kubeflow", "delete", "pod", step.pods[-1].name, "--wait=false"], check=True)
        raise StopIteration


def retry(kubeflow: Kubeflow, run_id: str, state: str) -> None:
    """Try again once."""
    if state == "FAILED":
        kubeflow.cluster.retry(run_id)
        raise StopIteration


def _work(kubeflow: Kubeflow, run_id: str, state: str) -> workflow.Step | None:
    steps = workflow.steps(kubeflow.cluster.workflow(run_id))
    return next((step for step in steps if step.name == small_pipelines.WORK and step.state == state), None)


AWAY = "interrupted: s3://corpora: the object store does not answer"
SCENARIOS: dict[str, tuple[str, dict[str, Any], Act | None, float]] = {  # script, placement, what is done, seconds
    "succeeded": ("echo from work; sleep 8", {}, None, 300),
    "cached": ("echo from work; sleep 8", {}, None, 300),
    "wrong_input": ("echo 'error: --epochs -1 is not allowed: 1 or more' >&2; exit 2", {"retries": 2}, None, 300),
    "passing": (f"echo '{AWAY}' >&2; exit 75", {}, retry, 300),
    "traceback": ("python3 -c '{}[3]'", {}, None, 300),
    "out_of_memory": ("tail /dev/zero", {"memory": "96Mi"}, None, 300),
    "too_long": ("sleep 600", {"timeout_s": 15}, None, 300),
    "no_image": ("true", {"work_image": MISSING}, None, 120),
    "no_node": ("true", {"cpu": "1000", "memory": "64Mi"}, None, 120),
    "terminated": ("sleep 300", {}, terminate, 300),
    "pod_deleted": ("echo working; sleep 20", {"retries": 2}, delete_pod, 300),
    "factor": ("echo working; sleep 20", {"retries": 2, "backoff_factor": 1.5}, delete_pod, 300),
    "driver_failed": ("true", {"cpu_parameter": True}, None, 300),
    "loop": ("[ $1 = a ] || { echo 'error: not b' >&2; exit 2; }", {"loop": True}, None, 300),
    "told_the_pod": ("echo 'exit status 2: error: x' > /dev/termination-log; exit 2", {"retries": 2}, None, 300),
}


def record(kubeflow: Kubeflow, name: str, version: str) -> None:
    """Run a scenario and write tests/pipelines/recorded/NAME.json."""
    script, placement, act, timeout_s = SCENARIOS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = small_pipelines.write(Path(folder, "p.yaml"), kubeflow.image, script, **placement)
        uploaded = kubeflow.cluster.upload(path, f"{kubeflow.name}-{name}")
    parameters = {"version": f"{kubeflow.name} {'succeeded' if name == 'cached' else name}"}  # else nothing is cached
    run_id = kubeflow.cluster.start(uploaded, kubeflow.name, name, parameters)
    frames, logs, is_over = _frames(kubeflow, run_id, act, timeout_s)
    if not is_over:
        kubeflow.client.terminate_run(run_id)
    FOLDER.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(frame, sort_keys=True) for frame in frames)
    head = f'"from": {json.dumps(version)}, "script": {json.dumps(script)}, "logs": {json.dumps(logs)}'
    (FOLDER / f"{name}.json").write_text(f'{{{head}, "frames": [\n{lines}\n]}}\n', encoding="utf-8")
    print(name, len(frames), "frames,", frames[-1]["run"]["state"])


def _frames(
    kubeflow: Kubeflow, run_id: str, act: Act | None, timeout_s: float
) -> tuple[list[dict[str, Any]], dict[str, str], bool]:
    frames: list[dict[str, Any]] = []
    logs: dict[str, str] = {}
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        run = json.loads(kubeflow.cluster._get(f"/apis/v2beta1/runs/{run_id}").data)
        flow = kubeflow.cluster.workflow(run_id)
        frame = {"run": {part: run[part] for part in RUN_PARTS if part in run}, "workflow": trimmed(flow)}
        if not frames or frame != frames[-1]:
            frames.append(frame)
        for step in workflow.steps(flow):
            if step.state == "failed" and step.pod:
                logs[step.pod.name] = kubeflow.cluster.log(run_id, step.pod.name)
        is_over = run["state"] in ENDED
        try:
            if act:
                act(kubeflow, run_id, run["state"])
        except StopIteration:
            act, is_over = None, False
        if is_over and act is None:
            return frames, logs, True
        time.sleep(0.5)
    return frames, logs, False


def trimmed(flow: dict[str, Any]) -> dict[str, Any]:
    """The parts of a Workflow that say what becomes of its steps."""
    if not flow:
        return {}
    spec = {part: flow["spec"][part] for part in ("activeDeadlineSeconds", "shutdown") if part in flow["spec"]}
    status = {part: flow["status"][part] for part in ("phase", "message") if part in flow["status"]}
    nodes = {name: _node(node) for name, node in (flow["status"].get("nodes") or {}).items()}
    return {"metadata": {"name": flow["metadata"]["name"]}, "spec": spec, "status": {**status, "nodes": nodes}}


def _node(node: dict[str, Any]) -> dict[str, Any]:
    kept = {part: node[part] for part in NODE_PARTS if part in node}
    for direction in ("inputs", "outputs") if node["type"] == workflow.POD else ():
        parameters = (node.get(direction) or {}).get("parameters", ())
        texts = {one["name"]: one.get("value", "") for one in parameters if one["name"] in PARAMETERS}
        if patch := texts.pop("pod-spec-patch", ""):
            parts = ("name", "image", "resources")
            containers = [{key: one[key] for key in parts if key in one} for one in json.loads(patch)["containers"]]
            texts["pod-spec-patch"] = json.dumps({"containers": containers})
        if texts:
            kept[direction] = {"parameters": [{"name": name, "value": text} for name, text in texts.items()]}
    return kept


def record_refusals(kubeflow: Kubeflow, version: str) -> None:
    """Write what the server says to calls that it refuses: tests/pipelines/recorded/refusals.json."""
    name = f"{kubeflow.name}-refused"
    with tempfile.TemporaryDirectory() as folder:
        path = small_pipelines.write(Path(folder, "p.yaml"), kubeflow.image, "sleep 60")
        uploaded = kubeflow.cluster.upload(path, name)
        twice = _refused(
            lambda: kubeflow.client.upload_pipeline_version(path, uploaded.name, pipeline_id=uploaded.pipeline_id)
        )

    def start(**parameters: object) -> str:
        return kubeflow.cluster.client.run_pipeline(
            kubeflow.experiment_id(), "refused", params=parameters,
            pipeline_id=uploaded.pipeline_id, version_id=uploaded.version_id,
        ).run_id  # fmt: skip

    running = start()
    until(lambda: kubeflow.cluster.workflow(running))
    answers = {
        "pipeline's name is taken": _refused(lambda: kubeflow.cluster._make_pipeline(name)),
        "version's name is taken": twice,
        "parameter is unknown": _refused(lambda: start(nope=1)),
        "parameter is no text": _refused(lambda: start(version=17.0)),
        "parameter is no number": _refused(lambda: start(epochs="three")),
        "run is unknown": _refused(lambda: kubeflow.client.get_run("no-such-run")),
        "run has not failed": _refused(lambda: kubeflow.client._run_api.run_service_retry_run(running)),
    }
    log = kubeflow.cluster._get(f"/apis/v1alpha1/runs/{running}/nodes/no-such-pod/log").data.decode()
    kubeflow.client.terminate_run(running)
    recorded = {"from": version, "answers": answers, "log of no pod, with status 200": log}
    (FOLDER / "refusals.json").write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


def _refused(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        call()
    except kfp_server_api.ApiException as refusal:
        body = json.loads(refusal.body)
        body.pop("error_details", None)  # a stack
        return {"status": refusal.status, "body": body}
    raise AssertionError("the server let it through")


def main() -> None:
    """Record the scenarios that are named, or all."""
    kubeflow = Kubeflow(os.environ["KFP_ENDPOINT"], os.environ["KFP_TEST_IMAGE"])
    version = os.environ.get("KFP_VERSION", "Kubeflow Pipelines 2.17.0, Argo Workflows 4.0.8, Kubernetes 1.34.4")
    try:
        for name in sys.argv[1:] or [*SCENARIOS, "refusals"]:
            if name == "refusals":
                record_refusals(kubeflow, version)
            else:
                record(kubeflow, name, version)
    finally:
        until(lambda: all(run.state in ENDED for run in kubeflow.runs()) or None, 60)
        kubeflow.remove_everything()


if __name__ == "__main__":
    main()
