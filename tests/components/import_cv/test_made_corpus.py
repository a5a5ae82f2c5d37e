"""Corpora of releases without usable splits, and of more than train.tsv: rows, shards, report, partitions."""

from pathlib import Path

import pytest

from components.import_cv import step
from components.import_cv.settings import ImportSettings
from components.import_cv.write.parts import merge
from speech.artifacts import SPLITS, Corpus
from tests.components.import_cv.conftest import Entry, write_release

WORDS = ["open", "shut", "the", "my", "door", "window", "light", "stop", "radio", "now"]


def entries(clips: list[bytes], count: int, speakers: int, prefix: str = "a") -> list[Entry]:
    return [
        Entry(f"{prefix}{n}.mp3", f"{prefix} {WORDS[n % 10]} {WORDS[n // 10]}", clips[n % 6], f"{prefix}{n % speakers}")
        for n in range(count)
    ]


def transcripts(corpus: Corpus, name: str) -> set[str]:
    return {clip.transcript for clip in corpus.manifest(name)}


def test_a_delta_becomes_a_corpus_and_so_do_its_parts(tmp_path: Path, clips: list[bytes]) -> None:
    release = write_release(tmp_path / "xx", validated=entries(clips, 90, 30), other=entries(clips, 9, 3, "b"))
    whole = step.run(ImportSettings(shard_clips=40), str(release), tmp_path / "whole")
    sizes = {name: len(whole.manifest(name)) for name in SPLITS}
    assert min(sizes.values()) > 0
    assert sizes == {name: whole.report["splits"]["sets"][name]["clips"] for name in SPLITS}
    assert not transcripts(whole, "train") & (transcripts(whole, "test") | transcripts(whole, "dev"))
    assert {clip.shard[:12] for clip in whole.manifest("test")} == {"shards/test-"}
    page = (whole.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")
    assert "Made sets" in page
    assert "Not promised" in page
    parts = [
        step.run(ImportSettings(shard_clips=40, partition=f"{n}/2"), str(release), tmp_path / f"part{n}").folder
        for n in (1, 2)
    ]
    merged = merge(parts, tmp_path / "merged")
    for name in SPLITS:
        assert merged.csv(name).read_bytes() == whole.csv(name).read_bytes()
    assert merged.report["splits"] == whole.report["splits"]


def test_train_of_all_that_is_there(tmp_path: Path, clips: list[bytes]) -> None:
    tables = {
        "train": entries(clips, 30, 6, "t"),
        "dev": entries(clips, 20, 4, "d"),
        "test": entries(clips, 20, 4, "e"),
    }
    more = [*entries(clips, 5, 5, "m"), Entry("leak.mp3", "something new", clips[0], "d1")]
    other = [*entries(clips, 4, 2, "o"), Entry("slow.mp3", "a", clips[5], "o1")]
    validated = [one for rows in (*tables.values(), more) for one in rows]
    release = write_release(tmp_path / "xx", **tables, validated=validated, other=other)
    settings = ImportSettings(train_sets=("train", "validated", "other"))
    corpus = step.run(settings, str(release), tmp_path / "corpus")
    wanted = {one.path for one in (*tables["train"], *more[:-1], *other[:-1])}
    train = corpus.manifest("train")
    assert {clip.wav_filename for clip in train} == {f"clips/{name[:-4]}.wav" for name in wanted}
    assert {clip.shard[:13] for clip in train} == {"shards/train-"}
    counted = corpus.report["sets"]["train"]
    assert {name: found["clips"] for name, found in counted["tables"].items()} == {
        "train": 30, "validated": 5, "other": 4,
    }  # fmt: skip
    assert counted["tables"]["validated"]["left_out"] == {"held_out_clip": 40, "held_out_speaker": 1}
    assert counted["tables"]["other"]["left_out"] == {"unusual_rate": 1}
    assert (counted["refused"], counted["held_out"]) == (0, 42)
    assert corpus.report["little_data"].startswith("1 min")
    page = (corpus.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")
    assert "read unusually fast or slowly" in page


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": "some"}, "splits"),
        ({"split_by": "clip"}, "split_by"),
        ({"split_share": 0.5}, "split_share"),
        ({"train_sets": ("dev",)}, "train_sets"),
        ({"train_sets": ()}, "train_sets"),
        ({"split_floor_clips": -1}, "split_floor_clips"),
    ],
)
def test_settings_are_checked(settings: dict, message: str) -> None:
    with pytest.raises(Exception, match=f"--{message} "):
        ImportSettings(**settings)
