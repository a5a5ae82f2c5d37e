"""The pipeline's graph as text that can be reviewed: which step hands what to which.

`python -m tests.pipelines.graph` writes retrain.graph.json anew and prints how many artifacts and edges the UI draws.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.fixtures import compiled_pipeline

PATH = Path(__file__).with_name("retrain.graph.json")


def of(spec: dict[str, Any]) -> dict[str, Any]:
    """Step -> its input artifacts, by where they come from, and its output artifacts, by type."""
    found = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        outputs = spec["components"][task["componentRef"]["name"]].get("outputDefinitions", {}).get("artifacts", {})
        found[name] = {
            "inputs": {key: _source(value) for key, value in task.get("inputs", {}).get("artifacts", {}).items()},
            "outputs": {key: value["artifactType"]["schemaTitle"] for key, value in outputs.items()},
        }
    return found


def _source(value: dict[str, Any]) -> str:
    output = value["taskOutputArtifact"]
    return f"{output['producerTask']}.{output['outputArtifactKey']}"


if __name__ == "__main__":
    graph = of(next(yaml.safe_load_all(compiled_pipeline.text())))
    PATH.write_text(json.dumps(graph, indent=2) + "\n", encoding="utf-8")
    counts = {kind: sum(len(step[kind]) for step in graph.values()) for kind in ("outputs", "inputs")}
    print(f"{len(graph)} steps, {counts['outputs']} artifacts, {counts['inputs']} edges from artifacts to steps")
