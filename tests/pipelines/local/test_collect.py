"""The results of a run in one folder with plain names, and the summary of them."""

import json
from pathlib import Path

import pytest
from kfp import dsl

from pipelines.local import collect, results
from pipelines.local.runners import LocalRun
from speech.artifacts import ExportedModel, describe_files, write_sidecar
from speech.storage.files import sha256, write_json

SAMPLES = [
    {"wav_filename": "clips/a.wav", "src": "one two", "res": "one too"},
    {"wav_filename": "clips/b.wav", "src": "three four five", "res": "three four fife"},
]


def exported(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(data)
    (folder / "alphabet.txt").write_text(" \na\n")
    files = describe_files(folder, [name, "alphabet.txt"])
    write_sidecar(folder, "model.json", {"geometry": {"n_hidden": 4, "n_labels": 2}, "files": files})
    return folder


def evaluation(folder: Path, heard: str, wer: float) -> Path:
    write_json(folder / "samples.json", [SAMPLES[0], {**SAMPLES[1], "res": heard}])
    write_json(folder / "scores.json", {"wer": wer, "cer": wer / 2, "loss": 3.0, "test_clips": 2})
    (folder / "report.html").write_text("<html>")
    return folder


def scorer(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "kenlm.scorer").write_bytes(b"scorer")
    write_sidecar(folder, "scorer.json", {"files": describe_files(folder, ["kenlm.scorer"])})
    return folder


@pytest.fixture
def run(tmp_path: Path) -> LocalRun:
    """A run with small artifacts."""
    base = tmp_path / "runs"
    corpus, checkpoint, published = base / "corpus", base / "checkpoint", base / "published"
    write_json(
        corpus / "import_report.json",
        {
            "sets": {"train": {"clips": 7}, "dev": {"clips": 1}, "test": {"clips": 2}},
            "reasons": {"empty": {"count": 2}, "too_long": {"count": 1}},
        },
    )
    (corpus / "alphabet.txt").write_text(" \na\n")
    clips = {split: base / f"{split}_clips" for split in ("train", "dev", "test")}
    for split, folder in clips.items():
        (folder / "shards").mkdir(parents=True)
        (folder / "shards" / f"{split}-00000.tar").write_bytes(b"tar")
        (folder / f"{split}.csv").write_text("csv")
        write_json(folder / "sets.json", {"sets": [split]})
    write_json(corpus / "places.json", {split: str(folder) for split, folder in clips.items()})
    epochs = [{"epoch": 0, "train_loss": 90.0, "dev_loss": 80.0}, {"epoch": 1, "train_loss": 9.0, "dev_loss": 8.0}]
    best = {"recipe": "small-data", "best_by": "wer", "best_dev_loss": 8.0, "best_dev_wer": 0.25, "best_dev_cer": 0.1}
    write_json(checkpoint / "history.json", {**best, "epochs": epochs})
    (published / "v1").mkdir(parents=True)
    (published / "v1" / "version.json").write_text("{}")
    version = dsl.Model(uri=str(published), metadata={"version": "v1", "uri": f"{published}/v1"})
    graph = evaluation(base / "evaluation", "three four fife", 0.4)

    def artifact(path: Path) -> dsl.Artifact:
        return dsl.Artifact(uri=str(path))

    return LocalRun(
        outputs={
            "import_cv": {
                "corpus": artifact(corpus),
                **{f"{split}_clips": artifact(folder) for split, folder in clips.items()},
            },
            "train": {"checkpoint": artifact(checkpoint)},
            "freeze": {"model": artifact(exported(base / "model", "output_graph.pb", b"graph"))},
            "convert_tflite": {"tflite": artifact(exported(base / "tflite", "output_graph.tflite", b"tflite"))},
            "convert_mmap": {"mapped": artifact(exported(base / "mapped", "output_graph.pbmm", b"mapped"))},
            "convert_openvino": {"ir": artifact(exported(base / "ir", "output_graph.xml", b"<net/>"))},
            "evaluate": {
                "evaluation": artifact(graph),
                "report": artifact(graph / "report.html"),
                "tuned_scorer": artifact(scorer(base / "scorer")),
            },
            "evaluate_openvino": {"evaluation": artifact(evaluation(base / "other", "three four five", 0.2))},
            "publish": {"published": version},
        },
        seconds={"train": 41.25},
        cached=["import_cv"],
    )


def test_everything_has_its_plain_name(run, tmp_path) -> None:
    folder = tmp_path / "out"
    collect.collect(run.outputs, folder)
    assert {path.relative_to(folder).as_posix() for path in collect.files(folder)} == {
        "checkpoint/history.json",
        "corpus/alphabet.txt",
        "corpus/import_report.json",
        "corpus/dev.csv",
        "corpus/shards/dev-00000.tar",
        "corpus/shards/test-00000.tar",
        "corpus/shards/train-00000.tar",
        "corpus/test.csv",
        "corpus/train.csv",
        "model/alphabet.txt",
        "model/model.json",
        "model/output_graph.pb",
        "model/output_graph.pbmm",
        "model/output_graph.tflite",
        "openvino/alphabet.txt",
        "openvino/model.json",
        "openvino/output_graph.xml",
        "published/v1/version.json",
        "report.html",
        "scorer/kenlm.scorer",
        "scorer/scorer.json",
    }
    shard = Path("shards", "train-00000.tar")
    source = Path(run.outputs["import_cv"]["train_clips"].path)
    assert (folder / "corpus" / shard).samefile(source / shard)
    assert ExportedModel.open(folder / "model").sidecar["files"].keys() == {
        "alphabet.txt", "output_graph.pb", "output_graph.pbmm", "output_graph.tflite"
    }  # fmt: skip


def test_collecting_again_replaces_what_is_there_and_keeps_published_versions(run, tmp_path) -> None:
    folder = tmp_path / "out"
    collect.collect(run.outputs, folder)
    without = Path(run.outputs["evaluate"]["tuned_scorer"].path)
    (without / "scorer.json").rename(without / "none.txt")
    (folder / "model" / "stale.txt").write_text("from an earlier run")
    (folder / "corpus" / "alphabet.txt").unlink()
    published = Path(run.outputs["publish"]["published"].path)
    (published / "v1").rename(published / "v2")
    collect.collect(run.outputs, folder)
    assert not (folder / "model" / "stale.txt").exists()
    assert (folder / "corpus" / "alphabet.txt").is_file()
    assert sorted(path.name for path in (folder / "published").iterdir()) == ["v1", "v2"]
    assert not list(folder.glob(".*"))


def test_on_another_file_system_files_are_copied(run, tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr(collect.os, "link", refuse)
    collect.collect(run.outputs, tmp_path / "out")
    assert (tmp_path / "out" / "model" / "output_graph.pb").read_bytes() == b"graph"


def test_the_summary_carries_the_facts(run, tmp_path) -> None:
    folder = tmp_path / "out"
    collect.collect(run.outputs, folder)
    facts = results.gather(run, folder)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["wer"], facts["cer"], facts["test_clips"]) == (0.4, 0.2, 2)
    assert facts["clips"] == {
        "imported": {"train": 7, "dev": 1, "test": 2},
        "refused": {"empty": 2, "too_long": 1},
    }
    assert facts["heard"] == {
        "wav_filename": "clips/b.wav",
        "reference": "three four five",
        "frozen_graph": "three four fife",
        "openvino": "three four five",
    }
    assert facts["seconds"] == {"train": 41.25}
    assert facts["published"] == {"version": "v1", "uri": str(folder / "published" / "v1")}
    for name in ("model/output_graph.pb", "model/output_graph.pbmm", "openvino/output_graph.xml"):
        path = folder / name
        assert facts["files"][name] == {"bytes": path.stat().st_size, "sha256": sha256(path)}


def test_a_version_that_went_elsewhere_is_named_there(run, tmp_path) -> None:
    folder = tmp_path / "out"
    collect.collect(run.outputs, folder)
    run.outputs["publish"]["published"].metadata.update(version="v2", uri="s3://models/cy/v2")
    facts = results.gather(run, folder)
    assert facts["published"] == {"version": "v2", "uri": "s3://models/cy/v2"}
    assert "s3://models/cy/v2" in results.text(facts, folder)


def test_the_text_says_it_all(run, tmp_path) -> None:
    folder = tmp_path / "out"
    collect.collect(run.outputs, folder)
    text = results.text(results.gather(run, folder), folder)
    for said in (
        "10 imported: 7 train, 1 dev, 2 test",
        "3 refused: 2 empty, 1 too long",
        "2 epochs in 41 s, recipe small-data: train loss 90.00 -> 9.00, best epoch by wer: dev loss 8.00, WER 25.0%",
        "WER  40.0%",
        "WER  20.0%",
        "three four fife",
        str(folder / "model" / "output_graph.pbmm"),
        str(folder / "report.html"),
    ):
        assert said in text
    assert max(map(len, text.splitlines())) < 200
