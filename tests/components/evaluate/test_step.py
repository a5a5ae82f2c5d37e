"""The evaluate step as a whole: numbers, files, engines, caches."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from components.evaluate import step
from components.evaluate.model.models import open_subject
from components.evaluate.report.markdown import SUMMARY
from components.evaluate.settings import EvaluateSettings
from speech.artifacts import Clips, Evaluation, ExternalScorer
from speech.clips.audio import ClipReader
from speech.clips.manifest import read_manifest
from speech.errors import InputError
from speech.metrics import character_errors, word_errors
from speech.model_files import memmapped_file
from speech.nn.features import batch_features
from tests.components.evaluate.conftest import GEOMETRY, LETTERS
from tests.fixtures.clips import as_clips
from tests.speech.nn.test_model import random_weights, reference

QUIET = EvaluateSettings(report_count=0, bootstrap_samples=200, decoder="greedy")
Command = Callable[..., tuple[int, str, str]]


def independent_transcript(samples: np.ndarray) -> str:
    """float64 numpy from the features on: the network, the best path."""
    features = batch_features(samples[np.newaxis], np.array([len(samples)], np.int32), GEOMETRY)[0].numpy()[0]
    logits = reference(random_weights(GEOMETRY), GEOMETRY, features)
    text, before = "", -1
    for label in logits.argmax(axis=1):
        if label != before and label < len(LETTERS):
            text += LETTERS.symbols[label]
        before = label
    return text


@pytest.fixture(scope="module")
def evaluated(exported: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return step.run(QUIET, exported, [clips / "test.csv", clips / "dev.csv"], tmp_path_factory.mktemp("e") / "out")


@pytest.mark.parametrize("name", ["scores.json", "samples.json", "report.html", "summary.md"])
def test_files_of_others_are_not_replaced(exported: Path, clips: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"wer": 1}')
    with pytest.raises(InputError, match=f"{name} would be replaced, .* give another --evaluation"):
        step.run(QUIET, exported, [clips / "dev.csv"], tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: '{"wer": 1}'}


def test_an_earlier_evaluation_is_replaced(exported: Path, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        step.run(QUIET, exported, [clips / "dev.csv"], tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {*step.NAMES, "notes.txt"}


def test_transcripts_and_rates_are_right(evaluated: Evaluation, clips: Path) -> None:
    samples = json.loads((evaluated.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))
    manifests = [read_manifest(clips / name) for name in ("test.csv", "dev.csv")]
    expected = [
        (clip.transcript, independent_transcript(ClipReader(manifest, 16_000).samples(clip)))
        for manifest in manifests
        for clip in manifest
    ]
    assert [sample["src"] for sample in samples] == [said for said, _ in expected]
    assert [sample["res"] for sample in samples] == [" ".join(heard.split()) for _, heard in expected]
    assert len({heard for _, heard in expected}) > 5  # the model does not answer the same to everything
    words = sum(word_errors(*pair).edits for pair in expected), sum(len(said.split()) for said, _ in expected)
    assert evaluated.scores["wer"] == words[0] / words[1]
    edits = sum(character_errors(sample["src"], sample["res"]).edits for sample in samples)
    assert evaluated.scores["cer"] == edits / sum(len(said) for said, _ in expected)
    assert evaluated.scores["loss"] == pytest.approx(np.mean([sample["loss"] for sample in samples]))


def test_loss_is_tensorflows(evaluated: Evaluation, exported: Path, clips: Path) -> None:
    import tensorflow as tf

    manifest = read_manifest(clips / "test.csv")
    emissions = (
        open_subject(QUIET, exported).runtime().emissions([ClipReader(manifest, 16_000).samples(manifest.clips[2])])
    )
    labels = LETTERS.encode(manifest.clips[2].transcript)[np.newaxis]
    loss = tf.nn.ctc_loss(
        labels=labels,
        logits=np.log(emissions[0])[:, np.newaxis],
        label_length=[labels.shape[1]],
        logit_length=[len(emissions[0])],
        blank_index=len(LETTERS),
    )
    samples = json.loads((evaluated.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))
    assert samples[2]["loss"] == pytest.approx(float(loss[0]), rel=1e-4)


def test_scores_say_what_they_rest_on(evaluated: Evaluation) -> None:
    found = evaluated.scores
    assert found["test_clips"] == 13
    assert [(one["name"], one["test_clips"]) for one in found["sets"]] == [("test", 9), ("dev", 4)]
    assert found["words"] == sum(one["words"] for one in found["sets"]) == 14
    assert found["clips_without_loss"] == 0
    assert found["wer_interval"][0] <= found["wer"] <= found["wer_interval"][1]
    assert sum(group["test_clips"] for group in found["groups"]["duration"]) == 13
    assert set(found["groups"]) == {"duration"}  # nothing is known of the speakers
    assert found["model"]["kind"] == "frozen graph"
    assert len(found["model"]["sha256"]) == 64
    assert found["emissions"]["engine"] == "batch"
    assert found["emissions"]["checked_clips"] == 3
    assert 0 < found["emissions"]["largest_difference"] < 1e-5
    assert found["real_time_factor"] > 0
    assert found["settings"]["text_normalization"] == "spaces"


def test_files_are_exactly_these_and_scores_come_last(evaluated: Evaluation) -> None:
    names = {path.name for path in evaluated.folder.iterdir()}
    assert names == {Evaluation.SCORES, Evaluation.SAMPLES, Evaluation.HTML_REPORT, SUMMARY}
    times = {path.name: path.stat().st_mtime_ns for path in evaluated.folder.iterdir()}
    assert max(times, key=lambda name: times[name]) == Evaluation.SCORES


def test_nothing_complete_is_left_when_writing_fails(
    exported: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise OSError("disk full")

    step.run(QUIET, exported, [clips / "dev.csv"], tmp_path / "out")
    monkeypatch.setattr(step, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        step.run(QUIET, exported, [clips / "dev.csv"], tmp_path / "out")
    with pytest.raises(InputError, match=r"scores\.json is missing"):
        Evaluation.open(tmp_path / "out")


def heard(evaluation: Evaluation) -> list[str]:
    return [
        sample["res"] for sample in json.loads((evaluation.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))
    ]


def test_all_engines_and_formats_hear_the_same(exported: Path, clips: Path, tmp_path: Path) -> None:
    memmapped_file.convert(exported / "output_graph.pb", tmp_path / "m" / "output_graph.pbmm", 100)
    made = [
        step.run(EvaluateSettings(report_count=0, engine=engine), model, [clips / "dev.csv"], tmp_path / str(number))
        for number, (engine, model) in enumerate(
            [
                ("batch", exported),
                ("file", exported / "output_graph.pb"),
                ("auto", tmp_path / "m"),
            ]
        )
    ]
    assert heard(made[0]) == heard(made[1]) == heard(made[2])
    assert [one.scores["emissions"]["engine"] for one in made] == ["batch", "file", "batch"]
    assert [one.scores["loss"] for one in made] == pytest.approx([made[0].scores["loss"]] * 3, rel=1e-5)


def test_the_batch_size_changes_nothing(exported: Path, clips: Path, tmp_path: Path) -> None:
    made = [
        step.run(EvaluateSettings(report_count=0, test_batch_size=size), exported, [clips], tmp_path / str(size))
        for size in (1, 4, 100)
        if (clips / "import_report.json").write_text("{}")  # a corpus folder stands for its test set
    ]
    (clips / "import_report.json").unlink()
    assert heard(made[0]) == heard(made[1]) == heard(made[2])
    assert made[0].scores["loss"] == pytest.approx(made[2].scores["loss"], rel=1e-6)


def test_limit_and_reverse(exported: Path, clips: Path, tmp_path: Path) -> None:
    settings = EvaluateSettings(report_count=0, limit_test=2, reverse_test=True)
    made = step.run(settings, exported, [clips / "test.csv"], tmp_path / "out")
    said = [row["src"] for row in json.loads((made.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))]
    assert said == [clip.transcript for clip in read_manifest(clips / "test.csv")][:-3:-1]


def test_cached_emissions_are_used_and_give_the_same(exported: Path, clips: Path, tmp_path: Path) -> None:
    settings = EvaluateSettings(report_count=0, emission_cache=str(tmp_path / "cache"), test_batch_size=3)
    first = step.run(settings, exported, [clips / "test.csv"], tmp_path / "1")
    second = step.run(settings, exported, [clips / "test.csv", clips / "dev.csv"], tmp_path / "2")
    third = step.run(settings, exported, [clips / "test.csv"], tmp_path / "3")
    cached = [one.scores["emissions"]["cached_clips"] for one in (first, second, third)]
    assert cached == [0, 9, 9]
    assert third.scores["emissions"]["engine"] == "cache"
    assert third.scores["real_time_factor"] is None
    assert third.scores["loss"] == first.scores["loss"]
    assert heard(third) == heard(first) == heard(second)[:9]


def test_a_graph_that_is_not_its_weights_is_refused(exported: Path, clips: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString((exported / "output_graph.pb").read_bytes())
    next(node for node in graph.node if node.name == "Relu_3").op = "Elu"
    other = tmp_path / "other.pb"
    other.write_bytes(graph.SerializeToString())
    with pytest.raises(InputError, match=r"differ by .* in probability.*--engine file"):
        step.run(QUIET, other, [clips / "dev.csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made = step.run(EvaluateSettings(report_count=0, engine="file"), other, [clips / "dev.csv"], tmp_path / "out")
    assert made.scores["emissions"]["engine"] == "file"


def test_references_that_the_model_cannot_write(exported: Path, clips: Path, tmp_path: Path) -> None:
    rows = (clips / "test.csv").read_text(encoding="utf-8").splitlines()
    wavs = [f"{clips}/{row}" for row in rows[1:4]]
    wavs[0] = wavs[0].replace(f",{wavs[0].split(',')[2]},", ",xyz,")  # letters that the alphabet lacks
    wavs[1] = wavs[1].replace(f",{wavs[1].split(',')[2]},", f",{'abcd' * 100},")  # more than its frames can carry
    wavs[2] = wavs[2].replace(f",{wavs[2].split(',')[2]},", ",,")  # nothing said
    (tmp_path / "odd.csv").write_text("\n".join([rows[0], *wavs]), encoding="utf-8")
    with pytest.raises(InputError, match=r"the model cannot write 1 of 3 transcripts .* alphabet lacks 'x' 'y' 'z'"):
        step.run(QUIET, exported, [tmp_path / "odd.csv"], tmp_path / "out")
    made = step.run(replace(QUIET, allow_skipped="1"), exported, [tmp_path / "odd.csv"], tmp_path / "out")
    samples = json.loads((made.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))
    assert [sample["loss"] is None for sample in samples] == [True, True, False]
    assert made.scores["clips_without_loss"] == 2
    assert made.scores["loss"] == samples[2]["loss"] > 0
    assert samples[2]["word_length"] == 0


def test_run_on_clips_and_headline(exported: Path, clips: Path, tmp_path: Path) -> None:
    artifacts = [Clips.open(as_clips(shutil.copytree(clips, tmp_path / name), name)) for name in ("test", "dev")]
    made = step.run_on_clips(QUIET, exported, artifacts, "dev, test", tmp_path / "out")
    assert [one["name"] for one in made.scores["sets"]] == ["dev", "test"]
    assert set(step.headline(made)) == {"wer", "cer", "loss", "test_clips", "real_time_factor", "clips_left_out"}
    with pytest.raises(InputError, match="no set 'other' in the clips of this step: expected test or dev"):
        step.run_on_clips(QUIET, exported, artifacts, "test,other", tmp_path / "out")
    assert step.without_dev("dev, test", artifacts[0]) == "test"
    with pytest.raises(InputError, match="the dev set alone"):
        step.without_dev("dev", artifacts[0])


def test_component_hands_over_files_and_metrics(exported: Path, clips: Path, tmp_path: Path) -> None:
    from components.evaluate.component import evaluate

    dev = SimpleNamespace(path=str(as_clips(shutil.copytree(clips, tmp_path / "dev"), "dev")))
    logged: dict[str, float] = {}
    names = ("evaluation", "report", "tuned_scorer")
    artifacts = {name: SimpleNamespace(path=str(tmp_path / name), uri=str(tmp_path / name)) for name in names}
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / ExternalScorer.NONE).write_text("")
    evaluate.python_func(
        model=SimpleNamespace(path=str(exported)),
        test_clips=dev,
        dev_clips=dev,
        scorer=SimpleNamespace(path=str(tmp_path / "none")),
        metrics=SimpleNamespace(log_metric=logged.__setitem__),
        test_sets="dev",
        report_count=0,
        n_trials=5,  # no scorer, no search
        extra_flags="--confidence 0.8 --reverse_test",
        **artifacts,
    )
    made = Evaluation.open(tmp_path / "evaluation")
    assert logged == step.headline(made)
    assert logged["test_clips"] == 4
    assert ExternalScorer.find(tmp_path / "tuned_scorer") is None
    assert made.scores["without_scorer"] == {}
    assert made.scores["settings"]["confidence"] == 0.8
    assert (tmp_path / "report").read_bytes() == (made.folder / Evaluation.HTML_REPORT).read_bytes()
