"""Made splits: what is made and why, disjoint sets, and that nothing comes from test to train when a release grows."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.planning import Planner, Row
from components.import_cv.plan.sets import compose
from components.import_cv.plan.zones import margin_of, sample_size
from components.import_cv.settings import ImportSettings
from speech.artifacts import SPLITS
from speech.errors import InputError
from tests.components.import_cv.conftest import Entry, tsv

WORDS = ("open", "shut", "the", "my", "door", "window", "light", "stop", "radio", "now", "never", "morning", "train")


@dataclass
class Planned:
    """The sets by name, and the facts."""

    rows: list[Row]
    facts: dict

    def clips(self, name: str) -> list[Row]:
        return [row for row in self.rows if row.set_name == name and row.clip >= 0]

    def paths(self, name: str) -> set[str]:
        return {row.source for row in self.clips(name)}

    def left_out(self) -> dict[str, int]:
        keys = [row.reason.key for row in self.rows if row.clip < 0]
        return {key: keys.count(key) for key in keys}


def plan(folder: Path, settings: ImportSettings, **tables: Sequence[Entry]) -> Planned:
    folder.mkdir(exist_ok=True)
    files = {}
    for name, entries in tables.items():
        files[name] = folder / f"{name}.tsv"
        files[name].write_text(tsv(entries), encoding="utf-8")
    chosen = compose(settings, files, LabelRules())
    parts = chosen.parts if chosen else {}
    made = Planner(SPLITS, LabelRules()).build(files, None, parts)
    return Planned(list(made.rows()), chosen.facts if chosen else {})


def entries(count: int, speakers: int, seed: int = 0, sentences: int = 10**6) -> list[Entry]:
    """Rows of so many speakers, some of whom say much more than others; `sentences`: how many different ones."""
    draw = random.Random(seed)
    weights = [1 / (1 + number) for number in range(speakers)]
    made = []
    for number in range(count):
        speaker = draw.choices(range(speakers), weights)[0]
        sentence = random.Random(draw.randrange(sentences)).choices(WORDS, k=6)
        made.append(Entry(f"common_voice_xx_{seed}{number:06}.mp3", " ".join(sentence), client_id=f"person {speaker}"))
    return made


def speakers(rows: Sequence[Row]) -> set[str]:
    return {row.client_id for row in rows}


def sentences(rows: Sequence[Row]) -> set[str]:
    return {row.text for row in rows}


def test_an_empty_dev_is_made_and_the_rest_of_the_release_stays(tmp_path: Path) -> None:
    train, test = entries(400, 60, 1), entries(60, 12, 2)
    test = [Entry(one.path, f"also {one.sentence}", client_id=f"tester {one.client_id}") for one in test]
    made = plan(tmp_path, ImportSettings(), train=train, dev=[], test=test, validated=[*train, *test])
    assert made.facts["made"] == ["dev"]
    assert made.paths("test") == {one.path for one in test}
    assert made.paths("train") < {one.path for one in train}
    dev = made.clips("dev")
    assert len(dev) >= 20
    for held in (made.clips("train"), made.clips("test")):
        assert not speakers(dev) & speakers(held)
        assert not sentences(dev) & sentences(held)
    assert len(made.paths("train")) + len(dev) + sum(made.left_out().values()) == 400 + len(
        made.paths("dev") & {one.path for one in train}
    )


def test_a_delta_without_splits(tmp_path: Path) -> None:
    made = plan(tmp_path, ImportSettings(), validated=entries(600, 80), other=entries(50, 10, 5))
    assert made.facts["made"] == ["train", "dev", "test"]
    train, dev, test = (made.clips(name) for name in SPLITS)
    assert min(len(dev), len(test)) >= 20 < len(train)
    for one, other in ((train, dev), (train, test), (dev, test)):
        assert not speakers(one) & speakers(other)
        assert not sentences(one) & sentences(other)
    assert made.facts["cannot_promise"] == []
    assert len(train) + len(dev) + len(test) + sum(made.left_out().values()) == 600
    assert set(made.left_out()) <= {"held_out_speaker", "held_out_sentence", "kept_aside"}
    assert {row.table for row in made.rows} == {"validated"}


def test_sixty_clips_by_two_speakers(tmp_path: Path) -> None:
    made = plan(tmp_path, ImportSettings(), train=[], dev=[], test=[], validated=entries(60, 2))
    train, dev, test = (made.clips(name) for name in SPLITS)
    assert len(train) > 30
    assert min(len(dev), len(test)) > 0
    assert not sentences(train) & (sentences(test) | sentences(dev))
    assert "2 speakers are too few" in made.facts["cannot_promise"][0]
    assert made.facts["sets"]["test"]["margin"] > 0.2


def test_one_speaker(tmp_path: Path) -> None:
    made = plan(tmp_path, ImportSettings(), validated=entries(200, 1))
    assert all(made.clips(name) for name in SPLITS)
    assert "one speaker" in made.facts["cannot_promise"][0]


def test_sentences_that_everybody_reads(tmp_path: Path) -> None:
    """Ten commands, each by fifty speakers: without shared sentences there would be nothing to train on."""
    made = plan(tmp_path, ImportSettings(), validated=entries(800, 50, sentences=10))
    train, test = made.clips("train"), made.clips("test")
    assert len(train) > 100
    assert not speakers(train) & speakers(test)
    assert any("sentences that other sets have as well" in text for text in made.facts["cannot_promise"])


def test_sets_of_the_release_above_the_floor_stay(tmp_path: Path) -> None:
    tables = {"train": entries(100, 30, 1), "dev": entries(25, 8, 2), "test": entries(25, 8, 3)}
    made = plan(tmp_path, ImportSettings(), **tables, validated=[one for rows in tables.values() for one in rows])
    assert made.facts == {}
    assert {name: len(made.clips(name)) for name in SPLITS} == {"train": 100, "dev": 25, "test": 25}


def test_a_small_set_stays_where_none_above_the_floor_can_be_made(tmp_path: Path) -> None:
    tables = {"train": entries(20, 3, 1), "dev": entries(4, 1, 2), "test": entries(4, 1, 3)}
    made = plan(tmp_path, ImportSettings(), **tables, validated=[one for rows in tables.values() for one in rows])
    assert {name: len(made.clips(name)) for name in SPLITS} == {"train": 20, "dev": 4, "test": 4}


def test_nothing_to_make_a_test_set_of(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no test set can be made of 3 usable clips of validated.tsv"):
        plan(tmp_path, ImportSettings(), validated=[Entry(f"{n}.mp3", "same", client_id="one") for n in range(3)])


def test_the_order_of_the_rows_makes_no_difference(tmp_path: Path) -> None:
    rows = entries(300, 40)
    one = plan(tmp_path / "a", ImportSettings(), validated=rows)
    other = plan(tmp_path / "b", ImportSettings(), validated=random.Random(1).sample(rows, len(rows)))
    assert [one.paths(name) for name in SPLITS] == [other.paths(name) for name in SPLITS]
    salted = plan(tmp_path / "c", ImportSettings(split_salt="another"), validated=rows)
    assert salted.paths("test") != one.paths("test")


@pytest.mark.parametrize("split_by", ["auto", "speaker", "sentence"])
@pytest.mark.parametrize("seed", range(6))
def test_nothing_moves_from_test_or_dev_to_train_when_a_release_grows(tmp_path: Path, split_by: str, seed: int) -> None:
    """From one speaker's few clips to many speakers, in random steps: by hashes alone, nothing is remembered."""
    draw = random.Random(seed)
    rows = entries(900, 70, seed, sentences=draw.choice([400, 10**6]))
    if draw.random() < 0.5:  # speakers come one after the other instead of all at once
        rows.sort(key=lambda one: int(one.client_id.split()[1]))
    sizes = [*sorted(draw.sample(range(60, 900), 5)), 900]
    settings = ImportSettings(splits="made", split_by=split_by)
    seen: list[tuple[set[str], set[str], set[str]]] = []
    for number, size in enumerate(sizes):
        try:
            made = plan(tmp_path / str(number), settings, validated=rows[:size])
        except InputError:
            continue  # too few speakers, and told to split by them
        train, held = made.clips("train"), [*made.clips("dev"), *made.clips("test")]
        shared = any("sentences that other sets" in text for text in made.facts["cannot_promise"])
        for clips, people, texts in seen:
            assert not clips & made.paths("train")
            assert not people & speakers(train)
            assert shared or not texts & sentences(train)
        alone = made.facts["by"] == "speaker" and not any("too few" in t for t in made.facts["cannot_promise"])
        seen.append(
            ({row.source for row in held}, speakers(held) if alone else set(), set() if shared else sentences(held))
        )
    assert len(seen) > 1


def test_validated_adds_what_neither_dev_nor_test_has(tmp_path: Path) -> None:
    train, dev, test = entries(100, 30, 1), entries(30, 8, 2), entries(30, 8, 3)
    dev = [Entry(one.path, one.sentence, client_id=f"dev {one.client_id}") for one in dev]
    test = [Entry(one.path, one.sentence, client_id=f"test {one.client_id}") for one in test]
    more = [Entry(f"more{n}.mp3", f"new sentence {'abcdefgh'[n]}", client_id="person 1") for n in range(8)]
    theirs = [Entry("theirs.mp3", "something else", client_id=dev[0].client_id)]
    said = [Entry("said.mp3", f"{test[0].sentence.upper()}!", client_id="person 1")]
    refused = [Entry("room.mp3", "Room 7", client_id="person 1")]
    tables = {"train": train, "dev": dev, "test": test}
    validated = [*train, *dev, *test, *more, *theirs, *said, *refused]
    made = plan(tmp_path, ImportSettings(train_sets=("train", "validated")), **tables, validated=validated)
    assert made.paths("train") == {one.path for one in (*train, *more)}
    assert made.left_out() == {
        "held_out_clip": 60, "held_out_speaker": 1, "held_out_sentence": 1, "invalid_label": 1,
    }  # fmt: skip
    settings = ImportSettings(train_sets=("validated",), held_out_speakers=False, held_out_sentences=False)
    loose = plan(tmp_path, settings, **tables, validated=validated)
    assert loose.paths("train") == {one.path for one in (*train, *more, *theirs, *said)}


def test_other_adds_what_was_not_voted_down(tmp_path: Path) -> None:
    validated = entries(300, 40)
    other = [
        Entry("liked.mp3", "liked words", client_id="new", more={"up_votes": "1", "down_votes": "0"}),
        Entry("new.mp3", "no votes yet", client_id="new"),
        Entry("bad.mp3", "bad words", client_id="new", more={"up_votes": "0", "down_votes": "1"}),
    ]
    settings = ImportSettings(train_sets=("train", "validated", "other"))
    made = plan(tmp_path, settings, validated=validated, other=other)
    found = {row.source: row.reason.key for row in made.rows if row.table == "other"}
    assert found["bad.mp3"] in ("voted_down", "held_out_speaker", "kept_aside")
    assert "other" in {row.table for row in made.rows}
    kept = plan(tmp_path, settings, train=validated, dev=entries(30, 9, 2), test=entries(30, 9, 3), other=other)
    found = {row.source: row.reason.key for row in kept.rows if row.table == "other"}
    assert found == {"liked.mp3": "accepted", "new.mp3": "accepted", "bad.mp3": "voted_down"}


def test_the_sample_of_common_voice() -> None:
    assert sample_size(10_000, 0.01) == 6246
    assert sample_size(10**9, 0.01) == 16_640
    assert sample_size(0, 0.01) == 0
    assert margin_of(sample_size(10_000, 0.01), 10_000) == pytest.approx(0.01, abs=1e-4)
    assert margin_of(0, 100) == 1.0
