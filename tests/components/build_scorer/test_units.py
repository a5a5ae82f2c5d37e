"""Whether a scorer knows words or characters."""

from pathlib import Path

import pytest

from components.build_scorer import step
from components.build_scorer.settings import BuildScorerSettings
from components.build_scorer.text import prepare, split_code_points
from speech.alphabet import Alphabet
from speech.decoding.scorer import CHARACTERS, CLIENT_LABELS, CODE_POINTS, WORDS, fits_clients
from speech.errors import InputError
from tests.fixtures.decoding import cases

SPACED, UNSPACED = Alphabet(tuple(" abc你好")), Alphabet(tuple("abc你好"))
LONG = "你好" * 15


@pytest.mark.parametrize(
    ("given", "alphabet", "text", "expected"),
    [
        ("auto", SPACED, "abc ab", WORDS),
        ("auto", UNSPACED, "abc ab", CHARACTERS),
        ("auto", SPACED, f"{LONG} {LONG}", CHARACTERS),  # as in Thai: spaces part sentences
        ("auto", SPACED, "你好世界你好世界", CHARACTERS),
        ("auto", SPACED, "你 好 世 界", WORDS),
        ("auto", cases.BYTES_ALPHABET, "abc ab", CODE_POINTS),
        ("auto", None, LONG, WORDS),  # the peers' generate_lm.py
        ("words", SPACED, LONG, WORDS),
        ("characters", SPACED, "abc ab", CHARACTERS),
        ("words", cases.BYTES_ALPHABET, "abc ab", CODE_POINTS),
    ],
)
def test_units(given: str, alphabet: Alphabet | None, text: str, expected: str, tmp_path: Path) -> None:
    prepared = prepare([text], tmp_path / "text.txt", keep_case=False)
    assert step.choose_units(BuildScorerSettings(scorer_units=given), alphabet, prepared) == expected


@pytest.mark.parametrize(("space", "expected"), [("space0", "你 space0 好\n"), ("", "你 好\n")])
def test_spaces_are_units_or_left_out(space: str, expected: str, tmp_path: Path) -> None:
    split = split_code_points(prepare(["你 好"], tmp_path / "a", keep_case=False), tmp_path / "b", space)
    assert split.path.read_text(encoding="utf-8") == expected
    assert "" not in split.counts


def test_what_clients_can_use() -> None:
    alphabets = [Alphabet(tuple(map(chr, range(0x4E00, 0x4E00 + count)))) for count in (CLIENT_LABELS, 128)]
    assert [fits_clients(CHARACTERS, alphabet) for alphabet in alphabets] == [True, False]
    assert fits_clients(WORDS, alphabets[1])
    assert fits_clients(CODE_POINTS, cases.BYTES_ALPHABET)


def test_a_setting_of_another_name() -> None:
    with pytest.raises(InputError, match="scorer_units"):
        BuildScorerSettings(scorer_units="syllables")
