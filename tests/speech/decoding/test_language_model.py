"""KenLM's scores, bit for bit, from every kind of binary; damaged ones are named."""

import math
import struct
from collections.abc import Callable

import numpy as np
import pytest

from speech.decoding import beam_search
from speech.decoding.language_model import read_layout
from speech.decoding.query import LanguageModelReader, hash_word
from speech.decoding.scorer import Scorer
from speech.errors import InputError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.make import ask_scorer
from tests.fixtures.decoding.texts import make_words
from tests.peers.environments import Peer

WORDS = make_words(cases.SMALL_COUNT, 2)
TYPES = {"probing": 0, "trie": 2, "quant": 3, "array": 4, "quant_array": 5}


def open_scorer(name: str) -> Scorer:
    return Scorer(None, None, cases.SMALL[name], cases.ALPHABET)


@pytest.mark.parametrize("name", cases.SMALL)
def test_python_gives_kenlms_scores(name: str) -> None:
    scorer = open_scorer(name)
    assert scorer.layout.model_type == TYPES[name]
    expected = cases.answers()["queries"][name]
    found = [scorer.get_log_cond_prob(*query) for query in cases.queries(WORDS, 300, 7)]
    assert found == expected
    assert -1000.0 in found


@pytest.mark.parametrize("name", cases.SMALL)
def test_compiled_code_gives_the_same_bits(name: str) -> None:
    if not beam_search.is_compiled():
        pytest.skip("the decoder cannot be compiled here")
    scorer = open_scorer(name)
    reader, compiled = LanguageModelReader(scorer.data, scorer.layout), beam_search.native_scorer(scorer)
    for words, bos, _ in cases.queries([*WORDS, "<s>", "</s>", ""], 300, 8):
        scores, indices = compiled.log10_probabilities(words, bos)
        state = reader.begin_state() if bos else reader.null_state()
        for word, score, index in zip(words, scores, indices, strict=True):
            assert index == reader.index(word.encode("utf-8"))
            expected, state = reader.score(state, int(index))
            assert np.float32(expected) == score


@pytest.mark.parametrize("name", cases.SMALL)
def test_ds_ctcdecoder_gives_the_same(peer: Callable[[str], Peer], name: str) -> None:
    queries = cases.queries(WORDS, 200, 9)
    scorer = open_scorer(name)
    assert [scorer.get_log_cond_prob(*query) for query in queries] == ask_scorer(
        peer("deepspeech"), cases.SMALL[name], queries
    )


def test_hashes_of_known_words() -> None:
    """MurmurHash64A with seed 0: KenLM's own values, of words shorter and longer than its block of 8 bytes."""
    assert hash_word(b"") == 0
    scorer = open_scorer("trie")
    hashes = np.frombuffer(scorer.data, "<u8", scorer.layout.vocabulary_entries, scorer.layout.vocabulary)
    expected = {hash_word(word.encode()) for word in (*WORDS, "<s>", "</s>")}
    assert set(hashes.tolist()) == expected
    assert {len(word) for word in WORDS} >= {2, 3, 8, 9}


def test_probabilities_of_all_words_add_up() -> None:
    """A language model's next words, the end and the unknown word among them, have a total probability of 1."""
    scorer = open_scorer("trie")
    reader = LanguageModelReader(scorer.data, scorer.layout)
    _, state = reader.score(reader.begin_state(), reader.index(WORDS[3].encode()))
    following = [index for index in range(scorer.layout.words) if index != reader.index(b"<s>")]
    assert sum(10 ** reader.score(state, index)[0] for index in following) == pytest.approx(1.0, abs=1e-3)


def damaged(name: str, offset: int, data: bytes) -> np.ndarray:
    content = bytearray(cases.SMALL[name].read_bytes())
    content[offset : offset + len(data)] = data
    return np.frombuffer(bytes(content), np.uint8)


@pytest.mark.parametrize(
    ("name", "offset", "data", "message"),
    [
        ("trie", 0, b"\\data\\\nngram 1=3\n", "not a scorer: expected a KenLM binary"),
        ("trie", 0, b"mmap lm http://kheafield.com/code incomplete\n", "did not finish"),
        ("trie", 48, b"4", "not a scorer"),  # the format's version
        ("trie", 88, b"\x07", "order 7: expected 2 to 6"),
        ("trie", 88, b"\x01", "order 1: expected 2 to 6"),
        ("trie", 96, struct.pack("<i", 1), "of type 1"),
        ("trie", 96, struct.pack("<i", 77), "of type 77"),
        ("trie", 100, b"\x01", "build_binary -v"),
        ("trie", 104, b"\x05", "of version 5"),
        ("trie", 108, struct.pack("<Q", 1 << 60), "impossible n-gram counts"),
        ("trie", 108, struct.pack("<Q", 0), "impossible n-gram counts"),
        ("trie", 116, struct.pack("<Q", 1 << 40), "truncated: its header describes"),
        ("trie", 144, struct.pack("<Q", 1 << 30), "words where"),
        ("probing", 92, struct.pack("<f", math.nan), "probing multiplier"),
        ("probing", 92, struct.pack("<f", 0.5), "probing multiplier"),
        ("probing", 144, struct.pack("<I", 1), "vocabulary version 1"),
        ("probing", 148, struct.pack("<I", 1 << 30), "vocabulary version 0 with"),
    ],
)
def test_damaged_headers_are_named(name: str, offset: int, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^file: .*{message}") as raised:
        read_layout(damaged(name, offset, data), "file")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", cases.SMALL)
def test_the_layout_ends_where_the_record_begins(name: str) -> None:
    content = cases.SMALL[name].read_bytes()
    layout = read_layout(np.frombuffer(content, np.uint8), "file")
    assert content[layout.end : layout.end + 4] == b"EIRT"
    assert content.count(b"EIRT") == 1


@pytest.mark.parametrize("name", cases.SMALL)
def test_truncated_files_are_named(name: str) -> None:
    content = np.frombuffer(cases.SMALL[name].read_bytes(), np.uint8)
    end = read_layout(content, "file").end
    for size in (1, 20, 60, 90, 110, 150, end // 2, end - 1):
        with pytest.raises(InputError, match="truncated|not a scorer"):
            read_layout(content[:size], "file")
