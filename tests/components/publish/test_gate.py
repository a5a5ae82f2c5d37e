"""The champion moves to what is better, not to what is lucky; and back again; and to one of two at once."""

import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from components.publish import __main__ as shell
from components.publish import step
from components.publish.champion import POINTER, RECORDS, Champions
from components.publish.gate import DECISION, compare
from components.publish.model_bucket import ModelBucket, open_target
from components.publish.settings import PublishSettings
from speech.artifacts import Evaluation
from speech.errors import InputError
from speech.storage.files import write_json
from speech.storage.stores import store_at
from tests.components.publish.conftest import Settings

CLIPS = 200
BASE = [1 if number % 2 else 0 for number in range(CLIPS)]  # a WER of 25 %


def with_changes(better: int, worse: int) -> list[int]:
    """The edits of a model that does better than BASE on some clips and worse on others."""
    edits = list(BASE)
    for number in range(better):
        edits[2 * number + 1] -= 1
    for number in range(worse):
        edits[2 * number] += 1
    return edits


def champion(target: str) -> str:
    """The champion's name as clients read it."""
    return open_target(target).get(POINTER)["version"]


@pytest.fixture
def publish(make_artifacts, target):
    """publish(name, edits, **settings) -> the version, with the decision of the gate."""

    def publish(name: str, edits: list[int], **settings) -> step.PublishedVersion:
        artifacts = make_artifacts(name.encode(), edits)
        return step.run(Settings(version=name, **settings), artifacts, target)

    return publish


def test_the_first_one_is_the_champion(publish, target) -> None:
    version = publish("1", BASE)
    assert version.decision["decision"] == "promoted"
    assert version.decision["reason"] == "it is the first"
    assert champion(target) == "1"
    record = open_target(target).get(POINTER)
    assert (record["number"], record["uri"], record["previous"]) == (1, version.uri, 0)


def test_a_better_one_replaces_it_and_what_was_compared_lies_beside_it(publish, target) -> None:
    publish("1", BASE)
    version = publish("2", with_changes(better=40, worse=5))
    assert champion(target) == "2"
    place = open_target(target)
    decision = place.get(f"2/{DECISION}")
    assert decision["decision"] == "promoted"
    assert decision["champion"] == "1"
    found = decision["comparison"]
    assert (found["clips"], found["candidate_clips"], found["champion_clips"]) == (CLIPS, CLIPS, CLIPS)
    assert found["champion_wer"] == 0.25
    assert found["candidate_wer"] == pytest.approx((100 - 35) / 400)
    assert found["difference"] == pytest.approx(-35 / 400)
    assert found["interval"][0] < found["difference"] < found["interval"][1] < 0
    assert place.get(f"{RECORDS}/00000002.json") == place.get(POINTER)
    assert place.get(POINTER)["decision"]["comparison"] == found
    assert version.decision == {key: value for key, value in decision.items() if key != "decided"}


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [(5, 40, "it is worse"), (21, 18, "may be chance"), (18, 21, "may be chance"), (0, 0, "may be chance")],
)
def test_a_worse_one_and_one_within_the_noise_do_not(publish, target, better, worse, reason) -> None:
    publish("1", BASE)
    version = publish("2", with_changes(better, worse))
    assert version.decision["decision"] == "kept"
    assert reason in version.decision["reason"]
    assert champion(target) == "1"
    assert open_target(target).get(f"2/{DECISION}")["comparison"]["difference"] == pytest.approx((worse - better) / 400)
    assert open_target(target).read("2") is not None  # published all the same


def test_force_moves_it_whatever_was_measured(publish, target) -> None:
    publish("1", BASE)
    version = publish("2", with_changes(better=0, worse=50), force=True)
    assert champion(target) == "2"
    assert version.decision["forced"]
    assert version.decision["reason"].startswith("forced, although it is worse")
    assert version.decision["comparison"]["difference"] == pytest.approx(50 / 400)


def test_an_unmeasured_model_becomes_champion_by_force_alone(make_artifacts, target) -> None:
    artifacts = {"model": make_artifacts()["model"]}
    assert step.run(Settings(), artifacts, target).decision["decision"] == "kept"
    assert open_target(target).get(POINTER) is None
    assert step.run(Settings(force=True), artifacts, target).decision["decision"] == "promoted"


def test_test_sets_with_little_in_common_are_not_compared(publish, target) -> None:
    publish("1", BASE)
    version = publish("2", [0] * (CLIPS // 2 - 1))
    assert version.decision["reason"] == "the two test sets have only 50% of the champion's clips in common"
    assert champion(target) == "1"
    assert publish("3", [0] * (CLIPS // 2)).decision["decision"] == "promoted"


def test_the_interval_is_that_of_drawing_clip_by_clip(make_artifacts) -> None:
    samples = {}
    for name, edits in (("new", with_changes(30, 12)), ("old", BASE)):
        folder = make_artifacts(name.encode(), edits)["evaluation"]
        samples[name] = json.loads((folder / "samples.json").read_text())
    found = compare(Settings(), samples["new"], samples["old"])
    difference = np.array(with_changes(30, 12)) - np.array(BASE)
    drawn = np.random.default_rng(1).integers(0, CLIPS, (20_000, CLIPS))
    expected = np.quantile(difference[drawn].sum(axis=1) / (2 * CLIPS), [0.025, 0.975])
    assert found.interval == pytest.approx(expected, abs=0.003)
    by_speaker = compare(Settings(bootstrap_unit="speaker"), samples["new"], samples["old"])
    speakers = difference.reshape(-1, 10).sum(axis=0)  # clip i is speaker i % 10's
    drawn = np.random.default_rng(1).integers(0, 10, (20_000, 10))
    expected = np.quantile(speakers[drawn].sum(axis=1) / (2 * CLIPS), [0.025, 0.975])
    assert by_speaker.interval == pytest.approx(expected, abs=0.006)


def test_a_repetition_changes_nothing(publish, target) -> None:
    publish("1", BASE)
    publish("2", with_changes(40, 5))
    place = open_target(target)
    before = [place.get(name) for name in (POINTER, f"1/{DECISION}", f"2/{DECISION}")]
    assert publish("2", with_changes(40, 5)).decision["decision"] == "unchanged"
    publish("1", BASE)  # worse than what has replaced it
    after = [place.get(name) for name in (POINTER, f"1/{DECISION}", f"2/{DECISION}")]
    assert (before[0], before[2]) == (after[0], after[2])
    assert after[1]["decision"] == "kept"
    assert place.names(RECORDS) == ["00000001.json", "00000002.json"]


def test_rollback_goes_back_step_by_step(publish, target) -> None:
    publish("1", BASE)
    publish("2", with_changes(40, 0))
    publish("3", with_changes(80, 0))
    champions = Champions(open_target(target))
    assert champions.roll_back()["version"] == "2"
    assert champion(target) == "2"
    assert champions.roll_back()["version"] == "1"
    with pytest.raises(InputError, match="from the start"):
        champions.roll_back()
    assert champions.roll_back("3")["version"] == "3"
    assert champion(target) == "3"
    with pytest.raises(InputError, match="champion already"):
        champions.roll_back("3")
    with pytest.raises(InputError, match="not a complete version"):
        champions.roll_back("none")


def test_a_pointer_that_others_keep_moving_is_left_to_them(publish, target, monkeypatch) -> None:
    publish("1", BASE)
    publish("2", with_changes(40, 0))
    monkeypatch.setattr(Champions, "move", lambda *given, **facts: None)  # somebody else was faster, every time
    with pytest.raises(InputError, match="keeps being moved by other runs: try again"):
        Champions(open_target(target)).roll_back()
    with pytest.raises(InputError, match="keeps being moved by other runs: try again"):
        publish("3", with_changes(80, 0))
    assert champion(target) == "2"


def test_a_lost_record_is_said_and_not_guessed(tmp_path: Path) -> None:
    champions = Champions(open_target(str(tmp_path / "models")))
    with pytest.raises(InputError, match="00000001.json is missing or damaged: it says who was champion"):
        champions.record(1)


def test_what_cannot_be_compared_does_not_move_it(publish, make_artifacts, target) -> None:
    one_clip = make_artifacts(b"one", [1])
    step.run(Settings(version="1"), one_clip, target)
    version = publish("2", [0])
    assert (version.decision["decision"], champion(target)) == ("kept", "1")
    assert "one test clip says nothing about chance" in version.decision["reason"]
    others = make_artifacts(b"others", [0] * 4)
    rows = json.loads((others["evaluation"] / "samples.json").read_text())
    (others["evaluation"] / "samples.json").write_text(json.dumps([{**row, "src": "other"} for row in rows]))
    version = step.run(Settings(version="3"), others, target)
    assert "their test sets have no clip in common" in version.decision["reason"]
    assert champion(target) == "1"


def test_what_was_rolled_back_is_judged_anew_when_it_is_published_again(publish, target) -> None:
    publish("1", BASE)
    publish("2", with_changes(40, 0))
    Champions(open_target(target)).roll_back()
    assert champion(target) == "1"
    again = publish("2", with_changes(40, 0))
    assert again.decision["decision"] == "promoted"
    assert "(it was rolled back on " in again.decision["reason"]
    assert champion(target) == "2"


@pytest.mark.parametrize("target", ["local", "s3"], indirect=True)
def test_of_several_at_once_the_best_wins_and_every_record_is_whole(make_artifacts, target) -> None:
    artifacts = {str(n): make_artifacts(str(n).encode(), with_changes(20 * n, 0)) for n in range(5)}
    step.run(Settings(version="0"), artifacts["0"], target)
    start, failures = threading.Barrier(4), []

    def work(name: str) -> None:
        start.wait()
        try:
            step.run(Settings(version=name), artifacts[name], target)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert champion(target) == "4"  # each was compared with the one that it replaced, so the best one stays
    check_history(open_target(target))


def check_history(place: ModelBucket) -> None:
    """Each record replaces the one before it, and was compared with it."""
    names = place.names(RECORDS)
    assert names == [f"{number:08}.json" for number in range(1, len(names) + 1)]
    records = [place.get(f"{RECORDS}/{name}") for name in names]
    for before, after in itertools.pairwise(records):
        assert after["previous"] == before["number"]
        assert after["decision"]["champion"] == before["version"]
        assert after["decision"]["comparison"]["difference"] < 0
    assert place.get(POINTER) == records[-1]


def test_two_equal_ones_at_once_leave_one_winner(make_artifacts, target) -> None:
    artifacts = {name: make_artifacts(name.encode(), BASE) for name in ("a", "b")}
    start, decisions = threading.Barrier(2), {}

    def work(name: str) -> None:
        start.wait()
        decisions[name] = step.run(Settings(version=name), artifacts[name], target).decision["decision"]

    threads = [threading.Thread(target=work, args=(name,)) for name in artifacts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(decisions.values()) == ["kept", "promoted"]
    assert decisions[champion(target)] == "promoted"


def test_a_writer_that_dies_before_the_copy_is_mended_by_the_next(publish, target) -> None:
    publish("1", BASE)
    place = open_target(target)
    publish("2", with_changes(40, 0))
    place.put(POINTER, json.dumps(place.get(f"{RECORDS}/00000001.json")))  # as if the second had died in between
    publish("3", with_changes(0, 40))
    assert champion(target) == "2"


def test_from_a_shell(publish, target, capsys) -> None:
    publish("1", BASE)
    publish("2", with_changes(40, 0))
    shell.main(["rollback", "--publish_uri", target])
    assert capsys.readouterr().out == f"rolled back from 2: the champion is 1, {open_target(target).locate('1')}\n"
    shell.main(["champion", "--publish_uri", target])
    assert json.loads(capsys.readouterr().out)["version"] == "1"
    with pytest.raises(SystemExit) as stopped:
        shell.main(["rollback", "--publish_uri", target])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: 1 has been the champion from the start")


def test_the_page_and_the_numbers_say_what_was_decided(publish, make_artifacts, tmp_path) -> None:
    publish("1", BASE)
    version = publish("2", with_changes(40, 0))
    page = step.report(version, tmp_path)
    assert "2 is the new champion: it is better: WER 15.00%, champion 25.00%" in page
    assert "| `output_graph.pb` | 16 |" in page
    assert step.headline(version) == {
        "champion": 1.0, "candidate_wer": 0.15, "champion_wer": 0.25, "difference": -0.1
    }  # fmt: skip
    alone = step.run_in_pipeline(Settings(), make_artifacts(), "", tmp_path / "artifact")
    assert step.headline(alone) == {}
    assert {path.name for path in (tmp_path / "artifact").iterdir()} == {alone.name}


def test_each_revision_of_a_release_is_recorded_once(make_artifacts, target) -> None:
    source = step.Provenance("s3://cv/cv-corpus-17.0-en.tar.gz", "0123456789abcdef", "s3://artifacts/corpus")
    version = step.run(Settings(), make_artifacts(), target, source)
    step.run(Settings(), make_artifacts(b"other"), target, source)
    record = open_target(target).get("releases/0123456789abcdef.json")
    assert (record["version"], record["corpus_uri"]) == (version.name, source.corpus_uri)
    assert version.description["source"]["imported_uri"] == "s3://artifacts/corpus"


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"confidence": 1.0}, {"bootstrap_samples": 10}, {"min_common": 0.0}, {"bootstrap_unit": "word"}):
        with pytest.raises(InputError, match=f"--{next(iter(wrong))}"):
            Settings(**wrong)


def test_a_local_record_is_created_once(tmp_path: Path) -> None:
    place = open_target(str(tmp_path))
    assert place.create("champions/1.json", "{}")
    assert not place.create("champions/1.json", '{"x": 1}')
    assert place.get("champions/1.json") == {}
    assert place.names("champions") == ["1.json"]


@pytest.mark.parametrize("text", ["theirs", '{"champion": "Ali"}', "[]"])
def test_a_pointer_of_somebody_else_stays(publish, target, text) -> None:
    place = open_target(target)
    place.put(POINTER, text)
    with pytest.raises(InputError, match=r"champion\.json would be replaced, .* give another --publish_uri"):
        publish("1", BASE)
    assert place.read("1") is None
    place.put(POINTER, json.dumps({"version": "0", "number": 1}))
    publish("1", BASE)
    assert champion(target) == "1"


def test_the_cer_decides_where_words_mean_nothing(make_artifacts, target) -> None:
    def publish(name: str, edits: list[int]):
        artifacts = make_artifacts(name.encode(), edits)
        folder = artifacts["evaluation"]
        write_json(
            folder / Evaluation.SCORES,
            json.loads((folder / Evaluation.SCORES).read_text()) | {"headline": "cer", "wer": 0.5},
        )
        rows = json.loads((folder / Evaluation.SAMPLES).read_text())
        one_wrong = [
            row | {"word_distance": 1, "char_distance": row["word_distance"], "char_length": 10} for row in rows
        ]
        write_json(folder / Evaluation.SAMPLES, one_wrong)
        return step.run(PublishSettings(version=name), artifacts, target)

    publish("1", BASE)
    version = publish("2", with_changes(better=40, worse=5))
    assert version.decision["decision"] == "promoted"
    assert "CER" in version.decision["reason"]
    assert version.decision["comparison"]["champion_cer"] > version.decision["comparison"]["candidate_cer"]
    assert set(step.headline(version)) == {"champion", "candidate_cer", "champion_cer", "difference"}


def test_few_test_clips_crown_nobody_unless_told(make_artifacts, tmp_path) -> None:
    place = str(tmp_path / "models")
    few = step.run(PublishSettings(version="few"), make_artifacts(edits=[0] * 29), place)
    assert few.decision["decision"] == "kept"
    assert "29 test clips, which says too little: --min_test_clips 30" in few.decision["reason"]
    told = step.run(PublishSettings(version="told", min_test_clips=20), make_artifacts(b"b", edits=[0] * 29), place)
    assert told.decision["decision"] == "promoted"
    enough = step.run(PublishSettings(version="enough"), make_artifacts(b"c", edits=[0] * 30), str(tmp_path / "other"))
    assert enough.decision["decision"] == "promoted"
    with pytest.raises(InputError, match="min_test_clips"):
        PublishSettings(min_test_clips=0)


@pytest.mark.parametrize("content", [b"garbage", b"[1, 2]", b'[{"src": 1}]'])
def test_a_champion_whose_transcripts_are_damaged_stays(publish, target, content: bytes) -> None:
    """Nothing says that the next one is better, and the reason says what to mend."""
    publish("1", BASE)
    store_at(target).remove(["1/samples.json"])
    store_at(target).write("1/samples.json", content)
    decision = publish("2", with_changes(better=60, worse=0)).decision
    assert decision["decision"] == "kept"
    assert "damaged" in decision["reason"]


@pytest.mark.parametrize("content", [b"garbage", b"3", b'{"number": 1}', b'{"version": "1", "number": "1"}'])
def test_a_damaged_record_of_a_champion_is_one_line(publish, target, content: bytes) -> None:
    publish("1", BASE)
    store_at(target).remove([f"{RECORDS}/00000001.json"])
    store_at(target).write(f"{RECORDS}/00000001.json", content)
    with pytest.raises(InputError, match=r"00000001\.json.*damaged"):
        publish("2", BASE)
