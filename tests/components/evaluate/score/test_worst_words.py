"""The words that are not heard, with what is heard instead."""

from components.evaluate.score.worst_words import worst_words
from tests.components.evaluate.samples import sample


def test_words_with_the_most_errors_come_first() -> None:
    samples = [
        sample("the mill on the hill", "a mill on a hill", duration_s=3.0),
        sample("the mill", "a mill", duration_s=1.0, name="short.wav"),
        sample("the end", "end", duration_s=0.5),
        sample("mill", "will"),
        sample("all right", "all right and more"),  # nothing that was said is wrong
    ]
    first, second = worst_words(samples, 5)
    assert (first.word, first.said, first.wrong, first.rate) == ("the", 4, 4, 1.0)
    assert first.instead == [("a", 3), ("", 1)]
    assert first.example is not None
    assert first.example.wav_filename == "short.wav"
    assert (second.word, second.said, second.wrong, second.instead) == ("mill", 3, 1, [("will", 1)])
    assert [one.word for one in worst_words(samples, 1)] == ["the"]
    assert worst_words([], 5) == []


def test_of_equals_the_rarer_word_is_worse() -> None:
    samples = [sample("rare common", "x y"), sample("common", "common")]
    assert [one.word for one in worst_words(samples, 5)] == ["rare", "common"]
