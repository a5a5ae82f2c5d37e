"""From releases without usable splits to a published version, with one command."""

import csv
import json
import random
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from components import images
from components.build_scorer import estimate
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, SPLITS, Evaluation, ExternalScorer
from speech.errors import InputError
from tests.components.import_cv.conftest import Entry, mp3, write_release

pytestmark = pytest.mark.slow
HAN = "天地人你我他好不大小上下山水火木日月年"
WORDS = ("open", "shut", "the", "my", "door", "window", "light", "stop", "radio", "now", "never", "morning", "train")
SYLLABLES = {  # locale -> what its words are drawn from, marks and joiners included, and whether spaces part them
    "ar": (["ما", "لا", "من", "في", "على", "كَ", "تُ", "بّ", "ه", "ؤ"], True),
    "am": (["ሰ", "ላ", "ም", "አ", "ዲ", "ስ", "ቤ", "ት", "ው", "ሃ"], True),
    "el": (["κα", "λη", "μέ", "ρα", "σπί", "τι", "νε", "ρό", "ός", "φως"], True),
    "he": (["של", "ום", "בי", "ת", "מי", "ם", "או", "ר", "לח", "ץ"], True),
    "hi": (["न", "म", "स्ते", "हि", "न्दी", "पा", "नी", "घ", "र", "कि"], True),
    "hy": (["բա", "րև", "տո", "ւն", "ջու", "ր", "հա", "ց", "լո", "ւս"], True),
    "ka": (["გა", "მარ", "ჯო", "ბა", "სახ", "ლი", "წყა", "ლი", "პუ", "რი"], True),
    "ko": (["안", "녕", "하", "세", "요", "집", "물", "빛", "산", "강"], True),
    "nqo": (["ߒߞߏ", "ߓߊ", "ߡߊ", "ߞߋ߫", "ߟߊ߬", "ߛߏ", "ߖߌ", "ߕߊ", "ߣߌ߲", "ߦߋ"], True),
    "ru": (["до", "бро", "е", "ут", "дом", "во", "да", "свет", "лёд", "й"], True),
    "ta": (["வ", "ண", "க்", "க", "ம்", "வீ", "டு", "நீ", "ர்", "ஒ", "ளி"], True),
    "th": (["สวัส", "ดี", "บ้าน", "น้ำ", "ไฟ", "ฟ้า", "ขาว", "ดำ", "แมว", "กิน"], False),
}
SETTINGS = ("--n_hidden", "16", "--epochs", "1", "--train_batch_size", "64", "--export_quantize", "false")


def entries(clips: Sequence[bytes], count: int, speakers: int, first: int = 0) -> list[Entry]:
    """Rows with sentences of their own, by so many speakers."""
    return [
        Entry(
            f"common_voice_xx_{first + n}.mp3",
            f"{WORDS[n % 13]} {WORDS[n // 13 % 13]} {WORDS[(first + n) // 169 % 13]} {WORDS[first % 13]}",
            clips[n % len(clips)],
            f"speaker {first % 7}-{n % speakers}",
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def sounds() -> list[bytes]:
    return [mp3(1.0 + 0.2 * seed, 16000, seed) for seed in range(5)]


def release(shape: str, folder: Path, sounds: Sequence[bytes]) -> Path:
    """A release in one of the shapes that small languages have."""
    train, test = entries(sounds, 150, 30), entries(sounds, 25, 10, first=1001)
    if shape == "empty dev":
        return write_release(folder, train=train, dev=[], test=test, validated=[*train, *test])
    if shape == "empty dev and test":
        return write_release(folder, train=train, dev=[], test=[], validated=train)
    if shape == "60 clips by two speakers":
        return write_release(folder, train=[], dev=[], test=[], validated=entries(sounds, 60, 2))
    return write_release(folder, validated=train, other=entries(sounds, 20, 5, first=2002))


@pytest.mark.parametrize(
    ("shape", "flags"),
    [
        ("empty dev", ()),
        ("empty dev and test", ()),
        ("60 clips by two speakers", ()),
        ("delta without train", ("--train_sets", "train,validated,other", "--min_test_clips", "5")),
    ],
)
def test_one_command_publishes_a_version(
    shape: str, flags: Sequence[str], sounds: Sequence[bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    corpus = release(shape, tmp_path / "xx", sounds)
    command = [sys.executable, "-m", "pipelines", "run", "--corpus_uri", str(corpus), "--output", str(output)]
    done = subprocess.run([*command, *SETTINGS, *flags], capture_output=True, text=True, cwd=images.ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    assert (output / "published" / summary["published"]["version"] / "version.json").is_file()
    report = json.loads((output / "corpus" / "import_report.json").read_text(encoding="utf-8"))
    assert "test" in report["splits"]["made"] or shape == "empty dev"
    rows = {}
    for name in SPLITS:
        with (output / "corpus" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows[name] = list(csv.DictReader(file))
        assert rows[name], name
    assert not {row["transcript"] for row in rows["train"]} & {row["transcript"] for row in rows["test"]}
    if shape == "60 clips by two speakers":
        assert "NOT PROMISED" in done.stderr
        assert "too few" in done.stdout + done.stderr


def test_chinese_with_a_scorer(sounds: Sequence[bytes], tmp_path: Path) -> None:
    """Nothing is said about spaces: the scorer is of characters, and the CER is what is read."""
    try:
        estimate.find_programs("")
    except InputError as error:
        pytest.skip(str(error))
    draw = random.Random(1)
    said = ["".join(draw.choices(HAN, k=7 + number % 4)) for number in range(175)]
    rows = entries(sounds, 150, 30) + entries(sounds, 25, 10, first=1001)
    for row, sentence in zip(rows, said, strict=True):
        row.sentence = f"{sentence[:4]}，{sentence[4:]}。"
    corpus = write_release(tmp_path / "zh-CN", train=rows[:150], dev=rows[150:160], test=rows[160:], validated=rows)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "pipelines", "run", "--corpus_uri", str(corpus), "--output", str(output)]
    flags = ("--splits", "release", "--build_scorer", "true", "--n_trials", "2", "--min_test_clips", "5")
    done = subprocess.run([*command, *SETTINGS, *flags], capture_output=True, text=True, cwd=images.ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    published = output / "published" / json.loads((output / "summary.json").read_text())["published"]["version"]
    scorer = json.loads((published / ExternalScorer.MODEL).read_text(encoding="utf-8"))
    assert (scorer["units"], scorer["for_clients"]) == ("characters", True)
    scores = json.loads((published / Evaluation.SCORES).read_text(encoding="utf-8"))
    assert scores["headline"] == "cer"
    assert scores["decoder"]["scorer"]["units"] == "characters"
    (card,) = published.glob("*.md")
    assert "| set | clips | words | CER | WER |" in card.read_text(encoding="utf-8")


@pytest.mark.parametrize("locale", SYLLABLES)
def test_scripts(locale: str, sounds: Sequence[bytes], tmp_path: Path) -> None:
    """The letters of a language come through every step, and into the alphabet that is published."""
    syllables, spaced = SYLLABLES[locale]
    draw = random.Random(locale)
    rows = entries(sounds, 90, 30)
    for row in rows:
        words = ["".join(draw.choices(syllables, k=draw.randint(1, 3))) for _ in range(4)]
        row.sentence = (" " if spaced else "").join(words)
    corpus = write_release(tmp_path / locale, train=[], dev=[], test=[], validated=rows)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "pipelines", "run", "--corpus_uri", str(corpus), "--output", str(output)]
    done = subprocess.run(
        [*command, *SETTINGS, "--min_test_clips", "1"], capture_output=True, text=True, cwd=images.ROOT
    )
    assert done.returncode == 0, done.stderr[-4000:]
    published = output / "published" / json.loads((output / "summary.json").read_text())["published"]["version"]
    alphabet = Alphabet.load(published / ALPHABET)
    written = set("".join(unicodedata.normalize("NFC", syllable) for syllable in syllables))
    assert len(set(alphabet.symbols) & written) >= 0.9 * len(written)
    scores = json.loads((published / Evaluation.SCORES).read_text(encoding="utf-8"))
    assert scores["headline"] == ("wer" if spaced else "cer")
