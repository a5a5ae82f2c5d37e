"""The space as a code point of a bytes-mode language model."""

from pathlib import Path

import numpy as np
import pytest

from components.build_scorer.spaces import placeholder, put_space
from speech.decoding.language_model import read_layout
from speech.decoding.query import LanguageModelReader, hash_word
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.texts import CODE_POINTS


def test_the_placeholders_hash_lies_where_the_spaces_belongs() -> None:
    word = placeholder(CODE_POINTS)
    others = sorted({hash_word(unit.encode()) for unit in (*CODE_POINTS, "<s>", "</s>")})
    assert np.searchsorted(others, hash_word(word.encode())) == np.searchsorted(others, hash_word(b" "))


def test_or_in_the_same_bucket() -> None:
    word = placeholder(CODE_POINTS, buckets=97)
    assert hash_word(word.encode()) % 97 == hash_word(b" ") % 97


def test_a_vocabulary_of_many_code_points() -> None:
    """Chinese has thousands; a placeholder is found all the same."""
    assert placeholder([chr(code) for code in range(0x4E00, 0x4E00 + 6000)])


def test_the_stored_scorer_knows_the_space() -> None:
    data = np.frombuffer(cases.BYTES.read_bytes(), np.uint8)
    reader = LanguageModelReader(data, read_layout(data, "file"))
    assert reader.index(b" ") != 0
    hashes = np.frombuffer(data, "<u8", reader.layout.vocabulary_entries, reader.layout.vocabulary)
    assert np.all(np.diff(hashes.astype(object)) > 0)  # still sorted


def test_a_model_without_the_placeholder(tmp_path: Path) -> None:
    path = tmp_path / "lm.binary"
    path.write_bytes(cases.SMALL["trie"].read_bytes())
    with pytest.raises(AssertionError, match="the space was not put in place of 'space1'"):
        put_space(path, "space1")
    assert path.read_bytes() == cases.SMALL["trie"].read_bytes()
