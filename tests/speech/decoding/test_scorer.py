"""Opening scorers: what they record, and a clear line for those that do not fit."""

import struct
from pathlib import Path

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.decoding.language_model import read_layout
from speech.decoding.packaging import set_default_weights
from speech.decoding.scorer import RECORD, Scorer
from speech.errors import InputError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.texts import SYMBOLS

CONTENT = cases.WORDS.read_bytes()
END = read_layout(np.frombuffer(CONTENT, np.uint8), "file").end


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kenlm.scorer"


def refusal(path: Path, content: bytes, alphabet: Alphabet = cases.ALPHABET) -> str:
    """The one line with which a scorer of this content is refused."""
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        Scorer(None, None, path, alphabet)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def changed(offset: int, data: bytes) -> bytes:
    return CONTENT[:offset] + data + CONTENT[offset + len(data) :]


def test_what_a_scorer_records() -> None:
    scorer = Scorer(None, None, cases.WORDS, cases.ALPHABET)
    assert (scorer.alpha, scorer.beta) == (pytest.approx(cases.ALPHA), pytest.approx(cases.BETA))
    assert (scorer.order, scorer.bytes_mode, scorer.is_utf8_mode()) == (4, False, False)
    assert len(scorer.dictionary.words(10_000)) == cases.WORD_COUNT
    assert Scorer(None, None, cases.BYTES, cases.BYTES_ALPHABET).is_utf8_mode()


def test_weights_are_float32() -> None:
    """As the clients hold them."""
    scorer = Scorer(0.1, 2.2, cases.WORDS, cases.ALPHABET)
    assert (scorer.alpha, scorer.beta) == (float(np.float32(0.1)), float(np.float32(2.2)))
    with pytest.raises(InputError, match="alpha is nan: expected a number"):
        scorer.reset_params(float("nan"), 1.0)


def test_default_weights_can_be_changed(path: Path) -> None:
    path.write_bytes(CONTENT)
    set_default_weights(path, 0.5, -1.25)
    scorer = Scorer(None, None, path, cases.ALPHABET)
    assert (scorer.alpha, scorer.beta) == (0.5, -1.25)
    assert path.read_bytes()[:END] == CONTENT[:END]
    assert path.read_bytes()[END + RECORD.size :] == CONTENT[END + RECORD.size :]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such scorer"):
        Scorer(None, None, tmp_path / "missing.scorer", cases.ALPHABET)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the scorer is empty"),
        (b"RIFF" + bytes(2000), "not a scorer: expected a KenLM binary"),
        (CONTENT[:40], "truncated"),
        (CONTENT[: END // 2], "truncated: its header describes a language model of at least"),
        (CONTENT[:END], "a language model without a vocabulary: make a scorer of it with"),
        (CONTENT[: END + 2], "truncated behind the language model"),
        (CONTENT[: END + 20], "truncated behind the language model"),
        (CONTENT[: END + RECORD.size + 10], "truncated: its vocabulary needs"),
        (CONTENT[: (END + len(CONTENT)) // 2], "truncated: its vocabulary needs"),
        (CONTENT[:-1], "truncated: its vocabulary needs"),
        (changed(END, b"TRIE"), "not a scorer: no vocabulary behind the language model"),
        (changed(END + 4, struct.pack("<i", 5)), "a scorer of version 5, expected 6: it was made for older clients"),
        (changed(END + 4, struct.pack("<i", 7)), "a scorer of version 7, expected 6: it was made for newer clients"),
        (changed(END + 8, b"\x09"), "damaged behind the language model"),
        (changed(END + 9, struct.pack("<d", float("inf"))), "damaged behind the language model"),
    ],
)
def test_files_that_are_no_scorers(path: Path, content: bytes, message: str) -> None:
    assert refusal(path, content).startswith(message)


def test_alphabets_that_do_not_fit(path: Path) -> None:
    """Smaller; of the same size in another order; a model in bytes output mode; and the other way round."""
    assert "or more labels, the alphabet has 10" in refusal(path, CONTENT, Alphabet(SYMBOLS[:10]))
    turned = Alphabet((*SYMBOLS[1:], SYMBOLS[0]))
    assert "is not this alphabet's space (27)" in refusal(path, CONTENT, turned)
    swapped = Alphabet((" ", *reversed(SYMBOLS[1:])))
    assert "is in its language model: the scorer was built with another alphabet" in refusal(path, CONTENT, swapped)
    assert refusal(path, CONTENT, cases.BYTES_ALPHABET).startswith(
        "this scorer is for an alphabet of characters, the model has bytes output mode"
    )
    assert refusal(path, cases.BYTES.read_bytes()).startswith("this scorer is for bytes output mode, the model has an")


def test_a_larger_alphabet_is_fine() -> None:
    """Symbols that no word of the scorer uses, behind the others."""
    alphabet = Alphabet((*SYMBOLS, "é"))
    assert len(Scorer(None, None, cases.WORDS, alphabet).dictionary.words(10_000)) == cases.WORD_COUNT


def test_bytes_behind_the_scorer_are_ignored(path: Path) -> None:
    """As the clients ignore them."""
    path.write_bytes(CONTENT + b"signature")
    assert Scorer(None, None, path, cases.ALPHABET).order == 4
