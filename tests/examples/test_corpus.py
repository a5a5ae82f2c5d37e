"""The example corpus: the layout of a Common Voice release, splits that do not leak, faults put in on purpose."""

import csv
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from tests.fixtures import system

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RELEASE = EXAMPLES / "cv-corpus-demo" / "en"
TABLES = ("train", "dev", "test", "validated", "invalidated", "other")
SPLITS = ("train", "dev", "test")
# The header of Common Voice releases from 17.0 on.
HEADER = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
)


def rows(table: str) -> list[dict[str, str]]:
    with (RELEASE / f"{table}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def transcript(sentence: str) -> str:
    """The words alone, so that two spellings of one sentence compare equal."""
    return re.sub(r"[^\w' ]", "", sentence).lower().strip()


def usable(row: dict[str, str]) -> bool:
    """Whether a clip has a sentence of a-z and a whole file of at most 10 s that is long enough for it."""
    path = RELEASE / "clips" / row["path"]
    if not re.fullmatch(r"[a-z' ]+", transcript(row["sentence"])) or not path.exists() or promised_bytes(path) == 0:
        return False
    if promised_bytes(path) != path.stat().st_size:
        return False
    duration_s = soundfile.info(path).duration
    return duration_s <= 10 and len(row["sentence"]) <= duration_s * 50


def promised_bytes(path: Path) -> int:
    """The file size in the Info header of an MP3 (flag bits, frame count, byte count behind the tag), 0 if it has none.

    The count starts at the first frame, which in these files is the first byte.
    """
    data = path.read_bytes()[:200]
    tag = max(data.find(b"Info"), data.find(b"Xing"))
    if not data.startswith(b"\xff\xfb") or tag < 0 or data[tag + 7] & 3 != 3:
        return 0
    return int.from_bytes(data[tag + 12 : tag + 16], "big")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_corpus", EXAMPLES / "make_corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_size_is_at_most_4_mb() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 3_500_000
    on_disk = sum(-(-path.stat().st_size // 4096) * 4096 for path in files)
    assert on_disk <= 4 * 2**20, "blocks of 4 KiB, as du counts"


def test_layout_is_that_of_a_release() -> None:
    others = {"clip_durations", "reported", "unvalidated_sentences", "validated_sentences"}
    assert {path.name for path in RELEASE.iterdir()} == {f"{table}.tsv" for table in {*TABLES, *others}} | {"clips"}
    for table in TABLES:
        text = (RELEASE / f"{table}.tsv").read_bytes().decode("utf-8")
        assert text.endswith("\n")
        assert "\r" not in text
        lines = text.removesuffix("\n").split("\n")
        assert lines[0] == HEADER.replace(" ", "\t")
        assert {line.count("\t") for line in lines} == {HEADER.count(" ")}
        assert len(lines) > 4


@pytest.mark.parametrize("table", TABLES)
def test_values_look_like_those_of_a_release(table: str) -> None:
    for row in rows(table):
        assert re.fullmatch(r"[0-9a-f]{128}", row["client_id"])
        assert re.fullmatch(r"common_voice_en_\d{8}\.mp3", row["path"])
        assert re.fullmatch(r"[0-9a-f]{64}", row["sentence_id"])
        assert row["locale"] == "en"
        assert row["age"] in {"", "teens", "twenties", "thirties", "fourties", "fifties", "sixties"}
        assert row["gender"] in {"", "male_masculine", "female_feminine"}
        up, down = int(row["up_votes"]), int(row["down_votes"])
        assert {"invalidated": down >= 2 > up, "other": max(up, down) < 2}.get(table, up >= 2 and up > down)


def test_every_clip_is_in_one_bucket_and_the_splits_are_validated() -> None:
    paths = {table: [row["path"] for row in rows(table)] for table in TABLES}
    buckets = Counter(paths["validated"] + paths["invalidated"] + paths["other"])
    assert max(buckets.values()) == 1
    in_splits = Counter(path for split in SPLITS for path in paths[split])
    assert max(in_splits.values()) == 1
    validated = {row["path"]: row for row in rows("validated")}
    for split in SPLITS:
        assert all(validated[row["path"]] == row for row in rows(split))
    assert len(paths["validated"]) > len(in_splits), "some validated clips are in no split, as in a release"
    on_disk = {path.name for path in (RELEASE / "clips").iterdir()}
    assert on_disk < set(buckets)
    assert len(set(buckets) - on_disk) == 1


def test_speakers_and_sentences_of_the_splits_are_disjoint() -> None:
    for column, normalized in (("client_id", str), ("sentence", transcript)):
        seen = {split: {normalized(row[column]) for row in rows(split)} for split in SPLITS}
        assert not seen["train"] & seen["dev"]
        assert not seen["train"] & seen["test"]
        assert not seen["dev"] & seen["test"]


def test_vocabulary_is_small_and_train_teaches_all_of_it() -> None:
    words = {
        split: Counter(word for row in rows(split) if usable(row) for word in transcript(row["sentence"]).split())
        for split in SPLITS
    }
    assert len(words["train"]) == 24
    assert min(words["train"].values()) >= 5
    assert set(words["dev"]) | set(words["test"]) <= set(words["train"])


def test_enough_usable_clips_in_each_split() -> None:
    usable_clips = {split: sum(map(usable, rows(split))) for split in SPLITS}
    assert usable_clips["train"] >= 320
    assert usable_clips["dev"] >= 40
    assert usable_clips["test"] >= 60


def test_audio_is_mono_mp3_at_32_and_48_khz_with_the_listed_duration() -> None:
    with (RELEASE / "clip_durations.tsv").open(encoding="utf-8", newline="") as file:
        durations_ms = {row["clip"]: int(row["duration[ms]"]) for row in csv.DictReader(file, delimiter="\t")}
    rates: Counter[int] = Counter()
    listed = [row for table in ("validated", "invalidated", "other") for row in rows(table)]
    assert set(durations_ms) == {row["path"] for row in listed}
    for row in filter(usable, listed):
        samples, rate_hz = soundfile.read(RELEASE / "clips" / row["path"], dtype="float32")
        assert samples.ndim == 1
        assert 0.5 < len(samples) / rate_hz < 2.5
        assert len(samples) / rate_hz * 1000 == pytest.approx(durations_ms[row["path"]], abs=2)
        assert np.abs(samples).max() > 0.1
        rates[rate_hz] += 1
    assert set(rates) == {32000, 48000}
    assert min(rates.values()) > 100


def faults() -> list[tuple[str, str]]:
    """(split, what is wrong) for every clip of the splits that is not usable as it stands, found by looking at it."""
    found = []
    for split in SPLITS:
        for row in rows(split):
            path = RELEASE / "clips" / row["path"]
            sentence = row["sentence"]
            if not path.exists():
                found.append((split, "file missing"))
            elif path.stat().st_size == 0:
                found.append((split, "file empty"))
            elif promised_bytes(path) == 0:
                with pytest.raises(soundfile.LibsndfileError):
                    soundfile.read(path)
                found.append((split, "file garbage"))
            elif promised_bytes(path) > path.stat().st_size:
                assert 0.4 < path.stat().st_size / promised_bytes(path) < 0.7
                found.append((split, "file truncated"))
            elif soundfile.info(path).duration > 10:
                found.append((split, "too long"))
            elif not sentence:
                found.append((split, "sentence empty"))
            elif re.search(r"\d", sentence):
                found.append((split, "digit"))
            elif not sentence.isascii():
                found.append((split, "outside a-z"))
            elif len(sentence) > soundfile.info(path).duration * 50:
                found.append((split, "too short for its sentence"))
            elif sentence.startswith('"'):
                found.append((split, "quote"))
            else:
                assert usable(row)
    return found


def test_faults_are_there_and_no_others() -> None:
    assert sorted(faults()) == sorted(
        [
            ("train", "file empty"),
            ("train", "file truncated"),
            ("train", "too long"),
            ("train", "quote"),
            ("train", "outside a-z"),
            ("train", "digit"),
            ("dev", "file garbage"),
            ("dev", "file missing"),
            ("dev", "sentence empty"),
            ("test", "file truncated"),
            ("test", "file empty"),
            ("test", "too short for its sentence"),
            ("test", "quote"),
        ]
    )


def test_a_reader_that_honours_quotes_loses_rows() -> None:
    """The row with one quote is a trap: this shows that it is set."""
    with (RELEASE / "train.tsv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file, delimiter="\t"))) < len(rows("train"))


def test_alphabet_covers_the_usable_sentences() -> None:
    lines = (EXAMPLES / "alphabet.txt").read_text(encoding="utf-8").splitlines()
    symbols = [line for line in lines if not line.startswith("#")]
    assert symbols == [" ", *"abcdefghijklmnopqrstuvwxyz", "'"]


def test_script_and_corpus_agree(script: ModuleType) -> None:
    """The plan in the script, which needs no speech synthesis, is the plan that the committed tables came from."""
    expected = Counter(
        (clip.speaker.client_id, f"common_voice_en_{number}.mp3", clip.sentence)
        for number, clip in enumerate(script.plan(), script.FIRST_CLIP_NUMBER)
    )
    listed = [row for table in ("validated", "invalidated", "other") for row in rows(table)]
    assert Counter((row["client_id"], row["path"], row["sentence"]) for row in listed) == expected


def same_programs() -> bool:
    """Whether the espeak-ng and lame that made the committed clips are here."""
    if system.lacking("espeak-ng", "lame"):
        return False
    versions = [subprocess.run([p, "--version"], capture_output=True, text=True).stdout for p in ("espeak-ng", "lame")]
    return " 1.51 " in versions[0] and "version 3.100 " in versions[1]


@system.needs("espeak-ng", "lame")
@pytest.mark.skipif(not same_programs(), reason="needs espeak-ng 1.51 and lame 3.100 (Debian 12's)")
def test_script_makes_the_committed_bytes(script: ModuleType, tmp_path: Path) -> None:
    clips = list(enumerate(script.plan(), script.FIRST_CLIP_NUMBER))
    damaged = [(number, clip) for number, clip in clips if clip.damage and clip.damage != "missing"]
    for number, clip in [*clips[:12], *damaged]:
        name, _ = script.record(clip, number, tmp_path)
        assert (tmp_path / name).read_bytes() == (RELEASE / "clips" / name).read_bytes(), clip


def test_missing_programs_are_one_line(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="2"):
        script.main(["--output", str(tmp_path / "corpus")])
    told = capsys.readouterr().err
    assert told == "error: espeak-ng and lame not found; on Debian: apt-get install -y espeak-ng lame\n"
    assert list(tmp_path.iterdir()) == []


def test_script_replaces_no_folder_but_a_corpus(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.shutil, "which", lambda program: program)
    (tmp_path / "precious.txt").write_text("keep me")
    with pytest.raises(SystemExit, match="2"):
        script.main(["--output", str(tmp_path)])
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} exists and is no corpus")
    assert (tmp_path / "precious.txt").read_text() == "keep me"
