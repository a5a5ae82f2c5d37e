"""Scorers that are packaged here are what the clients and ds_ctcdecoder read."""

from pathlib import Path

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.decoding.language_model import read_layout
from speech.decoding.packaging import looks_like_code_points, set_default_weights, spell, write_scorer
from speech.decoding.scorer import RECORD, Scorer
from speech.errors import InputError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.texts import make_words

WORDS = make_words(cases.SMALL_COUNT, 2)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """A KenLM binary, cut out of a scorer."""
    content = cases.SMALL["quant_array"].read_bytes()
    path = tmp_path / "lm.binary"
    path.write_bytes(content[: read_layout(np.frombuffer(content, np.uint8), "file").end])
    return path


def test_the_same_bytes_as_the_scorer_it_was_cut_from(binary: Path, tmp_path: Path) -> None:
    made = write_scorer(binary, reversed(WORDS), cases.ALPHABET, tmp_path / "x.scorer", cases.ALPHA, cases.BETA)
    assert (tmp_path / "x.scorer").read_bytes() == cases.SMALL["quant_array"].read_bytes()
    assert made.refused == ()
    assert set(made.words) == set(WORDS)


def test_words_that_cannot_be_spelled_are_left_out(binary: Path, tmp_path: Path) -> None:
    words = ["naïve", *WORDS, "<s>", "</s>", "<unk>", WORDS[0], "", "two2"]
    made = write_scorer(binary, words, cases.ALPHABET, tmp_path / "x.scorer", 1, 1)
    assert made.refused == ("naïve", "two2")
    assert made.words == tuple(WORDS)
    assert len(Scorer(None, None, tmp_path / "x.scorer", cases.ALPHABET).dictionary.words(1000)) == len(WORDS)


def test_labels_of_words() -> None:
    """Alphabet label + 1 and the space behind; in bytes mode the UTF-8 bytes."""
    assert spell(["ab"], Alphabet(tuple(" ab"))) == ({"ab": [2, 3, 1]}, [])
    spelled, _ = spell(["é", " "], Alphabet.bytes_output_mode())
    assert {word: bytes(labels) for word, labels in spelled.items()} == {"é": "é".encode(), " ": b" "}


def test_what_is_not_packaged(binary: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.scorer"
    with pytest.raises(InputError, match="no such language model"):
        write_scorer(tmp_path / "missing", WORDS, cases.ALPHABET, target, 1, 1)
    with pytest.raises(InputError, match="none of the 1 words that the alphabet can spell is in the language model"):
        write_scorer(binary, ["unheard"], cases.ALPHABET, target, 1, 1)
    with pytest.raises(InputError, match="bytes behind the language model: is it a scorer already"):
        write_scorer(cases.WORDS, WORDS, cases.ALPHABET, target, 1, 1)
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="truncated"):
        write_scorer(tmp_path / "empty", WORDS, cases.ALPHABET, target, 1, 1)
    assert not target.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"lm.binary", "empty"}


def test_weights_are_changed_in_place_of_the_old(binary: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.scorer"
    write_scorer(binary, WORDS, cases.ALPHABET, path, 1.0, 2.0)
    set_default_weights(path, 0.1, 0.2)
    content = path.read_bytes()
    _, _, _, alpha, beta = RECORD.unpack_from(content, binary.stat().st_size)
    assert (alpha, beta) == (float(np.float32(0.1)), float(np.float32(0.2)))
    with pytest.raises(InputError, match="a language model without a vocabulary"):
        set_default_weights(binary, 1.0, 1.0)


def test_code_points_are_recognised() -> None:
    assert looks_like_code_points(["a", "é", "早"])
    assert not looks_like_code_points(["a", "ab"])
