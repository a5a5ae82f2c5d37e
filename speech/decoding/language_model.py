"""The layout of a KenLM binary: where its sections lie and how wide their fields are.

Format facts: Heafield, "KenLM: Faster and Smaller Language Model Queries" (2011), binary format version 5. Files may be
probing hash tables or tries, the tries quantized or not, with plain or array-compressed pointers. Sizes follow from the
header, so a truncated file is recognised here, and every section is known to lie inside the file before it is read.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speech.errors import InputError

MAX_ORDER = 6  # what the native clients are compiled for
MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"
INCOMPLETE = b"mmap lm http://kheafield.com/code incomplete\n"
_SANITY = MAGIC.ljust(56, b"\0") + struct.pack("<fffIIIQ", 0.0, 1.0, -0.5, 1, 0xFFFFFFFF, 0, 1)
_PARAMETERS = struct.Struct("<B3xfiB3xI")  # order, probing multiplier, model type, vocabulary strings, search version

PROBING, REST_PROBING, TRIE, QUANT_TRIE, ARRAY_TRIE, QUANT_ARRAY_TRIE = range(6)
TYPE_NAMES = {  # with rest costs: never used in scorers
    PROBING: "probing",
    TRIE: "trie",
    QUANT_TRIE: "quantized trie",
    ARRAY_TRIE: "array trie",
    QUANT_ARRAY_TRIE: "quantized array trie",
}
_PROB_BITS, _BACKOFF_BITS = 31, 32  # unquantized: the sign of a log probability is known
_WIDEST_FIELD = 57  # what 8 bytes hold at any bit offset
_MOST_RECORDS = 1 << 48


@dataclass(frozen=True)
class Level:
    """The n-grams of one order above 1. Offsets are bytes from the start of the file, widths are bits."""

    base: int
    entries: int  # records of a trie, buckets of a hash table
    next_entries: int = 0
    pointer_table: int = 0
    pointer_count: int = 0
    prob_table: int = 0
    backoff_table: int = 0
    bucket_bytes: int = 0
    word_bits: int = 0
    prob_bits: int = 0
    backoff_bits: int = 0
    pointer_bits: int = 0
    record_bits: int = 0


@dataclass(frozen=True)
class LanguageModelLayout:
    """Everything needed to query the model in place."""

    model_type: int
    counts: tuple[int, ...]
    vocabulary: int
    vocabulary_entries: int
    words: int  # valid word indices are below this
    unigrams: int
    unigram_bytes: int
    levels: tuple[Level, ...] = field(repr=False)
    end: int  # behind the model's last byte

    @property
    def order(self) -> int:
        """The longest n-gram."""
        return len(self.counts)

    @property
    def probing(self) -> bool:
        """Whether the model is hash tables, and not a trie."""
        return self.model_type == PROBING


class _Bytes:
    """Reads of the file that cannot leave it."""

    def __init__(self, data: np.ndarray, where: str | Path) -> None:
        self.data = data
        self.where = where

    def need(self, end: int) -> None:
        if end > len(self.data):
            raise InputError(
                f"{self.where}: truncated: its header describes a language model of at least {end} bytes, "
                f"the file has {len(self.data)}; copy or build it again"
            )

    def unpack(self, layout: struct.Struct | str, offset: int) -> tuple[int, ...]:
        layout = struct.Struct(layout) if isinstance(layout, str) else layout
        self.need(offset + layout.size)
        return layout.unpack(self.data[offset : offset + layout.size].tobytes())

    def damaged(self, what: str) -> InputError:
        return InputError(f"{self.where}: damaged language model: {what}; build it again")


def read_layout(data: np.ndarray, where: str | Path) -> LanguageModelLayout:
    """The layout of the KenLM binary at the start of `data` (bytes); raises InputError if it is none or truncated."""
    file = _Bytes(data, where)
    _check_magic(file)
    order, multiplier, model_type, has_strings, version = file.unpack(_PARAMETERS, len(_SANITY))
    if model_type not in TYPE_NAMES:
        expected = ", ".join(TYPE_NAMES.values())
        raise InputError(f"{where}: language model of type {model_type}: expected {expected}; build it again")
    if not 2 <= order <= MAX_ORDER:
        raise InputError(f"{where}: language model of order {order}: expected 2 to {MAX_ORDER}, as in the clients")
    probing = model_type == PROBING
    if version != (0 if probing else 1):
        raise InputError(f"{where}: {TYPE_NAMES[model_type]} of version {version}: expected {0 if probing else 1}")
    if has_strings:
        raise InputError(f"{where}: the language model holds its words' texts: build it with `build_binary -v`")
    header_bytes = len(_SANITY) + _PARAMETERS.size
    counts = file.unpack(f"<{order}Q", header_bytes)
    if not 1 <= counts[0] < 1 << 32 or max(counts) >= _MOST_RECORDS:
        raise file.damaged(f"impossible n-gram counts {counts}")
    start = _align(header_bytes + 8 * order, 8)
    if probing:
        return _probing_layout(file, counts, multiplier, start)
    return _trie_layout(file, model_type, counts, start)


def _check_magic(file: _Bytes) -> None:
    begin = file.data[: len(_SANITY)].tobytes()
    if begin.startswith(INCOMPLETE):
        raise InputError(f"{file.where}: build_binary did not finish this language model: build it again")
    if begin != _SANITY:
        if len(begin) < len(_SANITY) and _SANITY.startswith(begin):
            file.need(len(_SANITY))
        raise InputError(
            f"{file.where}: not a scorer: expected a KenLM binary (format version 5, little-endian) at its start"
        )


def _align(offset: int, unit: int) -> int:
    return -(-offset // unit) * unit


def _buckets(entries: int, multiplier: float) -> int:
    product = np.float32(multiplier) * np.float32(entries)
    return max(entries + 1, int(product)) if product < _MOST_RECORDS else _MOST_RECORDS


def _probing_layout(file: _Bytes, counts: Sequence[int], multiplier: float, start: int) -> LanguageModelLayout:
    if not 1.0 <= multiplier < 1000.0:
        raise file.damaged(f"probing multiplier {multiplier}")
    version, words = file.unpack("<II", start)
    if version != 0 or words > counts[0] + 1:
        raise file.damaged(f"vocabulary version {version} with {words} words")
    vocabulary, vocabulary_entries = start + 8, _buckets(counts[0], multiplier)
    unigrams = vocabulary + 12 * vocabulary_entries
    offset = unigrams + 8 * (counts[0] + 1)
    levels = []
    for order, count in enumerate(counts[1:], 2):
        bucket_bytes = 12 if order == len(counts) else 16  # the longest n-grams have no backoff
        levels.append(Level(offset, _buckets(count, multiplier), bucket_bytes=bucket_bytes))
        offset += levels[-1].entries * bucket_bytes
    file.need(offset)
    return LanguageModelLayout(
        PROBING, tuple(counts), vocabulary, vocabulary_entries, words, unigrams, 8, tuple(levels), offset
    )


def _trie_layout(file: _Bytes, model_type: int, counts: Sequence[int], start: int) -> LanguageModelLayout:
    (vocabulary_entries,) = file.unpack("<Q", start)
    if vocabulary_entries >= counts[0]:
        raise file.damaged(f"{vocabulary_entries} words where {counts[0]} unigrams are")
    offset = start + 8 + 8 * counts[0]
    order = len(counts)
    prob_bits, backoff_bits = _PROB_BITS, _BACKOFF_BITS
    tables: list[int] = []  # of each order above 1: the probabilities', and the backoffs' between them
    if model_type in (QUANT_TRIE, QUANT_ARRAY_TRIE):
        version, prob_bits, backoff_bits = file.unpack("<BBB", offset)
        if version != 2 or not (1 <= prob_bits <= 25 and 1 <= backoff_bits <= 25):
            raise file.damaged(f"quantization version {version} with {prob_bits} and {backoff_bits} bits")
        offset += 8
        for _ in range(order - 2):
            tables += [offset, offset + (4 << prob_bits)]
            offset += (4 << prob_bits) + (4 << backoff_bits)
        tables += [offset, 0]
        offset += 4 << prob_bits
    else:
        tables = [0, 0] * (order - 1)
    unigrams = offset
    offset += 16 * (counts[0] + 2)
    array_bits = -1
    if model_type in (ARRAY_TRIE, QUANT_ARRAY_TRIE) and order > 2:
        version, array_bits = file.unpack("<BB", offset)
        if version != 0:
            raise file.damaged(f"pointer compression version {version}")
    word_bits = counts[0].bit_length()
    levels = []
    for index, entries in enumerate(counts[1:]):
        pointer_table = pointer_count = pointer_bits = 0
        next_entries = counts[index + 2] if index + 2 < order else 0
        if index + 2 < order:
            pointer_bits = next_entries.bit_length()
            if array_bits >= 0:
                chopped = _chopped_bits(entries + 1, next_entries, array_bits)
                pointer_count = (next_entries >> (pointer_bits - chopped)) + 1
                pointer_bits -= chopped
                pointer_table = _align(offset, 8) + 8
                offset += 8 * (1 + pointer_count) + 7
        payload = prob_bits + (backoff_bits if index + 2 < order else 0)
        record_bits = word_bits + payload + pointer_bits
        if max(word_bits, pointer_bits) > _WIDEST_FIELD:
            raise file.damaged(f"fields of {word_bits} and {pointer_bits} bits")
        levels.append(
            Level(
                offset,
                entries,
                next_entries,
                pointer_table,
                pointer_count,
                tables[2 * index],
                tables[2 * index + 1],
                0,
                word_bits,
                prob_bits,
                backoff_bits if index + 2 < order else 0,
                pointer_bits,
                record_bits,
            )
        )
        offset += ((1 + entries) * record_bits + 7) // 8 + 8
    file.need(offset)
    return LanguageModelLayout(
        model_type,
        tuple(counts),
        start + 8,
        vocabulary_entries,
        vocabulary_entries + 1,
        unigrams,
        16,
        tuple(levels),
        offset,
    )


def _chopped_bits(offsets: int, most: int, limit: int) -> int:
    """How many high bits of the pointers (up to `most`) are moved to a table: what makes table and records smallest."""
    required = most.bit_length()
    return min(
        range(min(required, limit) + 1),
        key=lambda chopped: (most >> (required - chopped)) * 64 - offsets * chopped,
    )
