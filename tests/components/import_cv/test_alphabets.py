"""--alphabet: proposed, given, or the bytes of UTF-8."""

from pathlib import Path

import pytest

from components.import_cv import step
from components.import_cv.settings import ImportSettings
from components.import_cv.write import parts
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Corpus
from speech.errors import InputError
from tests.components.import_cv.conftest import Entry, write_release


@pytest.fixture
def release(tmp_path: Path, clips: list[bytes]) -> Path:
    entries = [Entry(f"{n}.mp3", "გამარჯობა, მეგობარო!", clips[n % len(clips)]) for n in range(30)]
    entries[7].sentence = "გამარჯობა, wifi!"
    return write_release(tmp_path / "ka", train=entries, test=entries[:7])


def imported(release: Path, folder: Path, **settings: object) -> Corpus:
    return step.run(ImportSettings(sets=("train", "test"), workers=1, **settings), str(release), folder)  # type: ignore[arg-type]


def test_the_proposed_alphabet(release: Path, tmp_path: Path) -> None:
    collected = imported(release, tmp_path / "collected")
    proposal = collected.report["alphabet"]["proposal"]
    assert collected.report["alphabet"]["source"] == "collected from the transcripts"
    assert set(proposal["symbols"]) == set(collected.alphabet.symbols) - set("wif")
    assert (proposal["clips"], proposal["clips_lost"]) == (37, 1)
    made = imported(release, tmp_path / "proposed", alphabet="propose")
    assert list(made.alphabet.symbols) == proposal["symbols"]
    assert made.report["sets"]["train"]["reasons"] == {"outside_alphabet": 1}
    assert made.report["alphabet"]["source"] == "proposed"
    assert {rule["name"]: rule["rows"] for rule in made.report["rules"]["rules"] if rule["rows"]} == {"punctuation": 37}
    page = (collected.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")
    assert "latin, another script" in page
    assert "U+0077" in page


def test_parts_propose_the_same(release: Path, tmp_path: Path) -> None:
    whole = imported(release, tmp_path / "whole", alphabet="propose", shard_clips=10)
    folders = [tmp_path / str(number) for number in (1, 2)]
    for number, folder in enumerate(folders, start=1):
        imported(release, folder, alphabet="propose", shard_clips=10, partition=f"{number}/2")
    merged = parts.merge(folders, tmp_path / "merged")
    for name in (ALPHABET, "train.csv", "test.csv", Corpus.REPORT):
        assert (merged.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_the_bytes_of_utf_8(release: Path, tmp_path: Path) -> None:
    made = imported(release, tmp_path / "bytes", alphabet="utf8")
    assert made.alphabet == Alphabet.bytes_output_mode()
    assert made.report["sets"]["train"]["clips"] == 30
    assert made.report["alphabet"]["labels"] == 255
    assert "bytes of UTF-8" in (made.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")


def test_a_file_as_with_filter_alphabet(release: Path, tmp_path: Path) -> None:
    (tmp_path / "given.txt").write_text("".join(f"{one}\n" for one in sorted(set(" გამარჯობამეგობარო"))))
    made = imported(release, tmp_path / "given", alphabet=str(tmp_path / "given.txt"))
    assert made.alphabet == Alphabet.load(tmp_path / "given.txt")
    assert made.report["alphabet"]["source"] == "given"
    assert made.report["sets"]["train"]["clips"] == 29


def test_two_alphabets_are_an_error() -> None:
    with pytest.raises(InputError, match="--filter_alphabet names one already"):
        ImportSettings(alphabet="propose", filter_alphabet="a.txt")
