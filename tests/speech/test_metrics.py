"""Error rates as the field counts them, and their confidence intervals."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.metrics import (
    NORMALIZATIONS,
    ErrorCount,
    ErrorTable,
    bootstrap_interval,
    character_error_table,
    character_errors,
    headline_rate,
    unspaced_characters,
    word_error_table,
    word_errors,
)

TEXTS = st.text(st.sampled_from("ab é\u0301"), max_size=12)


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """Wagner and Fischer's table, row by row."""
    row = list(range(len(hypothesis) + 1))
    for i, token in enumerate(reference, 1):
        above, row = row, [i]
        for j, heard in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (token != heard)))
    return row[-1]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "characters"),
    [
        ("the cat sat", "the cat sat", (0, 3), (0, 11)),
        ("the cat sat", "the bat", (2, 3), (5, 11)),
        ("a b", "a x b y", (2, 2), (4, 3)),
        ("", "", (0, 0), (0, 0)),
        ("", "two words", (2, 0), (9, 0)),
        ("two words", "", (2, 2), (9, 9)),
        ("straße", "strasse", (1, 1), (2, 6)),
        ("日本 語", "日本 誤", (1, 2), (1, 4)),
        ("  spaced   out ", "spaced out", (0, 2), (5, 15)),
    ],
)
def test_counts(reference: str, hypothesis: str, words: tuple[int, int], characters: tuple[int, int]) -> None:
    assert word_errors(reference, hypothesis) == ErrorCount(*words)
    assert character_errors(reference, hypothesis) == ErrorCount(*characters)


def test_rate_of_empty_references() -> None:
    assert ErrorCount(0, 0).rate == 0.0
    assert ErrorCount(7, 0).rate == 1.0
    assert ErrorCount(3, 2).rate == 1.5  # insertions can make it more than 1
    assert (ErrorCount(2, 0) + ErrorCount(0, 4)).rate == 0.5  # pooled: an empty reference's insertions count as edits


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_tables_agree_with_an_independent_edit_distance(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    words, characters = word_error_table(references, hypotheses), character_error_table(references, hypotheses)
    assert words.edits.tolist() == [edit_distance(r.split(), h.split()) for r, h in pairs]
    assert words.reference_tokens.tolist() == [len(r.split()) for r in references]
    assert characters.edits.tolist() == [edit_distance(list(r), list(h)) for r, h in pairs]
    assert characters.total == sum((character_errors(r, h) for r, h in pairs), ErrorCount(0, 0))


def test_a_missing_hypothesis_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        word_error_table(["one", "two"], ["one"])


def test_100_000_pairs_take_less_than_two_seconds() -> None:
    generator = np.random.default_rng(0)
    vocabulary = ["".join(generator.choice(list("abcdefgh"), generator.integers(2, 9))) for _ in range(2000)]
    sentences = [" ".join(generator.choice(vocabulary, 9)) for _ in range(1000)] * 100
    heard = [" ".join(sentence.split()[1:]) + " tail" for sentence in sentences]
    started = time.process_time()
    words, characters = word_error_table(sentences, heard), character_error_table(sentences, heard)
    seconds = time.process_time() - started
    assert words.total == ErrorCount(200_000, 900_000)
    assert characters.total.reference_tokens == sum(map(len, sentences))
    assert seconds < 2.0


def test_normalizations() -> None:
    text = "  The\tCafe\u0301,  “don't” — 3 नमस्ते! "
    assert NORMALIZATIONS["none"](text) == text
    assert NORMALIZATIONS["spaces"](text) == "The Café, “don't” — 3 नमस्ते!"
    assert NORMALIZATIONS["lower"](text) == "the café, “don't” — 3 नमस्ते!"
    assert NORMALIZATIONS["letters"](text) == "the café don't 3 नमस्ते"


@given(st.text(max_size=30), st.sampled_from(sorted(NORMALIZATIONS)))
def test_normalizing_twice_changes_nothing(text: str, name: str) -> None:
    once = NORMALIZATIONS[name](text)
    assert NORMALIZATIONS[name](once) == once


def table(count: int, seed: int) -> ErrorTable:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(1, 15, count)
    return ErrorTable(generator.binomial(tokens, 0.2), tokens)


def test_interval_is_that_of_drawing_clip_by_clip() -> None:
    errors = table(400, 3)
    generator = np.random.default_rng(9)
    rates = []
    for _ in range(4000):
        drawn = errors.select(generator.integers(0, 400, 400))
        rates.append(drawn.total.rate)
    low, high = bootstrap_interval(errors, resamples=4000, confidence=0.9, seed=1) or (0.0, 0.0)
    assert low < errors.total.rate < high
    assert [low, high] == pytest.approx(np.quantile(rates, [0.05, 0.95]), rel=0.02)


def test_interval_is_reproducible_and_narrows_with_more_clips() -> None:
    few, many = table(50, 1), table(5000, 1)
    first = bootstrap_interval(few, resamples=1000, confidence=0.95, seed=5)
    assert first == bootstrap_interval(few, resamples=1000, confidence=0.95, seed=5)
    assert first != bootstrap_interval(few, resamples=1000, confidence=0.95, seed=6)
    wide, narrow = first or (0, 0), bootstrap_interval(many, resamples=1000, confidence=0.95, seed=5) or (0, 0)
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) / 4


def test_interval_over_speakers_is_wider_when_speakers_differ() -> None:
    tokens = np.full(200, 10)
    edits = np.repeat([0, 6], 100)  # two speakers, one of them hard to understand
    clips = ErrorTable(edits, tokens)
    speakers = clips.sums(np.repeat([0, 1], 100))
    assert speakers.edits.tolist() == [0, 600]
    low, high = bootstrap_interval(clips, resamples=2000, confidence=0.95, seed=0) or (0, 0)
    assert bootstrap_interval(speakers, resamples=2000, confidence=0.95, seed=0) == (0.0, 0.6)
    assert 0.2 < low < 0.3 < high < 0.4


def test_clips_of_unknown_speakers_stand_for_themselves() -> None:
    table = ErrorTable(np.array([1, 2, 3, 4]), np.array([10, 20, 30, 40])).by_speaker(["x", "", "x", ""])
    assert (table.edits.tolist(), table.reference_tokens.tolist()) == ([4, 2, 4], [40, 20, 40])


def test_interval_of_too_little_and_of_empty_references() -> None:
    one = ErrorTable(np.array([1]), np.array([4]))
    assert bootstrap_interval(one, resamples=100, confidence=0.95, seed=0) is None
    assert bootstrap_interval(table(10, 0), resamples=0, confidence=0.95, seed=0) is None
    empty = ErrorTable(np.array([0, 0]), np.array([0, 0]))
    assert bootstrap_interval(empty, resamples=100, confidence=0.95, seed=0) == (0.0, 0.0)
    heard = ErrorTable(np.array([3, 3]), np.array([0, 0]))
    assert bootstrap_interval(heard, resamples=100, confidence=0.95, seed=0) == (1.0, 1.0)


def test_the_rate_to_read() -> None:
    assert headline_rate(True, words=100, characters=700) == "wer"
    assert headline_rate(False, words=100, characters=700) == "cer"  # each sentence is one word
    assert headline_rate(True, words=120, characters=4000) == "cer"  # Thai: spaces between phrases
    assert headline_rate(True, words=0, characters=0) == "wer"
    assert (
        headline_rate(True, words=100, characters=1200, unspaced=1100) == "cer"
    )  # Chinese: sentences of 12 characters
    assert headline_rate(True, words=1000, characters=1990, unspaced=1000) == "wer"  # a space after every character
    assert headline_rate(True, words=100, characters=1200, unspaced=100) == "wer"  # words of Chinese among others


def test_characters_of_scripts_without_spaces() -> None:
    assert unspaced_characters("你好 ok สวัสดี ຂອບ はい 안녕 გ") == 2 + 6 + 3 + 2
