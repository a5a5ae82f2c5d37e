"""Corpora of other layouts: their own sets are used, their names and speakers kept."""

import csv
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from components.import_cv import step
from components.import_cv.read.foreign import DatabaseSource, ForeignFolder
from components.import_cv.read.layouts import set_of
from components.import_cv.read.opening import open_sources
from components.import_cv.read.tsv import read_tsv
from components.import_cv.settings import ImportSettings
from speech.artifacts import Corpus
from speech.clips import opus_packets
from speech.clips.sample_database import OPUS_TYPE, WAV_TYPE, write_sample_database
from speech.errors import InputError
from speech.storage.objects import upload_folder
from tests.components.import_cv.conftest import Entry, encoded, mp3, sound, write_release

RATE = 16000


def audio(seed: int, format: str = "FLAC") -> bytes:
    return encoded(sound(1.0, RATE, seed), RATE, format)


def put(folder: Path, name: str, content: bytes | str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def librispeech(folder: Path) -> None:
    for number, (name, speaker) in enumerate((("train-clean-100", 84), ("dev-clean", 85), ("test-other", 86))):
        place = f"LibriSpeech/{name}/{speaker}/1"
        lines = []
        for clip in range(2):
            put(folder, f"{place}/{speaker}-1-{clip:04d}.flac", audio(10 * number + clip))
            lines.append(f"{speaker}-1-{clip:04d} SPOKEN IN {name.partition('-')[0].upper()} {'AB'[clip]}\n")
        put(folder, f"{place}/{speaker}-1.trans.txt", "".join(lines))
    put(folder, "LibriSpeech/LICENSE.TXT", "\nAttribution 4.0\nmore\n")


def multilingual(folder: Path) -> None:
    for number, name in enumerate(("train", "dev", "test")):
        lines = []
        for clip in range(2):
            identity = f"{90 + number}_7_{clip:06d}"
            put(folder, f"{name}/audio/{90 + number}/7/{identity}.opus", audio(10 * number + clip, "OGG"))
            lines.append(f"{identity}\tspoken in {name} {'ab'[clip]}\n")
        put(folder, f"{name}/transcripts.txt", "".join(lines))
        put(folder, f"{name}/segments.txt", "not read\n")


def pairs(folder: Path) -> None:
    for number, name in enumerate(("train", "dev", "test")):
        for clip in range(2):
            put(folder, f"{name}/ann/{clip}.wav", audio(10 * number + clip, "WAV"))
            put(folder, f"{name}/ann/{clip}.txt", f"Spoken in {name}, {'ab'[clip]}.\n")
    put(folder, "README.txt", "no clip beside it")


def csvs(folder: Path) -> None:
    for number, name in enumerate(("train", "dev", "test")):
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("wav_filename", "wav_filesize", "transcript"))
        for clip in range(2):
            put(folder, f"wav/{name}{clip}.wav", data := audio(10 * number + clip, "WAV"))
            machine = ("", "/elsewhere/corpus/")[clip]  # relative, and as the machine that wrote it has it
            writer.writerow((f"{machine}wav/{name}{clip}.wav", len(data), f"spoken in {name} {'ab'[clip]}"))
        put(folder, f"{name}.csv", table.getvalue())


LAYOUTS = {"librispeech": librispeech, "mls": multilingual, "pairs": pairs, "csvs": csvs}
EXPECTED = {name: [f"spoken in {name} {letter}" for letter in "ab"] for name in ("train", "dev", "test")}


def transcripts(corpus: Corpus) -> dict[str, list[str]]:
    return {name: sorted(clip.transcript for clip in corpus.manifest(name).clips) for name in EXPECTED}


@pytest.fixture(params=LAYOUTS)
def corpus_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "corpora" / request.param
    LAYOUTS[request.param](folder)
    return folder


def test_a_folder(corpus_folder: Path, tmp_path: Path) -> None:
    corpus = step.run(ImportSettings(), str(corpus_folder), tmp_path / "corpus")
    assert transcripts(corpus) == EXPECTED
    assert corpus.report["release"] == corpus_folder.name
    speakers = {clip.client_id for clip in corpus.manifest("train").clips}
    expected = {"librispeech": "librispeech-84", "mls": "mls-90", "pairs": "pairs/ann", "csvs": ""}
    assert speakers == {expected[corpus_folder.name]}
    license = "Attribution 4.0" if corpus_folder.name == "librispeech" else None
    assert corpus.report["origins"][0].get("license") == license


@pytest.mark.parametrize("kind", ["tar", "zip", "s3"])
def test_the_same_packed_or_in_a_store(corpus_folder: Path, tmp_path: Path, kind: str, request) -> None:
    uri = str(tmp_path / f"packed.{kind}")
    if kind == "tar":
        with tarfile.open(uri, "w") as tar:
            tar.add(corpus_folder, ".")
    elif kind == "zip":
        with zipfile.ZipFile(uri, "w") as archive:
            for file in sorted(corpus_folder.rglob("*")):
                archive.write(file, file.relative_to(corpus_folder))
    else:
        uri = f"{request.getfixturevalue('s3_bucket')}/{corpus_folder.name}"
        upload_folder(corpus_folder, uri)
    assert transcripts(step.run(ImportSettings(), uri, tmp_path / "corpus")) == EXPECTED


@pytest.mark.parametrize("kind", [WAV_TYPE, OPUS_TYPE])
def test_sample_databases(tmp_path: Path, kind: str) -> None:
    uris = []
    for number, name in enumerate(EXPECTED):
        path = tmp_path / f"{name}.sdb"
        uris.append(str(path))
        with write_sample_database(path, kind) as add:
            for clip in range(2):
                data = audio(10 * number + clip, "WAV")
                if kind == OPUS_TYPE:
                    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16")
                    data = opus_packets.encode(np.asarray(samples), RATE, 32_000)
                add(data, f"spoken in {name} {'ab'[clip]}")
    corpus = step.run(ImportSettings(), ",".join(uris), tmp_path / "corpus")
    assert transcripts(corpus) == EXPECTED
    assert isinstance(open_sources(uris[0], ""), DatabaseSource)


def test_a_folder_beside_a_release(tmp_path: Path) -> None:
    entries = [
        Entry(f"common_voice_cy_{n}.mp3", f"words of {'abc'[n]}", mp3(0.8, seed=50 + n), f"c{n}") for n in range(3)
    ]
    base = write_release(tmp_path / "cv-corpus-1-2019-02-25/cy", train=entries[:1], dev=entries[1:2], test=entries[2:])
    put(tmp_path, "own/0.wav", audio(1, "WAV"))
    put(tmp_path, "own/0.txt", "my own words")
    put(tmp_path, "own/1.wav", audio(2, "WAV"))
    put(tmp_path, "own/1.txt", "Words of C!")  # a sentence of the test set
    corpus = step.run(ImportSettings(), f"{base},{tmp_path}/own#license=CC-BY-4.0", tmp_path / "corpus")
    found = transcripts(corpus)
    assert (found["train"], found["test"]) == (["my own words", "words of a"], ["words of c"])
    assert corpus.report["origins"][1]["license"] == "CC-BY-4.0"


def tables(folder: Path, scratch: Path) -> dict[str, list[str]]:
    names = ("train", "dev", "test", "validated")
    release = ForeignFolder(str(folder), stored=False).tables((), names, scratch)
    return {
        name: [f"{reason.key} {row[1]}" for _, reason, row in read_tsv(path, ("path", "sentence"))]
        for name, path in sorted(release.tsv_files.items())
    }


def test_without_sets_all_is_validated(tmp_path: Path) -> None:
    put(tmp_path, "own/a.wav", b"x")
    put(tmp_path, "own/a.txt", "eins\nzwei\tdrei")
    put(tmp_path, "own/b.WAV", b"x")  # another suffix in capitals is another file than listed suffixes
    put(tmp_path, "own/c.flac", b"x")
    put(tmp_path, "own/c.txt", b"\xff\xfe")
    assert tables(tmp_path / "own", tmp_path / "t") == {"validated": ["accepted eins zwei drei", "not_utf8 "]}
    with pytest.raises(InputError, match=r"own: it has no train, only validated: name folders .* \(--splits\)"):
        ForeignFolder(str(tmp_path / "own"), stored=False).tables(("train",), (), tmp_path / "t")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train-clean-100/x", "train"), ("mls/dev/audio", "dev"), ("test.csv", "test"), ("clips_valid.csv", "dev"),
        ("latest/contest", "validated"), ("a/b", "validated"),
    ],
)  # fmt: skip
def test_what_names_say_of_sets(name: str, expected: str) -> None:
    assert set_of(name) == expected


def test_what_is_no_corpus(tmp_path: Path) -> None:
    put(tmp_path, "own/a.mp3", b"x")
    with pytest.raises(InputError, match="no TSV files of a Common Voice release, and no other layout that is known"):
        step.run(ImportSettings(), str(tmp_path / "own"), tmp_path / "corpus")
