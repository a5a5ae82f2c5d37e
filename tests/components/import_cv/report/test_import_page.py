"""The HTML report: complete, safe, and alone."""

import re
from pathlib import Path

import pytest

from components.import_cv import step
from components.import_cv.report import import_page
from components.import_cv.settings import ImportSettings
from speech.artifacts import Corpus
from tests.components.import_cv.conftest import Entry, write_release


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    from tests.components.import_cv.conftest import mp3

    clip = mp3(1.2)
    evil = "<script>alert('x')</script>"
    person = {"age": "thirties", "gender": "female_feminine", "accents": f"{evil} English"}
    entries = [
        Entry("good.mp3", "An ordinary sentence.", clip, "speaker-one", person),
        Entry("other.mp3", "Another sentence.", clip, "speaker-two"),
        Entry("evil.mp3", evil, clip, more=person),
        Entry(f"{evil}.mp3", "Missing.", None),
        Entry("foreign.mp3", "naïve façade", clip),
    ]
    folder = tmp_path_factory.mktemp("report")
    release = write_release(folder / "xx", train=entries, dev=[], test=entries[:1])
    (folder / "alphabet.txt").write_text("".join(f"{c}\n" for c in " abcdefghijklmnopqrstuvwxyz"))
    settings = ImportSettings(filter_alphabet=str(folder / "alphabet.txt"), splits="release")
    return step.run(settings, str(release), folder / "corpus")


def test_the_page_escapes_and_loads_nothing(corpus: Corpus) -> None:
    page = (corpus.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", page)
    assert page.count("<svg") == 10  # durations, rates and loudness of two sets; who speaks


def test_the_page_tells_what_happened(corpus: Corpus) -> None:
    page = (corpus.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")
    for text in (
        "outside alphabet", "latin small letter i with diaeresis", "latin small letter c with cedilla",
        "missing", "signs", "speaker-one", "thirties", "female_feminine", "not given",
        "In the alphabet, but in no transcript",
    ):  # fmt: skip
        assert text in page, text


def test_counts_stand_behind_symbols_in_every_script(corpus: Corpus) -> None:
    """A number behind a letter of a script from right to left is otherwise shown in front of it."""
    page = (corpus.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")
    assert '<li><bdi class="symbol">a</bdi> <small>' in page
    assert '<bdi class="symbol">z</bdi>' in page  # in no transcript


def test_counts(corpus: Corpus) -> None:
    found = corpus.report
    train = found["sets"]["train"]
    assert (train["rows"], train["clips"], train["refused"]) == (5, 2, 3)
    assert train["reasons"] == {"outside_alphabet": 1, "missing": 1, "signs": 1}
    assert train["hours"] == pytest.approx(2 * 1.2 / 3600, abs=1e-4)
    assert train["duration_s"]["counts"][4] == 2
    assert sum(train["characters_a_second"]["counts"]) == 2
    assert train["by"]["speaker"] == {
        "values": 2,
        "largest": [
            {"value": "speaker-one", "clips": 1, "hours": 0.0003},
            {"value": "speaker-two", "clips": 1, "hours": 0.0003},
        ],
    }
    assert found["characters"]["outside_alphabet"] == {"ç": {"count": 1, "rows": 1}, "ï": {"count": 1, "rows": 1}}
    assert found["characters"]["transcripts"]["e"] == sum(
        clip.transcript.count("e") for name in ("train", "test") for clip in corpus.manifest(name)
    )
    assert found["refused"] == 3
    assert found["audio"]["clips"] == 2


def test_numbers_in_words() -> None:
    assert [import_page.hours(value) for value in (0.001, 0.5, 1234.56)] == ["4 s", "30 min", "1,234.6 h"]
    assert import_page.visible(" ") == "space"
    assert import_page.visible("\u0301") == "◌\u0301"
    assert import_page.visible("\u0e31") == "◌\u0e31"  # Thai, without a combining class
    assert import_page.visible("\u093f") == "◌\u093f"
    assert import_page.visible("\u0e33") == "◌\u0e33"
    assert import_page.visible("é") == "é"


def test_the_template_is_beside_the_code() -> None:
    assert (Path(import_page.__file__).parent / import_page.TEMPLATE).is_file()
