"""`speechmill models`: what it prints of the versions in a folder and in a bucket, and the way back."""

import json
import os
from pathlib import Path

import pytest

from components.publish import step
from components.publish.history import models
from components.publish.model_bucket import open_target
from components.publish.settings import PublishSettings
from pipelines import __main__ as speechmill
from speech.artifacts import Evaluation
from speech.storage.files import write_json

CLIPS = 200
WORSE = [1 if number % 2 else 0 for number in range(CLIPS)]  # a WER of 25 %
BETTER = [0] * 100 + WORSE[100:]


@pytest.fixture
def publish(make_artifacts, target, tmp_path):
    """publish(name, edits, learning_rate, **scores): a version with all the facts that a pipeline leaves."""

    def publish(name: str, edits: list[int], learning_rate: float = 0.001, **scores) -> step.PublishedVersion:
        artifacts = make_artifacts(name.encode(), edits)
        path = artifacts["evaluation"] / Evaluation.SCORES
        write_json(path, {**json.loads(path.read_text()), "test_clips": len(edits), **scores})
        card = tmp_path / f"card-{name}"
        card.mkdir()
        training = {"train_clips": 1000 + len(name), "settings": {"learning_rate": learning_rate, "epochs": 3}}
        facts = {"data": {"release": f"cv-corpus-{name}", "sets": {"train": {"clips": 1000, "hours": 1.5}}}}
        write_json(card / "model_card.json", {"training": training, **facts})
        source = step.Provenance(f"s3://corpora/cv-corpus-{name}-cy.tar.gz", f"revision-{name}")
        return step.run(PublishSettings(version=name), {**artifacts, "card": card}, target, source)

    return publish


@pytest.fixture
def run(target, capsys):
    """run(command, *names) -> what it prints."""

    def run(name: str, *more: str) -> str:
        models.main([name, target, *more])
        return capsys.readouterr().out

    return run


def refusal(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        models.main(list(arguments))
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_a_line_a_version_with_its_scores_and_what_became_of_it(publish, run) -> None:
    publish("1", WORSE, wer_interval=[0.2, 0.31])
    publish("22", BETTER)
    publish("3", WORSE)
    head, *lines = run("list").splitlines()
    assert head.split() == ["version", "date", "corpus", "clips", "WER", "CER", "size", "standing"]
    assert [line.split()[:4] for line in lines][1][0] == "*"
    assert [line.split("kB")[-1].strip() for line in lines] == ["former", "champion", "not better"]
    assert "cv-corpus-1" in lines[0]
    assert "1,001" in lines[0]
    assert "25.00% (20.00% to 31.00%)" in lines[0]
    assert "12.50%" in lines[1]
    found = json.loads(run("list", "--json"))["versions"]
    assert [(row["version"], row["champion"]) for row in found] == [("1", False), ("22", True), ("3", False)]
    assert found[0]["wer_interval"] == [0.2, 0.31]
    assert found[0]["bytes"] > 0


def test_an_empty_place_and_one_that_holds_other_things(run, target, capsys) -> None:
    assert run("list") == f"no version in {target}\n"
    open_target(target).put("notes/readme.json", "{}")
    assert json.loads(run("list", "--json"))["versions"] == []
    assert f"{target}: no champion there yet" in refusal(capsys, "show", target)


def test_a_version_that_is_being_written_is_not_shown(publish, run, target) -> None:
    publish("1", WORSE)
    if not target.startswith("s3://"):
        (Path(target) / ".2.x.tmp").mkdir()
        (Path(target) / ".2.x.tmp" / "version.json").write_text("{")
    open_target(target).put("2/model.json", "{")
    assert len(run("list").splitlines()) == 2


def test_a_version_without_evaluation_or_card(make_artifacts, run, target) -> None:
    step.run(PublishSettings(version="bare"), {"model": make_artifacts()["model"]}, target)
    assert run("list").splitlines()[1].split()[0] == "bare"
    assert json.loads(run("list", "--json"))["versions"][0]["wer"] is None
    assert "-" in run("show", "bare")


def test_one_version_is_shown_with_its_data_settings_and_records(publish, run) -> None:
    publish("1", WORSE)
    publish("22", BETTER)
    shown = run("show")
    assert shown.startswith("22, the champion\n")
    for part in ("promoted: it is better", "record 2: promoted to 22", "learning_rate 0.001", "output_graph.pbmm"):
        assert part in shown
    facts = json.loads(run("show", "1", "--json"))
    assert facts["standing"] == "former"
    assert facts["data"]["corpus_uri"] == "s3://corpora/cv-corpus-1-cy.tar.gz"
    assert facts["settings"]["learning_rate"] == 0.001


def test_what_changed_between_two(publish, run) -> None:
    groups = [{"gender": [{"name": "female", "wer": wer, "test_clips": 100}]} for wer in (0.25, 0.0)]
    publish("1", WORSE, groups=groups[0])
    publish("22", BETTER, learning_rate=0.0001, groups=groups[1])
    shown = run("diff", "--clips", "1")
    assert shown.startswith("1 -> 22\n")
    assert "  learning_rate: 0.001 -> 0.0001\n" in shown
    assert "epochs" not in shown
    assert "  train_clips: 1001 -> 1002\n" in shown
    assert "-25.00 points" in next(line for line in shown.splitlines() if line.startswith("gender: female"))
    assert "on the 200 test clips in common: WER 25.00% -> 12.50%" in shown
    assert "50 got better\n  shards/clips-00000.tar/clip-1.wav, -1 of 2 words\n    reference word 1\n" in shown
    assert shown.count("clip-") == 1
    assert shown.endswith("0 got worse\n")
    backwards = json.loads(run("diff", "22", "1", "--json"))
    assert len(backwards["worse"]) == 50
    assert backwards["better"] == []
    assert backwards["comparison"]["difference"] == 0.125


def test_without_names_the_newest_is_held_against_the_champion(publish, run, target, capsys) -> None:
    publish("1", WORSE)
    assert "name two" in refusal(capsys, "diff", target)
    publish("2", WORSE)
    assert run("diff").startswith("1 -> 2\n")
    publish("3", BETTER)
    assert run("diff").startswith("1 -> 3\n")
    assert run("diff", "2").startswith("3 -> 2\n")


def test_rollback_says_where_it_is_recorded(publish, run, target) -> None:
    publish("1", WORSE)
    publish("2", BETTER)
    told = run("rollback")
    assert told.startswith("rolled back from 2: the champion is 1,")
    assert told.endswith("recorded as champions/00000003.json\n")
    assert open_target(target).get("champions/00000003.json")["from"] == "2"
    assert [row["standing"] for row in json.loads(run("list", "--json"))["versions"]] == ["champion", "rolled back"]
    assert json.loads(run("rollback", "2", "--json"))["version"] == "2"


def test_refusals(publish, run, target, capsys) -> None:
    publish("1", WORSE)
    assert "PUBLISH_URI is missing" in refusal(capsys, "list")
    assert "unknown command lst: expected list, show" in refusal(capsys, "lst")
    assert "is not a complete version: there are 1" in refusal(capsys, "show", target, "7")
    assert "3 is one name too many" in refusal(capsys, "diff", target, "1", "2", "3")
    open_target(target).store.remove(["1/scores.json"])
    open_target(target).put("1/scores.json", "{")
    assert "scores.json: damaged" in refusal(capsys, "list", target)


def test_speechmill_has_it(make_artifacts, tmp_path, capsys) -> None:
    step.run(PublishSettings(version="1"), make_artifacts(), str(tmp_path / "models"))
    speechmill.main(["models", "list", os.fspath(tmp_path / "models")])
    assert "1  " in capsys.readouterr().out
    speechmill.main(["models"])
    assert "rollback" in capsys.readouterr().out
