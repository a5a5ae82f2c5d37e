"""Coqui STT's own importer and ours over the same releases, clip by clip.

The importer is a program of Coqui STT's repository and in no package: `COQUI_IMPORT_CV2=STT/bin/import_cv2.py` says
where it lies, at v1.4.0. It calls sox, with MP3 support. Without either the test is skipped.
"""

import csv
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from components.import_cv.__main__ import DESCRIPTION, Command, run
from speech.alphabet import Alphabet
from speech.artifacts import Corpus
from speech.clips.audio import WAV_HEADER_BYTES
from speech.settings import parse
from tests.components.import_cv.conftest import Entry, mp3, write_release
from tests.peers.environments import REPOSITORY, Peer

Tables = dict[str, dict[str, tuple[int, str]]]  # set -> file name -> size and transcript
BROKEN = ("missing", "empty", "not_audio", "truncated")
SETS = ("train", "dev", "test", "validated", "other", "train-all")
# sox leaves the silence in that an MP3's encoder puts in front and behind; the decoder here takes it out.
MOST_SILENCE_SAMPLES = 2000  # at 16 kHz

PIECES = (
    "plain words", "Capitals AND More", "a-b_c", "end.", "what?!", "semi;colon:here", 'he said "so"', "it's", "it’s",
    "«quoted»", "dash – and — dash", "wait…", "number 7", "(in brackets)", "<tag>", "a{b}", "[x]", "a & b", "five * x",
    "50 %", "$ 5", "a@b", "a#b", "a/b", "a\\b", "x+y=z", "²", "½", "٣", "   ", "two  spaces", " in front", "behind ",
    "no\u00a0break", "zero\u200bwidth", "\ufeffmark", "soft\u00adhyphen", "e\u0301 apart", "é whole", "ﬁne", "ＡＢＣ",
    "İstanbul", "ISPARTA ırmak", "Straße ẞ", "Σίσυφος ΣΊΣΥΦΟΣ", "ǅ", "你好，世界。", "สวัสดี ครับ", "ถ้ํา", "გამარჯობა",
    "ߒߞߏ", "नमस्ते।", "שָׁלוֹם", "السَّلامُ", "مـــد", "😀 smile", "…", "!", "-", "_ _", "''", "´`", "’", "tab’s · dot",
)  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Path:
    path = os.environ.get("COQUI_IMPORT_CV2", "")
    if not path:
        pytest.skip("COQUI_IMPORT_CV2 does not say where Coqui STT's bin/import_cv2.py lies")
    if not (shutil.which("sox") and shutil.which("soxi")):
        pytest.skip("Coqui STT's importer needs sox and soxi on the PATH")
    return Path(path)


def awkward() -> Iterator[str]:
    """Every piece alone, between words, and after every third other one; in NFC and NFD."""
    for number, piece in enumerate(PIECES):
        for text in (piece, f"say {piece} now", f"{PIECES[(number * 3 + 1) % len(PIECES)]} {piece}"):
            if not text.startswith('"'):
                yield text
                if (apart := unicodedata.normalize("NFD", text)) != text:
                    yield apart


def call(*argv: str) -> None:
    """Our importer from a shell."""
    run(parse(Command, argv, prog="import_cv", description=DESCRIPTION))


def rows(path: Path) -> dict[str, tuple[int, str]]:
    """File name -> size and transcript."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["wav_filename"]: (int(row["wav_filesize"]), row["transcript"]) for row in csv.DictReader(file)}


def both(peer: Peer, program: Path, release: Path, folder: Path, *flags: str) -> tuple[Tables, Tables]:
    """Theirs and ours, by set; each in a copy of the release, where they leave their files."""
    theirs, ours = (shutil.copytree(release, folder / name) for name in ("theirs", "ours"))
    peer.run("python", program, theirs, *flags)
    call(str(ours), *flags)
    made = [
        {name: path for name in SETS if (path := one / "clips" / f"{name}.csv").is_file()} for one in (theirs, ours)
    ]
    assert made[0].keys() == made[1].keys()
    return tuple({name: rows(path) for name, path in one.items()} for one in made)  # type: ignore[return-value]


def compare(theirs: Tables, ours: Tables) -> int:
    """The same clips and transcripts, and sizes that only the encoder's silence parts; returns how many clips."""
    for name, expected in theirs.items():
        assert {clip: text for clip, (_, text) in ours[name].items()} == {
            clip: text for clip, (_, text) in expected.items()
        }, name
        for clip, (size, _) in expected.items():
            assert 0 <= (size - ours[name][clip][0]) // 2 <= MOST_SILENCE_SAMPLES, clip
            assert ours[name][clip][0] > WAV_HEADER_BYTES
    return sum(map(len, theirs.values()))


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--normalize",), ("--filter_alphabet", "ALPHABET")])
def test_awkward_transcripts(peer: Callable[[str], Peer], program: Path, tmp_path: Path, flags: Sequence[str]) -> None:
    sounds = [mp3(2.5 + 0.2 * seed, 32000, seed) for seed in range(4)]
    entries = [
        Entry(f"common_voice_xx_{number}.mp3", text, sounds[number % 4], f"speaker {number % 11}")
        for number, text in enumerate(awkward())
    ]
    tables = {"dev": entries[:20], "test": entries[20:40], "train": entries[40:], "validated": entries}
    release = write_release(tmp_path / "xx", **tables, other=[])
    Alphabet(tuple(" 'abcdefghijklmnopqrstuvwxyzéß你好世界")).save(tmp_path / "alphabet.txt")
    given = [str(tmp_path / "alphabet.txt") if flag == "ALPHABET" else flag for flag in flags]
    theirs, ours = both(peer("coqui-importing"), program, release, tmp_path, *given)
    # Theirs forgets in train-all the speakers and sentences of dev's and test's rows that it refused.
    kept, lost = ours.pop("train-all"), theirs.pop("train-all")
    assert kept.items() <= {clip: (kept.get(clip, found)[0], found[1]) for clip, found in lost.items()}.items()
    assert compare(theirs, ours) > 70


@pytest.mark.slow
def test_the_example_corpus(peer: Callable[[str], Peer], program: Path, tmp_path: Path) -> None:
    """Without the clips that end their importer (missing, empty, no audio), the truncated ones that it takes, and the
    sentences that begin with a quotation mark, with which it swallows the rows behind.
    """
    release = shutil.copytree(REPOSITORY / "examples" / "cv-corpus-demo" / "en", tmp_path / "en")
    call(str(release), "--corpus_dir", str(tmp_path / "first"), "--rules", "none", "--sets", *SETS[:-1])
    reasons = Corpus(tmp_path / "first").report["reasons"]
    assert max(reasons[name]["count"] for name in BROKEN) <= 5  # the examples are all of them
    examples = (one for name in BROKEN for found in reasons[name]["examples"].values() for one in found)
    broken = {example["path"].rpartition("/")[2] for example in examples}
    for name in SETS[:-1]:
        path = release / f"{name}.tsv"
        lines = path.read_text(encoding="utf-8").split("\n")
        kept = [line for line in lines if '\t"' not in line and not any(clip in line for clip in broken)]
        path.write_text("\n".join(kept), encoding="utf-8")
    theirs, ours = both(peer("coqui-importing"), program, release, tmp_path)
    assert ours.pop("train-all").keys() <= theirs.pop("train-all").keys()
    assert compare(theirs, ours) > 400
