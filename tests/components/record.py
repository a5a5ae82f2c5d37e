"""Record what Kubeflow's driver hands the steps of finished runs: `python -m tests.components.record WORKFLOW...`.

Reads the pods of the Workflows and writes recorded/executor_inputs.json.
"""

import argparse
import json
import subprocess
from typing import Any

from tests.components.executor_inputs import RECORDED

LAUNCHER = "/kfp-launcher/launch"


def executor_inputs(namespace: str, workflow: str) -> dict[str, Any]:
    """Task -> executor input, in the order in which the tasks' pods were made."""
    query = [
        "kubectl",
        "-n",
        namespace,
        "get",
        "pods",
        "-l",
        f"workflows.argoproj.io/workflow={workflow}",
        "-o",
        "json",
    ]
    pods = json.loads(subprocess.run(query, check=True, capture_output=True, text=True).stdout)["items"]
    found: dict[str, Any] = {}
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"]):
        main = next(one for one in pod["spec"]["containers"] if one["name"] == "main")
        command = [*main.get("command", []), *main.get("args", [])]
        if LAUNCHER not in command:
            continue
        given = json.loads(command[command.index("--executor_input", command.index(LAUNCHER)) + 1])
        task = given["outputs"]["outputFile"].split("/")[-3]
        partition = given["inputs"].get("parameterValues", {}).get("partition", "")
        found[f"{task} {partition}".strip()] = given
    return found


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workflows", nargs="+")
    parser.add_argument("--namespace", default="kubeflow")
    parser.add_argument("--version", required=True, help="of Kubeflow Pipelines")
    given = parser.parse_args()
    inputs: dict[str, Any] = {}
    for workflow in given.workflows:
        for task, one in executor_inputs(given.namespace, workflow).items():
            inputs.setdefault(task, one)  # of the first run that has it
    recorded = {"version": f"Kubeflow Pipelines {given.version}", "inputs": inputs}
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
