"""What Kubeflow's driver hands a step, as `recorded/executor_inputs.json` has it.

The driver names an input artifact by its number, gives it no type (`"instanceSchema": ""`) and adds metadata of its
own; kfp.local does otherwise in all three.
"""

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded" / "executor_inputs.json"


def recorded() -> dict[str, dict[str, Any]]:
    """Task -> executor input, in the order of the run."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))["inputs"]


def mounted_at(executor_input: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same with the file that the launcher reads below `folder` instead of below /."""
    outputs = executor_input["outputs"]
    return {**executor_input, "outputs": {**outputs, "outputFile": f"{folder}{outputs['outputFile']}"}}
