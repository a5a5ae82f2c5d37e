"""Queries of a KenLM binary in pure Python: what scorers are checked with, and what decodes where nothing is compiled.

The scores are KenLM's float32 sums, bit for bit. Nothing read from the file is trusted: each index is compared with its
bound before it is used. `cpp/language_model.h` is the same in C++.
"""

import struct
from dataclasses import dataclass

import numpy as np

from speech.decoding.language_model import LanguageModelLayout, Level

_HASH_MULTIPLIER = 0xC6A4A7935BD1E995
_MASK = (1 << 64) - 1
_NO_EXTENSION = 0x80000000  # a backoff of minus zero: no longer n-gram begins here


def hash_word(word: bytes) -> int:
    """MurmurHash2, 64-bit variant A (Austin Appleby, public domain), seed 0: the hash of KenLM's vocabularies."""
    value = len(word) * _HASH_MULTIPLIER & _MASK
    whole = len(word) // 8 * 8
    for (block,) in struct.iter_unpack("<Q", word[:whole]):
        block = block * _HASH_MULTIPLIER & _MASK
        block = (block ^ block >> 47) * _HASH_MULTIPLIER & _MASK
        value = (value ^ block) * _HASH_MULTIPLIER & _MASK
    if whole < len(word):
        value = (value ^ int.from_bytes(word[whole:], "little")) * _HASH_MULTIPLIER & _MASK
    value = (value ^ value >> 47) * _HASH_MULTIPLIER & _MASK
    return value ^ value >> 47


@dataclass(frozen=True)
class State:
    """The words that still matter for what follows, newest first, with their backoffs."""

    words: tuple[int, ...] = ()
    backoffs: tuple[np.float32, ...] = ()


@dataclass
class _Cursor:
    """Where longer n-grams that end in the words read so far continue: a range of records, or a hash."""

    begin: int = 0
    end: int = 0
    hash: int = 0
    continues: bool = False


class LanguageModelReader:
    """log10 probabilities of a KenLM binary."""

    def __init__(self, data: np.ndarray, layout: LanguageModelLayout) -> None:
        self._data = memoryview(data)  # type: ignore[arg-type]
        self.layout = layout

    def index(self, word: bytes) -> int:
        """The index of a word (UTF-8); 0 is `<unk>`."""
        key = hash_word(word)
        layout = self.layout
        if layout.probing:
            bucket = self._probe(layout.vocabulary, layout.vocabulary_entries, 12, key)
            index = self._u32(bucket + 8) if bucket >= 0 else 0
        else:
            index = 1 + self._search(
                0, layout.vocabulary_entries, key, lambda entry: self._u64(layout.vocabulary + 8 * entry)
            )
        return index if index < layout.words else 0

    def null_state(self) -> State:
        """No history at all."""
        return State()

    def begin_state(self) -> State:
        """The beginning of a sentence."""
        begin = self.index(b"<s>")
        return State((begin,), (self._float(self.layout.unigrams + begin * self.layout.unigram_bytes + 4),))

    def score(self, state: State, word: int) -> tuple[float, State]:
        """log10 p(word | state), and the state behind the word."""
        prob, backoff, cursor = self._start(word)
        backoffs = [backoff]
        matched, kept = 1, int(_extends(backoff))
        for position, before in enumerate(state.words):
            if not cursor.continues:
                break
            longest = position + 2 == self.layout.order
            entry = self._step(self.layout.levels[position], longest, before, cursor)
            if entry is None:
                break
            prob, backoff = entry
            matched = position + 2
            if longest:
                break
            backoffs.append(backoff)
            if _extends(backoff):
                kept = matched
        for charged in state.backoffs[matched - 1 :]:
            prob = np.float32(prob + charged)
        return float(prob), State((word, *state.words)[:kept], tuple(backoffs[:kept]))

    # ---- reads ----

    def _u32(self, offset: int) -> int:
        return int.from_bytes(self._data[offset : offset + 4], "little")

    def _u64(self, offset: int) -> int:
        return int.from_bytes(self._data[offset : offset + 8], "little")

    def _float(self, offset: int) -> np.float32:
        return _as_float(self._u32(offset))

    def _bits(self, level: Level, offset: int, width: int) -> int:
        return (self._u64(level.base + (offset >> 3)) >> (offset & 7)) & ((1 << width) - 1)

    @staticmethod
    def _search(low: int, high: int, key: int, value_of: "object") -> int:
        """The entry of the sorted range that equals `key`, or -1."""
        while low < high:
            middle = (low + high) // 2
            value = value_of(middle)  # type: ignore[operator]
            if value == key:
                return middle
            if value < key:
                low = middle + 1
            else:
                high = middle
        return -1

    def _probe(self, base: int, buckets: int, bucket_bytes: int, key: int) -> int:
        """The offset of the bucket of `key` by linear probing, or -1; the key 0 marks an empty bucket."""
        position = key % buckets
        for _ in range(buckets):
            offset = base + position * bucket_bytes
            stored = self._u64(offset)
            if stored == key:
                return offset
            if stored == 0:
                break
            position = (position + 1) % buckets
        return -1

    # ---- n-grams ----

    def _start(self, word: int) -> tuple[np.float32, np.float32, _Cursor]:
        record = self.layout.unigrams + word * self.layout.unigram_bytes
        backoff = self._float(record + 4)
        if self.layout.probing:
            bits = self._u32(record)
            return _as_float(bits | 0x80000000), backoff, _Cursor(hash=word, continues=not bits & 0x80000000)
        cursor = _Cursor(self._u64(record + 8), self._u64(record + self.layout.unigram_bytes + 8))
        _clamp(cursor, self.layout.levels[0].entries)
        return self._float(record), backoff, cursor

    def _step(self, level: Level, longest: bool, word: int, cursor: _Cursor) -> tuple[np.float32, np.float32] | None:
        if self.layout.probing:
            return self._step_probing(level, longest, word, cursor)
        record = self._search(
            cursor.begin, cursor.end, word, lambda entry: self._bits(level, entry * level.record_bits, level.word_bits)
        )
        return None if record < 0 else self._read_record(level, longest, record, cursor)

    def _step_probing(
        self, level: Level, longest: bool, word: int, cursor: _Cursor
    ) -> tuple[np.float32, np.float32] | None:
        cursor.hash = (cursor.hash * 8978948897894561157 & _MASK) ^ ((1 + word) * 17894857484156487943 & _MASK)
        bucket = self._probe(level.base, level.entries, level.bucket_bytes, cursor.hash)
        if bucket < 0:
            return None
        bits = self._u32(bucket + 8)
        if longest:
            return _as_float(bits), np.float32(0)
        cursor.continues = not bits & 0x80000000
        return _as_float(bits | 0x80000000), self._float(bucket + 12)

    def _read_record(self, level: Level, longest: bool, record: int, cursor: _Cursor) -> tuple[np.float32, np.float32]:
        offset = record * level.record_bits + level.word_bits
        backoff = np.float32(0)
        if level.prob_table:
            if not longest:
                backoff = self._float(level.backoff_table + 4 * self._bits(level, offset, level.backoff_bits))
            offset += level.backoff_bits
            prob = self._float(level.prob_table + 4 * self._bits(level, offset, level.prob_bits))
            offset += level.prob_bits
        else:
            prob = _as_float(self._bits(level, offset, 31) | 0x80000000)
            offset += 31
            if not longest:
                backoff = _as_float(self._bits(level, offset, 32))
                offset += 32
        if not longest:
            cursor.begin = self._pointer(level, record, offset)
            cursor.end = self._pointer(level, record + 1, offset + level.record_bits)
            _clamp(cursor, level.next_entries)
        return prob, backoff

    def _pointer(self, level: Level, record: int, offset: int) -> int:
        """Array compression keeps the high bits of the (ascending) pointers in a table of where they change."""
        low_bits = self._bits(level, offset, level.pointer_bits)
        if not level.pointer_count:
            return low_bits
        low, high = 0, level.pointer_count
        while low < high:
            middle = (low + high) // 2
            if self._u64(level.pointer_table + 8 * middle) <= record:
                low = middle + 1
            else:
                high = middle
        return (max(low - 1, 0) << level.pointer_bits) | low_bits


def _as_float(bits: int) -> np.float32:
    return np.frombuffer(bits.to_bytes(4, "little"), "<f4")[0]


def _extends(backoff: np.float32) -> bool:
    return backoff.view(np.uint32) != _NO_EXTENSION


def _clamp(cursor: _Cursor, entries: int) -> None:
    cursor.continues = cursor.begin < cursor.end <= entries
