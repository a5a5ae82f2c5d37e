"""Merging releases: a clip counts once, the newest sentence wins, what is held out stays held out."""

from pathlib import Path

import pytest

from components.import_cv.plan.merging import Merge, PartTables
from components.import_cv.read.tsv import read_tsv
from speech.errors import InputError
from tests.components.import_cv.conftest import Entry, tsv


def part(folder: Path, name: str, own_names: bool = False, **tables: list[Entry]) -> PartTables:
    files = {}
    (folder / name).mkdir()
    for table, entries in tables.items():
        files[table.replace("_", "-")] = folder / name / f"{table}.tsv"
        files[table.replace("_", "-")].write_text(tsv(entries), encoding="utf-8")
    return PartTables(name, files, own_names=own_names)


def merged(folder: Path, *parts: PartTables) -> tuple[dict[str, list[tuple[str, str]]], list[dict]]:
    """The (path, sentence) of each set, and the facts."""
    merge = Merge(parts)
    files, _ = merge.write(folder / "merged")
    rows = {
        name: [(values[0], values[1]) for _, _, values in read_tsv(path, ("path", "sentence"))]
        for name, path in files.items()
    }
    return rows, [facts.describe() for facts in merge.facts]


def cv(number: int, sentence: str = "", client_id: str = "free") -> Entry:
    return Entry(f"common_voice_cy_{number}.mp3", sentence or f"sentence {number}", client_id=client_id)


@pytest.fixture
def base(tmp_path: Path) -> PartTables:
    train, dev, test = [cv(1), cv(2)], [cv(3, client_id="dev")], [cv(4, client_id="test")]
    return part(tmp_path, "base", train=train, dev=dev, test=test, validated=[*train, *dev, *test], other=[cv(5)])


def test_a_delta_without_train_adds_what_it_validated(tmp_path: Path, base: PartTables) -> None:
    delta = part(tmp_path, "delta", validated=[cv(10), cv(11)], other=[cv(12)])
    rows, (of_base, of_delta) = merged(tmp_path, base, delta)
    assert [path for path, _ in rows["train"]] == [
        "base/common_voice_cy_1.mp3", "base/common_voice_cy_2.mp3",
        "delta/common_voice_cy_10.mp3", "delta/common_voice_cy_11.mp3",
    ]  # fmt: skip
    assert [path for path, _ in rows["test"]] == ["base/common_voice_cy_4.mp3"]
    assert len(rows["validated"]) == 6
    assert [path for path, _ in rows["other"]] == ["base/common_voice_cy_5.mp3", "delta/common_voice_cy_12.mp3"]
    assert (of_base["clips"], of_delta["clips"], of_delta["to_train"]) == (5, 3, 2)


def test_a_held_out_speaker_or_sentence_never_lands_in_train(tmp_path: Path, base: PartTables) -> None:
    held_out = [cv(10, client_id="test"), cv(11, client_id="dev"), cv(12, "Sentence 4!"), cv(13)]
    rows, (_, of_delta) = merged(tmp_path, base, part(tmp_path, "delta", validated=held_out))
    assert [path for path, _ in rows["train"]][2:] == ["delta/common_voice_cy_13.mp3"]
    assert of_delta["held_out"] == 3
    assert len(rows["validated"]) == 8  # whoever makes other sets of it sees them all


def test_a_full_release_that_moves_clips_to_train_does_not_move_them(tmp_path: Path, base: PartTables) -> None:
    newer = part(
        tmp_path,
        "newer",
        train=[cv(4, client_id="test"), cv(20, client_id="test"), cv(21, client_id="x")],
        test=[cv(1), cv(3)],
    )
    rows, (of_base, of_newer) = merged(tmp_path, base, newer)
    sets = {name: sorted(path.rpartition("_")[2] for path, _ in rows[name]) for name in ("train", "dev", "test")}
    # 1 is now tested on; 2 is by the speaker of 1; 3 stays where it was first held out; 20 is by a speaker of test
    assert sets == {"train": ["21.mp3"], "dev": ["3.mp3"], "test": ["1.mp3", "4.mp3"]}
    assert (of_base["held_out"], of_newer["held_out"]) == (1, 1)


def test_a_clip_counts_once_with_its_newest_sentence_and_status(tmp_path: Path, base: PartTables) -> None:
    delta = part(tmp_path, "delta", validated=[cv(1, "corrected"), cv(4, "corrected, too", "test"), cv(5)])
    rows, (of_base, of_delta) = merged(tmp_path, base, delta)
    assert rows["train"] == [
        ("base/common_voice_cy_2.mp3", "sentence 2"),
        ("delta/common_voice_cy_1.mp3", "corrected"),
        ("delta/common_voice_cy_5.mp3", "sentence 5"),
    ]
    assert rows["test"] == [("delta/common_voice_cy_4.mp3", "corrected, too")]
    assert rows["other"] == []
    assert (of_base["repeated"], of_delta["changed_sentences"]) == (3, 2)
    backwards, _ = merged(tmp_path / "backwards", delta, base)
    assert ("base/common_voice_cy_1.mp3", "sentence 1") in backwards["train"]  # the order decides


def test_releases_without_train_keep_what_they_are(tmp_path: Path) -> None:
    first, second = part(tmp_path, "a", validated=[cv(1)]), part(tmp_path, "b", validated=[cv(2)])
    rows, facts = merged(tmp_path, first, second)
    assert {name: len(found) for name, found in rows.items()} == {"validated": 2}
    assert [one["to_train"] for one in facts] == [0, 0]


def test_a_release_s_own_overlap_is_left_to_it(tmp_path: Path) -> None:
    flawed = part(tmp_path, "a", train=[cv(1, client_id="x")], test=[cv(2, client_id="x")])
    rows, _ = merged(tmp_path, flawed, part(tmp_path, "b", validated=[cv(3)]))
    assert [path for path, _ in rows["train"]] == ["a/common_voice_cy_1.mp3", "b/common_voice_cy_3.mp3"]


@pytest.mark.parametrize(("own_names", "clips"), [(False, 1), (True, 2)])
def test_names_count_as_far_as_they_are_known(tmp_path: Path, own_names: bool, clips: int) -> None:
    parts = [part(tmp_path, name, own_names, train=[Entry("0001.wav", client_id="")]) for name in "ab"]
    assert len(merged(tmp_path, *parts)[0]["train"]) == clips


def test_damaged_rows_are_still_refused_later(tmp_path: Path) -> None:
    broken = part(tmp_path, "broken", train=[cv(1)])
    table = broken.tsv_files["train"]
    table.write_bytes(table.read_bytes() + b"speaker\tshort\n" + b"\xff\n")
    rows = Merge([broken, part(tmp_path, "b", validated=[cv(2)])])
    files, _ = rows.write(tmp_path / "merged")
    reasons = [reason.key for _, reason, _ in read_tsv(files["train"], ("path", "sentence", "client_id"))]
    assert reasons == ["accepted", "malformed_row", "not_utf8", "accepted"]


def test_columns_that_others_read_come_along(tmp_path: Path) -> None:
    entry = cv(1)
    entry.more = {"age": "teens", "accents": "north", "up_votes": "3", "down_votes": "1", "locale": "cy"}
    files, _ = Merge([part(tmp_path, "a", train=[entry])]).write(tmp_path / "merged")
    columns = ("client_id", *entry.more, "source")
    ((_, _, values),) = read_tsv(files["train"], columns)
    assert tuple(values) == ("free", *entry.more.values(), "a")


def test_the_listed_durations_come_along(tmp_path: Path) -> None:
    listed = tmp_path / "clip_durations.tsv"
    listed.write_text("clip\tduration[ms]\ncommon_voice_cy_1.mp3\t2500\n")
    one = part(tmp_path, "one", train=[cv(1)])
    _, durations = Merge([PartTables("one", one.tsv_files, listed)]).write(tmp_path / "merged")
    assert durations is not None
    assert durations.read_text().splitlines()[1] == "one/common_voice_cy_1.mp3\t2500"


def test_there_is_a_limit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="64 releases at once: expected at most 63"):
        Merge([PartTables("x", {})] * 64)
