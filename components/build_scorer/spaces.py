"""A real space in the language model of a bytes-mode scorer.

KenLM separates words by spaces, so the space itself cannot be one of them. The peers put another character in its
place, which then has to be in the transcripts too, and replaced after decoding. But a binary holds no texts, only their
hashes: so a placeholder goes through the estimation whose hash lies where the space's belongs, and then its hash is
overwritten. Clients look the space up like any other code point.
"""

import struct
from collections.abc import Collection
from itertools import count
from pathlib import Path

import numpy as np

from speech.decoding.language_model import read_layout
from speech.decoding.query import LanguageModelReader, hash_word

_SPACE = hash_word(b" ")
_SORTED_ALIKE = ("<s>", "</s>")  # words of every language model


def placeholder(code_points: Collection[str], buckets: int = 0) -> str:
    """A word whose hash has the space's place: next to it among the sorted hashes of a trie's vocabulary, or, with
    `buckets`, in the same bucket of a hash table.
    """
    hashes = sorted(hash_word(word.encode("utf-8")) for word in (*code_points, *_SORTED_ALIKE))
    below = max((value for value in hashes if value < _SPACE), default=-1)
    above = min((value for value in hashes if value > _SPACE), default=1 << 64)
    for number in count():
        word = f"space{number}"
        value = hash_word(word.encode("ascii"))
        if (value % buckets == _SPACE % buckets) if buckets else (below < value < above):
            return word
    raise AssertionError("count() does not end")


def put_space(binary: Path, word: str) -> None:
    """Give the entry of the placeholder to the space, in the vocabulary of a KenLM binary."""
    data = np.memmap(binary, np.uint8, "r+")
    layout = read_layout(data, binary)
    key = struct.pack("<Q", hash_word(word.encode("ascii")))
    step = 12 if layout.probing else 8
    end = layout.vocabulary + step * layout.vocabulary_entries
    keys = data[layout.vocabulary : end].reshape(-1, step)[:, :8]
    (rows,) = np.nonzero((keys == np.frombuffer(key, np.uint8)).all(axis=1))
    for row in rows:
        keys[row] = np.frombuffer(struct.pack("<Q", _SPACE), np.uint8)
    data.flush()
    if len(rows) != 1 or LanguageModelReader(data, layout).index(b" ") == 0:
        raise AssertionError(f"{binary}: the space was not put in place of {word!r}")
