"""Every component as Kubeflow's launcher calls it, with the executor inputs that the driver writes."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from kfp.dsl import executor
from kfp.dsl.types import artifact_types

from components.build_scorer.component import build_scorer
from components.convert_openvino.component import convert_openvino
from components.evaluate.component import evaluate, evaluate_openvino
from components.export.component import convert_mmap, convert_tflite, freeze
from components.import_cv.component import import_cv, import_part, merge_corpus
from components.publish.component import publish
from components.train.component import train
from speech.artifacts import Checkpoint, Clips, Corpus, Evaluation, ExportedModel, IntermediateRepresentation
from tests.components.executor_inputs import mounted_at, recorded
from tests.fixtures.tones import speak

COMPONENTS = {
    "import-cv": import_cv, "train": train, "freeze": freeze, "convert-mmap": convert_mmap,
    "convert-tflite": convert_tflite, "convert-openvino": convert_openvino, "build-scorer": build_scorer,
    "evaluate": evaluate, "evaluate-openvino": evaluate_openvino, "publish": publish, "import-part 1/2": import_part,
    "import-part 2/2": import_part, "merge-corpus": merge_corpus,
}  # fmt: skip
SENTENCES = {"train": ("a b", "b ca", "da c", "c dd ab"), "dev": ("a d", "bc a"), "test": ("d a", "cab")}
Outputs = dict[str, Any]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a release in the language of the tones."""
    folder = tmp_path_factory.mktemp("release") / "cv-corpus-1.0" / "xx"
    (folder / "clips").mkdir(parents=True)
    for name, sentences in SENTENCES.items():
        rows = ["client_id\tpath\tsentence"]
        for number, sentence in enumerate(sentences):
            soundfile.write(folder / "clips" / f"{name}_{number}.mp3", speak(sentence, number), 16_000, format="MP3")
            rows.append(f"{name}\t{name}_{number}.mp3\t{sentence}")
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    with tarfile.open(folder.parent.parent / "release.tar.gz", "w:gz") as tar:
        tar.add(folder.parent, folder.parent.name)
    return folder.parent.parent / "release.tar.gz"


@pytest.fixture(scope="module")
def run(release: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outputs]:
    """Task -> what its function told the launcher, of a run of all of them one after the other."""
    root = tmp_path_factory.mktemp("pod")
    chosen = {
        **{"corpus_uri": str(release), "n_hidden": 16, "epochs": 1, "train_batch_size": 2, "precision": "f32"},
        **{"publish_uri": "", "champion_of": "", "build_scorer": False},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifact_types, "_MINIO_LOCAL_MOUNT_PREFIX", f"{root}/minio/")
        return {name: _execute(COMPONENTS[name].python_func, given, chosen, root) for name, given in recorded().items()}


def _execute(function: Callable[..., None], given: dict[str, Any], chosen: dict[str, Any], root: Path) -> Outputs:
    """Run one step on its recorded input, with other values for some of its parameters."""
    given = mounted_at(given, root)
    values = given["inputs"].get("parameterValues", {})
    values |= {name: value for name, value in chosen.items() if name in values}
    written = executor.Executor(executor_input=given, function_to_execute=function).execute()
    assert written is not None
    told = json.loads(Path(written).read_text(encoding="utf-8"))["artifacts"]
    return {name: one["artifacts"][0] for name, one in told.items()} | {"folder": Path(written).parent}


def place(run: dict[str, Outputs], task: str, name: str) -> Path:
    return run[task]["folder"] / name


def test_every_component_of_the_pipeline_is_here() -> None:
    assert recorded().keys() == COMPONENTS.keys()


def test_input_artifacts_are_as_the_driver_hands_them_over() -> None:
    for given in recorded().values():
        for artifacts in given["inputs"].get("artifacts", {}).values():
            assert all(
                one["type"] == {"instanceSchema": ""} and one["name"].isdigit() for one in artifacts["artifacts"]
            )


def test_every_step_leaves_its_artifacts_where_the_launcher_takes_them(run: dict[str, Outputs]) -> None:
    for name in ("import-cv", "merge-corpus"):
        assert Corpus.open(place(run, name, "corpus")).report["audio"]["clips"] == 8
        for split, sentences in SENTENCES.items():
            clips = Clips.open(place(run, name, f"{split}_clips"))
            assert clips.sets == [split]
            assert len(clips.csv(split).read_text().splitlines()) == 1 + len(sentences)
    Checkpoint.open(place(run, "train", "checkpoint"))
    for task, name in (("freeze", "model"), ("convert-mmap", "mapped"), ("convert-tflite", "tflite")):
        ExportedModel.open(place(run, task, name))
    IntermediateRepresentation.open(place(run, "convert-openvino", "ir"))
    for task in ("evaluate", "evaluate-openvino"):
        assert Evaluation.open(place(run, task, "evaluation")).scores["test_clips"] == 2
    (version,) = place(run, "publish", "published").iterdir()
    assert {"output_graph.pb", "model_card.json", "version.json"} <= {path.name for path in version.iterdir()}


def test_what_the_ui_shows_is_told(run: dict[str, Outputs]) -> None:
    assert set(run["evaluate"]["metrics"]["metadata"]) >= {"wer", "cer", "loss", "test_clips"}
    assert set(run["train"]["metrics"]["metadata"]) >= {"epochs", "best_dev_loss", "train_loss"}
    assert run["import-cv"]["corpus"]["metadata"]["train_clips"] == 4
    assert run["convert-openvino"]["ir"]["metadata"]["dev_clips"] == 2
    for task, kind in (("import-cv", "<html"), ("train", "<html"), ("evaluate", "<html"), ("publish", "## ")):
        assert kind in place(run, task, "report").read_text(encoding="utf-8")
    assert "# model 0.0.1" in place(run, "publish", "report").read_text(encoding="utf-8")


def test_the_checkpoint_that_the_steps_behind_the_training_fetch_holds_the_best_alone(run: dict[str, Outputs]) -> None:
    folder = place(run, "train", "checkpoint")
    (bundle,) = folder.glob("*.index")
    for state in (Checkpoint.LAST, Checkpoint.BEST):
        assert (folder / state).read_text() == (
            f'model_checkpoint_path: "{bundle.stem}"\nall_model_checkpoint_paths: "{bundle.stem}"\n'
        )


def test_a_corpus_says_where_its_clips_are(run: dict[str, Outputs]) -> None:
    places = Corpus.open(place(run, "import-cv", "corpus")).places
    assert places == {name: run["import-cv"][f"{name}_clips"]["uri"] for name in SENTENCES}
    assert all(uri.startswith("minio://") for uri in places.values())
