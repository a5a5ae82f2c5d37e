"""Compact columns."""

import random

from components.import_cv.plan.table import DistinctTexts, Numbered, Texts


def test_texts_come_back() -> None:
    texts = Texts()
    given = ["", "a", "ŵy neu", "\ud83d", "日本"]
    assert [texts.append(text) for text in given] == list(range(len(given)))
    assert list(texts) == given
    assert [texts[index] for index in range(len(texts))] == given


def test_distinct_texts_are_found_as_a_dict_finds_them() -> None:
    source, texts, expected = random.Random(5), DistinctTexts(), {}
    for _ in range(20_000):
        text = source.choice("aé\ud83d") + str(source.randrange(5_000))
        assert texts.find(text) == expected.get(text, -1)
        if text not in expected:
            expected[text] = texts.append(text)
    assert list(texts) == list(expected)
    assert texts.find("") == -1


def test_a_repeated_value_has_one_number() -> None:
    numbered: Numbered[str] = Numbered()
    assert [numbered.number(value) for value in "abca"] == [0, 1, 2, 0]
    assert numbered.all() == ["a", "b", "c"]
