"""What a deployment changes about the DAG: pods that import, and who fetches the clips of the training."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.cluster import compiled, deployment
from pipelines.cluster.nightly import nightly
from pipelines.retrain import retrain
from speech.errors import InputError
from tests.pipelines import graph

LOOP_ITEM = "pipelinechannel--loop-item"


def spec(folder: Path, toml: str, pipeline: Any = retrain) -> dict[str, Any]:
    path = folder / "deployment.toml"
    path.write_text(toml)
    return next(yaml.safe_load_all(compiled.to_yaml(pipeline, deployment=deployment.read(path))))


@pytest.mark.parametrize("pipeline", [retrain, nightly], ids=["retrain", "nightly"])
def test_several_pods_import_and_one_merges(tmp_path: Path, pipeline: Any) -> None:
    made = spec(tmp_path, "[steps.import_cv]\nworkers = 3\nmemory = '1Gi'\n", pipeline)
    dags = {name: one["dag"]["tasks"] for name, one in made["components"].items() if "dag" in one}
    tasks = {name: task for dag in (made["root"]["dag"]["tasks"], *dags.values()) for name, task in dag.items()}
    assert "import-cv" not in tasks
    (loop,) = [task for task in tasks.values() if "parameterIterator" in task]
    assert loop["parameterIterator"]["items"]["raw"] == '["1/3", "2/3", "3/3"]'
    assert tasks["import-part"]["inputs"]["parameters"]["partition"]["componentInputParameter"].startswith(LOOP_ITEM)
    (parts,) = tasks["merge-corpus"]["inputs"]["artifacts"].values()
    assert parts["taskOutputArtifact"]["producerTask"].startswith("for-loop")
    assert tasks["train"]["inputs"]["artifacts"]["train_clips"]["taskOutputArtifact"]["producerTask"] == "merge-corpus"
    executors = made["deploymentSpec"]["executors"]
    assert executors["exec-import-part"]["container"]["resources"]["resourceMemoryLimit"] == "1Gi"


def test_a_training_that_streams_is_handed_the_tables_alone(tmp_path: Path) -> None:
    given = graph.of(spec(tmp_path, "[steps.train]\nstreams = true\n"))["train"]["inputs"]
    assert given == {"train_clips": "import-cv.corpus", "dev_clips": "import-cv.corpus"}


def test_only_the_training_streams(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps.evaluate.streams: only in steps.train"):
        spec(tmp_path, "[steps.evaluate]\nstreams = true\n")


def test_a_shape_is_that_of_one_compilation(tmp_path: Path) -> None:
    spec(tmp_path, "[steps.import_cv]\nworkers = 2\n[steps.train]\nstreams = true\n")
    assert graph.of(spec(tmp_path, ""))["train"]["inputs"]["train_clips"] == "import-cv.train_clips"


def test_what_is_published_decides_anew_each_time(tmp_path: Path) -> None:
    tasks = spec(tmp_path, "")["root"]["dag"]["tasks"]
    uncached = [name for name, task in tasks.items() if not task.get("cachingOptions", {}).get("enableCache")]
    assert uncached == ["publish"]


def test_the_ui_draws_an_arrow_only_where_data_flows(tmp_path: Path) -> None:
    """For each name in `dependentTasks` it draws one more; the backend finds the producers of inputs by itself."""
    for pipeline in (retrain, nightly):
        made = spec(tmp_path, "", pipeline)
        dags = [made["root"]["dag"], *(one["dag"] for one in made["components"].values() if "dag" in one)]
        for name, task in (item for dag in dags for item in dag["tasks"].items()):
            assert "dependentTasks" not in task, name
