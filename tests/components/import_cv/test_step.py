"""The import as a whole: folders and archives in, a corpus out, whatever the data."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.import_cv import step
from components.import_cv.settings import ImportSettings
from components.import_cv.write import parts
from speech.artifacts import Corpus, CorpusPart, write_sidecar
from speech.clips.audio import ClipReader, parse_wav
from speech.clips.manifest import DEEPSPEECH_COLUMNS, read_manifest
from speech.errors import InputError, RetryError

from .conftest import COLUMNS, Entry, encoded, mp3, sound, tsv, write_release

MakeRelease = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def archive(
    release: Path, path: Path, *, tables_first: bool = False, root: str = "cv-corpus-9.0-2022-04-27/xx"
) -> Path:
    """The release as it is downloaded."""
    files = sorted(release.rglob("*"), key=lambda file: (file.suffix == ".tsv") != tables_first)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for file in files:
            if file.is_file():
                tar.add(file, f"{root}/{file.relative_to(release)}")
    return path


def reasons(corpus: Corpus) -> dict[str, int]:
    return {name: found["count"] for name, found in corpus.report["reasons"].items()}


def test_a_clean_release(make_release: MakeRelease, tmp_path: Path) -> None:
    corpus = step.run(ImportSettings(), str(make_release()), tmp_path / "corpus")
    assert sorted(contents(corpus.folder)) == [
        "alphabet.txt", "dev.csv", "import_index.csv", "import_report.html", "import_report.json",
        "shards/dev-00000.tar", "shards/test-00000.tar", "shards/train-00000.tar", "test.csv", "train.csv",
    ]  # fmt: skip
    opened = Corpus.open(corpus.folder)
    train = opened.manifest("train")
    assert [clip.wav_filename for clip in train] == [f"clips/clip_{n:05d}.wav" for n in range(6)]
    assert train.clips[0].transcript == "train open the door"
    assert train.clips[0].client_id == "train0"
    assert opened.alphabet.symbols == tuple(
        sorted(set("".join(clip.transcript for s in ("train", "dev", "test") for clip in opened.manifest(s))))
    )
    reader = ClipReader(train, 16000)
    for clip in train:
        samples = reader.samples(clip)
        assert clip.wav_filesize == 44 + 2 * len(samples)
        assert clip.duration_s == pytest.approx(len(samples) / 16000, abs=1e-4)
        assert np.abs(samples).max() > 1000
    assert opened.report["sets"]["train"]["clips"] == 6
    assert opened.report["refused"] == 0


def test_shards_unpack_to_the_other_layout(make_release: MakeRelease, tmp_path: Path) -> None:
    release = make_release(train=9)
    shards = step.run(ImportSettings(shard_clips=4), str(release), tmp_path / "shards")
    clips = step.run(ImportSettings(layout="clips"), str(release), tmp_path / "clips")
    assert sorted(path.name for path in (shards.folder / "shards").iterdir()) == [
        "dev-00002.tar", "test-00002.tar", "test-00003.tar", "train-00000.tar", "train-00001.tar", "train-00002.tar",
    ]  # fmt: skip
    for split in ("train", "dev", "test"):  # who needs one set need not have the others' audio
        assert all(Path(clip.shard).name.startswith(split) for clip in read_manifest(shards.csv(split)))
    for tar in sorted((shards.folder / "shards").iterdir()):
        subprocess.run(["tar", "-xf", tar, "-C", tmp_path], check=True)
    unpacked = contents(tmp_path / "clips" / "clips")
    assert len(unpacked) == 13
    for clip in read_manifest(clips.csv("train")):
        assert clip.shard == ""
        data = (clips.folder / clip.wav_filename).read_bytes()
        assert len(data) == clip.wav_filesize
        assert parse_wav(data, "clip")[1] == 16000
    with tarfile.open(shards.folder / "shards/train-00000.tar") as tar:
        member = tar.getmembers()[0]
        found = tar.extractfile(member)
        assert found is not None
        assert found.read() == unpacked[Path(member.name).name]
        assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")


@pytest.mark.parametrize("name", ["release.tar.gz", "release.tar"])
@pytest.mark.parametrize("tables_first", [False, True])
def test_an_archive_gives_the_clips_of_its_folder(
    make_release: MakeRelease, tmp_path: Path, name: str, tables_first: bool
) -> None:
    release = make_release()
    folder = step.run(ImportSettings(), str(release), tmp_path / "folder")
    packed = archive(release, tmp_path / name, tables_first=tables_first)
    corpus = step.run(ImportSettings(), str(packed), tmp_path / "archive")
    for name in ("train", "dev", "test"):
        one, other = folder.manifest(name), corpus.manifest(name)
        assert [clip.transcript for clip in one] == [clip.transcript for clip in other]
        readers = ClipReader(one, 16000), ClipReader(other, 16000)
        for first, second in zip(one, other, strict=True):
            assert np.array_equal(readers[0].samples(first), readers[1].samples(second))
    assert corpus.report["release"] == "cv-corpus-9.0-2022-04-27/xx"


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("layout", ["shards", "clips"])
def test_same_bytes_whatever_the_workers(make_release: MakeRelease, tmp_path: Path, workers: int, layout: str) -> None:
    release = make_release(train=40)
    one = step.run(ImportSettings(layout=layout, workers=2, shard_clips=20), str(release), tmp_path / "one")
    other = step.run(ImportSettings(layout=layout, workers=workers, shard_clips=20), str(release), tmp_path / "other")
    assert contents(one.folder) == contents(other.folder)


def test_every_fault_is_counted_and_harms_nothing_else(tmp_path: Path, clips: list[bytes]) -> None:
    good = clips[0]
    silent_wav = encoded(np.zeros((0, 1), np.float32), 16000, "WAV")
    entries = [
        Entry("first.mp3", "First.", good),
        Entry("missing.mp3", "Missing."),
        Entry("empty.mp3", "Empty.", b""),
        Entry("garbage.mp3", "Garbage.", b"garbage" * 500),
        Entry("truncated.mp3", "Truncated.", good[: len(good) // 2]),
        Entry("wav_inside.mp3", "Wav inside.", encoded(sound(1, 44100, channels=2), 44100, "WAV")),
        Entry("stereo.mp3", "Stereo.", mp3(1, 48000, channels=2)),
        Entry("eight.mp3", "Eight.", mp3(1, 8000)),
        Entry("ninety_six.mp3", "Ninety six.", encoded(sound(1, 96000), 96000, "FLAC")),
        Entry("no_samples.mp3", "No samples.", silent_wav),
        Entry("long.mp3", "Long.", mp3(11, 8000)),
        Entry("short.mp3", "A sentence of far too many characters for its clip of less than a second.", good),
        Entry("punctuation.mp3", "...!?", good),
        Entry("nothing.mp3", "", good),
        Entry("digit.mp3", "Room 7.", good),
        Entry("emoji.mp3", "Smile 😀.", good),
        Entry("arabic.mp3", "مرحبا", good),
        Entry("combining.mp3", "e\u0301te\u0301", good),
        Entry("quote.mp3", '"Quote.', good),
        Entry("tab.mp3", "A tab\tinside.", good),
        Entry("../outside.mp3", "Outside.", None),
        Entry("/etc/hostname", "Absolute."),
        Entry("link.mp3", "Link."),
        Entry("pipe.mp3", "Pipe."),
        Entry("folder.mp3", "Folder."),
        Entry("big.mp3", "Big.", good + b"\0" * 2_000_000),
        Entry("wav_inside.wav", "Taken."),
        Entry("last.mp3", "Last.", good),
    ]
    release = write_release(tmp_path / "xx", train=entries, dev=[], test=[])
    (tmp_path / "outside.mp3").write_bytes(good)
    (release / "clips/link.mp3").symlink_to(tmp_path / "outside.mp3")
    os.mkfifo(release / "clips/pipe.mp3")
    (release / "clips/folder.mp3").mkdir()
    corpus = step.run(ImportSettings(max_clip_mb=1.9, rules="none"), str(release), tmp_path / "corpus")
    assert reasons(corpus) == {
        "malformed_row": 1, "unsafe_path": 2, "name_taken": 1, "no_sentence": 2, "invalid_label": 1,
        "missing": 1, "empty": 1, "not_a_file": 3, "too_big": 1, "not_audio": 1, "truncated": 1, "no_samples": 1,
        "too_long": 1, "too_short": 1,
    }  # fmt: skip
    assert [(Path(clip.wav_filename).stem, clip.transcript) for clip in corpus.manifest("train")] == [
        ("first", "first"), ("wav_inside", "wav inside"), ("stereo", "stereo"), ("eight", "eight"),
        ("ninety_six", "ninety six"), ("emoji", "smile 😀"), ("arabic", "مرحبا"), ("combining", "e\u0301te\u0301"),
        ("quote", "quote"), ("last", "last"),
    ]  # fmt: skip
    found = corpus.report["reasons"]["truncated"]["examples"]["train"][0]
    assert (found["line"], found["path"], found["sentence"]) == (6, "truncated.mp3", "truncated")
    assert corpus.report["sets"]["train"]["rows"] == len(entries)
    reader = ClipReader(corpus.manifest("train"), 16000)
    lengths = {Path(clip.wav_filename).stem: len(reader.samples(clip)) for clip in reader.manifest}
    assert lengths["first"] == lengths["last"] == lengths["quote"]
    assert lengths["wav_inside"] == lengths["ninety_six"] == lengths["eight"] == 16000


def test_unsafe_archives(make_release: MakeRelease, tmp_path: Path, clips: list[bytes]) -> None:
    release = make_release(train=4)
    lines = (release / "train.tsv").read_text()
    rows = tsv([Entry("../../evil.mp3"), Entry("a_link.mp3"), Entry("a_device.mp3"), Entry("huge.mp3")]).split("\n", 1)[
        1
    ]
    (release / "train.tsv").write_text(lines + rows)
    path = archive(release, tmp_path / "release.tar")
    root = "cv-corpus-9.0-2022-04-27/xx/clips"
    with tarfile.open(path, "a") as tar:
        for name, kind in ((f"{root}/a_link.mp3", tarfile.SYMTYPE), (f"{root}/a_device.mp3", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        for name in (f"{root}/../../../evil.mp3", "/absolute.mp3"):
            member = tarfile.TarInfo(name)
            member.size = len(clips[0])
            tar.addfile(member, __import__("io").BytesIO(clips[0]))
        member = tarfile.TarInfo(f"{root}/huge.mp3")
        member.size = 3_000_000
        tar.addfile(member, __import__("io").BytesIO(bytes(member.size)))
    corpus = step.run(ImportSettings(max_clip_mb=2), str(path), tmp_path / "out/corpus")
    assert reasons(corpus) == {"unsafe_path": 1, "not_a_file": 2, "too_big": 1}
    assert corpus.report["notes"]["members_outside_the_archive"] == 4
    assert corpus.report["sets"]["train"]["clips"] == 4
    assert not list(tmp_path.rglob("evil*"))
    assert not list(tmp_path.rglob("absolute*"))


@pytest.mark.parametrize("name", ["release.tar.gz", "release.tar"])
@pytest.mark.parametrize("share", [0.3, 0.98])
def test_a_cut_archive_is_an_error(make_release: MakeRelease, tmp_path: Path, name: str, share: float) -> None:
    path = archive(make_release(train=20), tmp_path / name, tables_first=True)
    data = path.read_bytes()
    size = len(data) if path.suffix == ".gz" else len(data.rstrip(b"\0"))
    path.write_bytes(data[: int(size * share)])
    with pytest.raises(InputError, match="not a whole"):
        step.run(ImportSettings(), str(path), tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"not an archive" * 100)
    with pytest.raises(InputError, match="not a whole"):
        step.run(ImportSettings(), str(tmp_path / "x.tar.gz"), tmp_path / "corpus")


def test_all_sets(tmp_path: Path, clips: list[bytes]) -> None:
    def entries(numbers: range, speaker: str) -> list[Entry]:
        return [Entry(f"{n}.mp3", f"{speaker} says {'abcdefghij'[n]}", clips[n % 6], speaker) for n in numbers]

    train, dev, test = entries(range(0, 3), "t"), entries(range(3, 5), "d"), entries(range(5, 7), "e")
    sets = {"train": train, "dev": dev, "test": test, "validated": [*train, *dev, *test, *entries(range(7, 9), "t")]}
    release = write_release(tmp_path / "xx", **sets, other=entries(range(9, 10), "o"))
    settings = ImportSettings(sets=("train-all", "train", "dev", "test", "validated", "other"))
    corpus = step.run(settings, str(release), tmp_path / "corpus")
    sizes = {name: len(corpus.manifest(name)) for name in settings.ordered_sets}
    assert sizes == {"train": 3, "dev": 2, "test": 2, "validated": 9, "other": 1, "train-all": 5}
    assert corpus.report["sets"]["train-all"]["held_out"] == 4
    assert corpus.report["audio"]["clips"] == 10


def test_settings_of_the_transcripts(tmp_path: Path, clips: list[bytes]) -> None:
    entries = [Entry("a.mp3", "Café.", clips[0]), Entry("b.mp3", "Zebra.", clips[1]), Entry("c.mp3", "Ace.", clips[2])]
    release = write_release(tmp_path / "xx", train=entries, dev=[], test=[])
    (tmp_path / "alphabet.txt").write_text("# ours\n \nc\na\nf\ne\n")
    settings = ImportSettings(
        filter_alphabet=str(tmp_path / "alphabet.txt"), normalize=True, space_after_every_character=True
    )
    corpus = step.run(settings, str(release), tmp_path / "corpus")
    assert [clip.transcript for clip in corpus.manifest("train")] == ["c a f e", "a c e"]
    assert corpus.alphabet.symbols == (" ", "c", "a", "f", "e")
    assert list(corpus.report["characters"]["outside_alphabet"]) == ["b", "r", "z"]
    same = step.run(
        ImportSettings(filter_alphabet=" \nc\na\nf\ne\n", normalize=True, space_after_every_character=True),
        str(release),
        tmp_path / "same",
    )
    assert contents(same.folder) == contents(corpus.folder)


def test_limits_at_their_edges(tmp_path: Path) -> None:
    """Ten seconds are allowed, a sample more is not; 50 characters a second are, one more is not."""
    exact = encoded(sound(10.0, 16000), 16000, "WAV")
    beyond = encoded(sound(10.0 + 1 / 16000, 16000), 16000, "WAV")
    second = encoded(sound(1.0, 16000), 16000, "WAV")
    entries = [
        Entry("exact.mp3", "x", exact),
        Entry("beyond.mp3", "x", beyond),
        Entry("fifty.mp3", "x" * 50, second),
        Entry("more.mp3", "x" * 51, second),
    ]
    release = write_release(tmp_path / "xx", train=entries, dev=[], test=[])
    corpus = step.run(ImportSettings(), str(release), tmp_path / "corpus")
    assert [Path(clip.wav_filename).stem for clip in corpus.manifest("train")] == ["exact", "fifty"]
    assert reasons(corpus) == {"too_long": 1, "too_short": 1}


def test_a_clip_with_two_sentences_is_judged_by_each(tmp_path: Path) -> None:
    second = encoded(sound(1.0, 16000), 16000, "WAV")
    release = write_release(
        tmp_path / "xx", train=[Entry("a.mp3", "x" * 60, second), Entry("a.mp3", "short")], dev=[], test=[]
    )
    corpus = step.run(ImportSettings(), str(release), tmp_path / "corpus")
    assert [clip.transcript for clip in corpus.manifest("train")] == ["short"]
    assert reasons(corpus) == {"too_short": 1}


def test_releases_of_all_years(tmp_path: Path, clips: list[bytes]) -> None:
    early = ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent")
    (tmp_path / "xx/clips").mkdir(parents=True)
    for name in ("train", "dev", "test"):
        rows = [Entry(f"{name}hash", f"{name} sentence", more={"accent": "us"})]
        (tmp_path / f"xx/{name}.tsv").write_text(tsv(rows, early).replace("\n", "\r\n"))
        (tmp_path / f"xx/clips/{name}hash.mp3").write_bytes(clips[0])
    corpus = step.run(ImportSettings(), str(tmp_path / "xx"), tmp_path / "corpus")
    assert corpus.manifest("dev").clips[0].wav_filename == "clips/devhash.wav"
    assert corpus.report["sets"]["train"]["by"]["accent"]["largest"][0]["value"] == "us"


def test_a_release_is_found_below_its_folder(make_release: MakeRelease, tmp_path: Path) -> None:
    make_release(name="cv-corpus-1/xx")
    assert (
        step.run(ImportSettings(), str(tmp_path / "cv-corpus-1"), tmp_path / "one").report["release"]
        == "cv-corpus-1/xx"
    )
    make_release(name="cv-corpus-1/yy")
    with pytest.raises(InputError, match="more than one release"):
        step.run(ImportSettings(), str(tmp_path / "cv-corpus-1"), tmp_path / "two")


def wrong_column(release: Path) -> None:
    (release / "train.tsv").write_text("client_id\tfile\tsentence\n")


def wrong_alphabet(release: Path) -> None:
    (release / "alphabet.txt").write_text(" \nq\n")


def no_clips(release: Path) -> None:
    for path in (release / "clips").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "flags", "message"),
    [
        (lambda release: release.rename(release.with_name("gone")), {}, "no such folder or archive"),
        (wrong_column, {}, "train.tsv: line 1: no column path"),
        (lambda release: (release / "dev.tsv").unlink(), {"splits": "release"}, "no dev.tsv"),
        (lambda release: [path.unlink() for path in release.glob("*.tsv")], {}, "no TSV files"),
        (wrong_alphabet, {"filter_alphabet": "{release}/alphabet.txt"}, "covers no sentence of train"),
        (lambda release: None, {"filter_alphabet": "{release}/no.txt"}, "no such alphabet"),
        (no_clips, {}, "no usable clip in train.tsv: refused: 6 missing"),
        (lambda release: (release / "train.tsv").write_text(tsv([])), {}, "there are no rows"),
        (lambda release: None, {"audio_dir": "{release}/no"}, "no such folder"),
        (lambda release: None, {"previous": "{release}"}, "not a complete corpus"),
        (lambda release: None, {"validate_label_locale": "{release}/no.py"}, "no such file"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    make_release: MakeRelease, tmp_path: Path, damage: Callable[[Path], object], flags: dict[str, str], message: str
) -> None:
    release = make_release()
    damage(release)
    given = [f"--{name}={value.format(release=release)}" for name, value in flags.items()]
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "components.import_cv",
            str(release),
            "--corpus_dir",
            str(tmp_path / "a/corpus"),
            *given,
        ],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 2, made.stderr
    error = [line for line in made.stderr.splitlines() if not line.startswith("import:")]
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert message in error[0]
    assert not (tmp_path / "a").exists()


def test_an_error_keeps_the_corpus_that_was_there(make_release: MakeRelease, tmp_path: Path) -> None:
    release = make_release()
    corpus = step.run(ImportSettings(), str(release), tmp_path / "corpus")
    before = contents(corpus.folder)
    wrong_column(release)
    with pytest.raises(InputError):
        step.run(ImportSettings(), str(release), tmp_path / "corpus")
    assert contents(corpus.folder) == before


def test_a_second_import_into_the_same_folder_waits_for_nobody(make_release: MakeRelease, tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from components.import_cv.write.corpus_folder import CorpusFolder\n"
        f"with CorpusFolder(pathlib.Path({str(tmp_path / 'corpus')!r})).locked():\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(InputError, match="another import"):
        step.run(ImportSettings(), str(make_release()), tmp_path / "corpus")
    other.kill()
    other.wait()
    other.stdout.close()
    step.run(ImportSettings(), str(make_release()), tmp_path / "corpus")


def test_a_rerun_gives_the_same_and_replaces_what_is_stale(make_release: MakeRelease, tmp_path: Path) -> None:
    release, corpus = make_release(train=8), tmp_path / "corpus"
    step.run(ImportSettings(shard_clips=4), str(release), corpus)
    first = contents(corpus)
    step.run(ImportSettings(shard_clips=4), str(release), corpus)
    assert contents(corpus) == first
    step.run(ImportSettings(sets=("train",)), str(release), corpus)
    assert [name for name in contents(corpus) if name.endswith((".tar", ".csv"))] == [
        "import_index.csv", "shards/train-00000.tar", "train.csv",
    ]  # fmt: skip
    step.run(ImportSettings(sets=("train",), layout="clips"), str(release), corpus)
    assert len([name for name in contents(corpus) if name.endswith(".wav")]) == 8
    step.run(ImportSettings(shard_clips=4), str(release), corpus)
    assert contents(corpus) == first


def test_only_new_and_changed_clips_are_converted(
    make_release: MakeRelease, tmp_path: Path, clips: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = make_release(train=12, name="release-1")
    old = step.run(ImportSettings(shard_clips=5), str(release), tmp_path / "old")
    later = make_release(train=14, name="release-2")
    (later / "clips/clip_00003.mp3").write_bytes(mp3(1.3, 44100, 77))
    (later / "clips/clip_00004.mp3").rename(later / "clips/renamed.mp3")
    text = (later / "train.tsv").read_text()
    (later / "train.tsv").write_text(text.replace("clip_00004.mp3", "renamed.mp3"))
    fresh = step.run(ImportSettings(), str(later), tmp_path / "fresh")
    for previous in (old.folder, fresh.folder):
        incremental = step.run(ImportSettings(previous=str(previous)), str(later), tmp_path / f"new-{previous.name}")
        audio = incremental.report["audio"]
        expected = 17 if previous == old.folder else 18  # the six sounds of the fixture repeat: one is new
        assert (audio["from_previous"], audio["converted"]) == (expected, 18 - expected)
        names = [name for name in contents(fresh.folder) if not name.startswith("import_report")]
        assert all(contents(incremental.folder)[name] == contents(fresh.folder)[name] for name in names)
    (old.folder / "shards/train-00000.tar").write_bytes(b"damaged")
    again = step.run(ImportSettings(previous=str(old.folder)), str(later), tmp_path / "again")
    assert again.report["audio"]["converted"] >= 1  # a sound that lies elsewhere, too, is taken from there
    assert contents(again.folder)["shards/train-00000.tar"] == contents(fresh.folder)["shards/train-00000.tar"]


@pytest.mark.parametrize("layout", ["shards", "clips"])
def test_audio_that_rotted_in_the_previous_corpus_is_converted_again(
    layout: str, make_release: MakeRelease, tmp_path: Path
) -> None:
    """A bit that flipped behind a header of the right length is in no new corpus; nor is what has no checksum."""
    release = make_release(train=6)
    (release / "clips/clip_00002.mp3").write_bytes(mp3(1.3, 44100, 77))  # a sound that no other clip has
    settings = ImportSettings(layout=layout)
    old = step.run(settings, str(release), tmp_path / "old")
    fresh = contents(step.run(settings, str(release), tmp_path / "fresh").folder)
    clip = old.manifest("train").clips[2]
    path = old.folder / (clip.shard or clip.wav_filename)
    data = bytearray(path.read_bytes())
    data[clip.offset + 5000] ^= 1
    path.write_bytes(data)
    again = step.run(replace(settings, previous=str(old.folder)), str(release), tmp_path / "again")
    name = path.relative_to(old.folder).as_posix()
    assert contents(again.folder)[name] == fresh[name]
    assert again.report["audio"]["converted"] == 1

    index = old.folder / Corpus.INDEX  # as earlier versions wrote it
    index.write_text("".join(line.rsplit(",", 1)[0] + "\n" for line in index.read_text().splitlines()))
    anew = step.run(replace(settings, previous=str(old.folder)), str(release), tmp_path / "anew")
    assert anew.report["audio"].get("from_previous", 0) == 0
    assert contents(anew.folder)[name] == fresh[name]


@pytest.mark.parametrize("made_by", [[1, 16000], None, "1", 3])
def test_a_previous_corpus_whose_report_does_not_say_how_it_was_made(
    made_by: object, make_release: MakeRelease, tmp_path: Path
) -> None:
    old = step.run(ImportSettings(), str(make_release()), tmp_path / "old").folder
    write_sidecar(old, Corpus.REPORT, {**Corpus(old).report, "converter": made_by})
    with pytest.raises(InputError, match=r"report\.json: damaged: it does not say how the clips were made"):
        step.run(ImportSettings(previous=str(old)), str(tmp_path / "release"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_listed_duration_of_five_thousand_digits(make_release: MakeRelease, tmp_path: Path) -> None:
    """It is longer than any clip, so that clip counts as cut off, and nothing else happens."""
    release = make_release()
    (release / "clip_durations.tsv").write_text(f"clip\tduration[ms]\nclip_00000.mp3\t{'9' * 5000}\n")
    report = step.run(ImportSettings(), str(release), tmp_path / "corpus").report
    assert {name: found["count"] for name, found in report["reasons"].items()} == {"truncated": 1}


def test_another_sample_rate_takes_nothing_from_the_previous_corpus(make_release: MakeRelease, tmp_path: Path) -> None:
    release = make_release()
    step.run(ImportSettings(), str(release), tmp_path / "corpus")
    settings = ImportSettings(audio_sample_rate=8000, previous=str(tmp_path / "corpus"))
    corpus = step.run(settings, str(release), tmp_path / "eight")
    assert corpus.report["audio"]["from_previous"] == 0
    clip = corpus.manifest("train").clips[0]
    data = (corpus.folder / clip.shard).read_bytes()[clip.offset : clip.offset + clip.wav_filesize]
    assert parse_wav(data, "clip")[1] == 8000


@pytest.mark.parametrize("layout", ["shards", "clips"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_merged_parts_are_the_same_corpus(
    make_release: MakeRelease, tmp_path: Path, layout: str, packed: bool, count: int
) -> None:
    release = make_release(train=21)
    (release / "clips/clip_00002.mp3").unlink()
    (release / "clips/clip_00009.mp3").write_bytes(b"damaged")
    text = (release / "train.tsv").read_text()
    (release / "train.tsv").write_text(text + tsv([Entry("seven.mp3", "7"), Entry("../x.mp3")]).split("\n", 1)[1])
    source = str(archive(release, tmp_path / "release.tar.gz") if packed else release)
    whole = step.run(ImportSettings(layout=layout, shard_clips=3), source, tmp_path / "whole")
    folders = []
    for part in range(1, count + 1):
        folders.append(tmp_path / f"part{part}")
        settings = ImportSettings(layout=layout, shard_clips=3, partition=f"{part}/{count}", workers=part)
        step.run(settings, source, folders[-1])
        with pytest.raises(InputError, match="not a complete corpus"):
            Corpus.open(folders[-1])
    held = [sum(1 for name in contents(folder) if name.endswith((".tar", ".wav"))) for folder in folders]
    assert max(held) - min(held) <= (3 if layout == "shards" else 5)
    merged = parts.merge(folders[::-1], tmp_path / "merged")
    assert contents(merged.folder) == contents(whole.folder)


def test_parts_of_copies_of_an_archive(make_release: MakeRelease, tmp_path: Path) -> None:
    """Every machine has its own download, with its own time stamp."""
    path = archive(make_release(train=12), tmp_path / "release.tar.gz")
    for number in (1, 2):
        copy = tmp_path / f"machine{number}" / path.name
        copy.parent.mkdir()
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (number, number))
        step.run(ImportSettings(partition=f"{number}/2", shard_clips=4), str(copy), tmp_path / f"part{number}")
    merged = parts.merge([tmp_path / "part1", tmp_path / "part2"], tmp_path / "merged")
    assert len(merged.manifest("train")) == 12


def test_parts_must_fit_together(make_release: MakeRelease, tmp_path: Path) -> None:
    release = make_release()
    for number in (1, 2):
        step.run(ImportSettings(partition=f"{number}/2"), str(release), tmp_path / f"part{number}")
    step.run(ImportSettings(partition="2/2", normalize=True, max_duration_s=1.0), str(release), tmp_path / "other")
    with pytest.raises(InputError, match="found \\[1\\]"):
        parts.merge([tmp_path / "part1"], tmp_path / "merged")
    with pytest.raises(InputError, match="not parts of the same import"):
        parts.merge([tmp_path / "part1", tmp_path / "other"], tmp_path / "merged")
    with pytest.raises(InputError, match="no parts"):
        parts.merge([], tmp_path / "merged")
    with pytest.raises(InputError, match="not a complete part"):
        parts.merge([tmp_path / "part1", release], tmp_path / "merged")
    CorpusPart.open(tmp_path / "part1")
    assert not (tmp_path / "merged").exists()


def test_a_full_disk_is_said_so(make_release: MakeRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("components.import_cv.write.shards.os.writev", full)
    with pytest.raises(RetryError, match="No space left"):
        step.run(ImportSettings(), str(make_release()), tmp_path / "corpus")


def test_workers_that_are_spawned(make_release: MakeRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems where processes cannot be forked safely."""
    release = make_release(train=20)
    forked = step.run(ImportSettings(), str(release), tmp_path / "forked")
    monkeypatch.setattr("components.import_cv.convert.workers.START_METHOD", "spawn")
    spawned = step.run(ImportSettings(workers=2), str(release), tmp_path / "spawned")
    assert contents(spawned.folder) == contents(forked.folder)


def test_an_interrupted_download_keeps_what_is_done(
    make_release: MakeRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    release = make_release(train=60)
    whole = step.run(ImportSettings(), str(release), tmp_path / "whole")
    from components.import_cv.read.folders import Folder

    found = Folder.clips

    def breaking(self: Folder, *given: Any) -> Any:
        for number, clip in enumerate(found(self, *given)):
            if number == 40:
                raise RetryError("the connection is gone")
            yield clip

    monkeypatch.setattr(Folder, "clips", breaking)
    with pytest.raises(RetryError):
        step.run(ImportSettings(workers=1), str(release), tmp_path / "corpus")
    monkeypatch.setattr(Folder, "clips", found)
    step.run(ImportSettings(), str(release), tmp_path / "corpus")
    assert "going on behind" in capfd.readouterr().err
    assert contents(tmp_path / "corpus") == contents(whole.folder)


def test_a_report_without_secrets_of_the_run(make_release: MakeRelease, tmp_path: Path) -> None:
    corpus = step.run(ImportSettings(), str(make_release()), tmp_path / "corpus")
    text = json.dumps(corpus.report) + corpus.folder.joinpath(Corpus.HTML_REPORT).read_text()
    assert str(tmp_path) not in text
    assert step.headline(corpus)["train_clips"] == 6
    assert "<html" in step.read_report(corpus)


def test_the_csv_is_what_the_peers_read(make_release: MakeRelease, tmp_path: Path) -> None:
    corpus = step.run(ImportSettings(), str(make_release()), tmp_path / "corpus")
    header = corpus.csv("train").read_text().splitlines()[0].split(",")
    assert tuple(header[:3]) == DEEPSPEECH_COLUMNS
    assert len(COLUMNS) == 13
