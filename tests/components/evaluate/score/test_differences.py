"""Alignments, frequent errors, confusions."""

from hypothesis import given
from hypothesis import strategies as st

from components.evaluate.score.differences import align, aligned_words, confusions, count_differences
from tests.components.evaluate.samples import sample

TOKENS = st.lists(st.sampled_from("abc"), max_size=8)


def test_words_side_by_side() -> None:
    pairs = aligned_words(sample("turn the red light on", "turn red lights on now"))
    assert [(pair.reference, pair.hypothesis, pair.kind) for pair in pairs] == [
        ("turn", "turn", "same"),
        ("the", "", "deleted"),
        ("red", "red", "same"),
        ("light", "lights", "substituted"),
        ("on", "on", "same"),
        ("", "now", "inserted"),
    ]


@given(TOKENS, TOKENS)
def test_an_alignment_holds_both_sides_and_has_the_fewest_edits(reference: list[str], hypothesis: list[str]) -> None:
    pairs = align(reference, hypothesis)
    assert [pair.reference for pair in pairs if pair.reference] == reference
    assert [pair.hypothesis for pair in pairs if pair.hypothesis] == hypothesis
    edits = sum(pair.kind != "same" for pair in pairs)
    assert edits == sample(" ".join(reference), " ".join(hypothesis)).words.edits


def test_most_frequent_errors() -> None:
    found = count_differences([sample("a b c", "a x c"), sample("b", "x"), sample("b c", "c"), sample("q", "q z z")])
    assert [(pair.reference, pair.hypothesis, times) for pair, times in found.most_frequent("substituted", 5)] == [
        ("b", "x", 2)
    ]
    assert [(pair.reference, times) for pair, times in found.most_frequent("deleted", 5)] == [("b", 1)]
    assert [(pair.hypothesis, times) for pair, times in found.most_frequent("inserted", 5)] == [("z", 2)]
    assert found.most_frequent("substituted", 0) == []


def test_confusions_count_every_character_of_the_rows() -> None:
    found = confusions(
        count_differences([sample("abba", "abea"), sample("ab", "ab"), sample("b", ""), sample("a", "ac")]), 9
    )
    assert found.tokens == ["b", "c", "e", ""]
    assert found.totals == [4, 0, 0, 1]
    assert found.counts == [[2, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert found.strongest == 0.25


def test_confusions_keep_the_most_mistaken() -> None:
    samples = [sample("aa", "bb"), sample("aa", "bb"), sample("c", "d")]
    assert confusions(count_differences(samples), 2).tokens == ["a", "b", ""]
    assert confusions(count_differences([sample("a", "a")]), 2).tokens == [""]
