"""Planning: sets, names, duplicates, held-out speakers and sentences."""

from pathlib import Path

import pytest

from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.planning import Plan, Planner, Row, source_name, wav_name
from components.import_cv.plan.reasons import Reason
from tests.components.import_cv.conftest import COLUMNS, Entry, tsv


def plan(
    tmp_path: Path, sets: tuple[str, ...], durations: str = "", in_place: bool = False, **tables: list[Entry]
) -> Plan:
    files = {}
    for name, entries in tables.items():
        files[name] = tmp_path / f"{name}.tsv"
        files[name].write_text(tsv(entries), encoding="utf-8")
    listed = None
    if durations:
        listed = tmp_path / "clip_durations.tsv"
        listed.write_text(durations)
    return Planner(sets, LabelRules(), in_place=in_place).build(files, listed)


def by_set(made: Plan, name: str) -> list[Row]:
    return [row for row in made.rows() if row.set_name == name]


def test_rows_keep_the_order_of_the_file(tmp_path: Path) -> None:
    made = plan(tmp_path, ("train",), train=[Entry("b.mp3", "Two."), Entry("a.mp3", "One."), Entry("b.mp3", "Two.")])
    rows = list(made.rows())
    assert [(row.source, row.text, row.line, row.clip) for row in rows] == [
        ("b.mp3", "two", 2, 0),
        ("a.mp3", "one", 3, 1),
        ("b.mp3", "two", 4, 0),
    ]
    assert made.clip_count == 2


def test_a_clip_of_several_sets_is_one_clip(tmp_path: Path) -> None:
    entries = [Entry("a.mp3", "A long sentence.", client_id="x")]
    made = plan(tmp_path, ("train", "validated"), train=entries, validated=[*entries, Entry("a.mp3", "Short.")])
    assert made.clip_count == 1
    assert list(made.shortest) == [len("short")]
    assert [row.set_name for row in made.rows()] == ["train", "validated", "validated"]


def test_train_all_holds_out_speakers_and_sentences(tmp_path: Path) -> None:
    tables = {
        "validated": [
            Entry("1.mp3", "Free sentence.", client_id="free"),
            Entry("2.mp3", "Other words.", client_id="dev speaker"),
            Entry("3.mp3", "HELD out, sentence!", client_id="free"),
            Entry("4.mp3", "Any words.", client_id="test speaker"),
            Entry("5.mp3", "Room 7.", client_id="free"),
        ],
        "dev": [Entry("2.mp3", "Other words.", client_id="dev speaker")],
        # a refused row still names a speaker that must not be trained on
        "test": [Entry("9.mp3", "held-out sentence", client_id="t"), Entry("8.mp3", "9", client_id="test speaker")],
    }
    expected = [
        ("1.mp3", Reason.ACCEPTED),
        ("2.mp3", Reason.HELD_OUT),
        ("3.mp3", Reason.HELD_OUT),
        ("4.mp3", Reason.HELD_OUT),
        ("5.mp3", Reason.INVALID_LABEL),
    ]
    alone = plan(tmp_path, ("train-all",), **tables)
    assert [(row.source, row.reason) for row in by_set(alone, "train-all")] == expected
    assert alone.clip_count == 1
    beside = plan(tmp_path, ("validated", "train-all"), **tables)
    assert [(row.source, row.reason) for row in by_set(beside, "train-all")] == expected
    assert beside.clip_count == 4


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("common_voice_en_1.mp3", "common_voice_en_1.mp3"),
        ("0a1b2c3d", "0a1b2c3d.mp3"),  # releases up to 2
        ("a.MP3", "a.MP3"),
        ("a.wav", "a.wav"),
        ("a.b", "a.b.mp3"),
        ("part/a.mp3", "part/a.mp3"),
        ("", None),
        (".", None),
        ("../a.mp3", None),
        ("a/../../b.mp3", None),
        ("/etc/passwd", None),
        ("a//b.mp3", None),
        ("./a.mp3", None),
        ("..\\a.mp3", None),
        ("a\0b.mp3", None),
        ("x" * 300 + ".mp3", None),
        ("é" * 130 + ".mp3", None),
    ],
)
def test_paths_stay_in_the_folder(path: str, expected: str | None) -> None:
    assert source_name(path) == expected


def test_wav_names() -> None:
    assert wav_name("a.b.MP3") == "a.b.wav"
    assert wav_name("part/a.mp3") == "part/a.wav"


@pytest.mark.parametrize("first", ["a.mp3", "a.wav", "a.MP3"])
@pytest.mark.parametrize("second", ["a.mp3", "a.wav", "a.MP3"])
def test_two_sources_cannot_have_one_wav_name(tmp_path: Path, first: str, second: str) -> None:
    made = plan(tmp_path, ("train",), train=[Entry(first), Entry(second)])
    expected = Reason.ACCEPTED if first == second else Reason.NAME_TAKEN
    assert [row.reason for row in made.rows()] == [Reason.ACCEPTED, expected]


def test_a_wav_source_is_never_overwritten(tmp_path: Path) -> None:
    made = plan(tmp_path, ("train",), in_place=True, train=[Entry("a.wav"), Entry("b.mp3")])
    assert [row.reason for row in made.rows()] == [Reason.NAME_TAKEN, Reason.ACCEPTED]


def test_listed_durations(tmp_path: Path) -> None:
    durations = "clip\tduration[ms]\nb.mp3\t2500\nother.mp3\t7\na.mp3\tnot a number\n"
    made = plan(tmp_path, ("train",), durations, train=[Entry("a.mp3"), Entry("b.mp3")])
    assert list(made.listed_ms) == [0, 2500]


def test_strange_durations_are_ignored(tmp_path: Path) -> None:
    made = plan(tmp_path, ("train",), "name\tseconds\na.mp3\t2\n", train=[Entry("a.mp3")])
    assert list(made.listed_ms) == [0]


def test_people_are_kept(tmp_path: Path) -> None:
    person = {"age": "thirties", "gender": "female_feminine", "accents": "England English,Scottish"}
    made = plan(tmp_path, ("train",), train=[Entry("a.mp3", client_id="c", more=person)])
    (row,) = made.rows()
    assert (row.client_id, row.age, row.gender, row.accent) == ("c", *person.values())
    assert set(person) <= set(COLUMNS)


def test_digest_tells_plans_apart(tmp_path: Path) -> None:
    entries = [Entry("a.mp3", "One."), Entry("b.mp3", "Two.")]
    same = plan(tmp_path, ("train",), train=entries).digest()
    assert plan(tmp_path, ("train",), train=entries).digest() == same
    assert plan(tmp_path, ("train",), train=entries[::-1]).digest() != same
    assert plan(tmp_path, ("train",), train=[entries[0], Entry("b.mp3", "Three.")]).digest() != same
