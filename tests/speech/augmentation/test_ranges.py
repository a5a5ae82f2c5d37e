"""Value ranges: their forms, their clock, and the statistics of what they give."""

import numpy as np
import pytest

from speech.augmentation.ranges import HalfNormal, Range, WholeBelow

FORMS = [
    ("1.2", (1.2, 1.2, 0.0)),
    ("1.2~0.4", (1.2, 1.2, 0.4)),
    ("-0.2:1.2", (-0.2, 1.2, 0.0)),
    ("-10:-40", (-10.0, -40.0, 0.0)),
    ("50:20~10", (50.0, 20.0, 10.0)),
    ("4-6~2", (4.0, 6.0, 2.0)),  # as DeepSpeech's guide writes it
    ("-5--3", (-5.0, -3.0, 0.0)),
    ("1e-3:2E+1~.5", (0.001, 20.0, 0.5)),
    (" 1 : 2 ~ 3 ", (1.0, 2.0, 3.0)),
]


def draws(text: str, clock: float, count: int = 4000, whole: bool = False) -> np.ndarray:
    generator, values = np.random.default_rng(7), Range.parse(text, whole=whole)
    return np.array([values.pick(clock, generator) for _ in range(count)])


@pytest.mark.parametrize(("text", "expected"), FORMS)
def test_every_form_is_read(text, expected):
    values = Range.parse(text)
    assert (values.start, values.end, values.radius) == expected


@pytest.mark.parametrize("text", ["", "a", "1~", "~1", "1:2:3", "1~2~3", "1:", "nan", "inf", "1~-2", "1,5", "1~a"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="expected"):
        Range.parse(text)


@pytest.mark.parametrize("text", ["1.5", "1:2.5", "3~0.5"])
def test_whole_ranges_refuse_fractions(text):
    with pytest.raises(ValueError, match="whole"):
        Range.parse(text, whole=True)


def test_a_constant_is_the_constant():
    assert set(draws("1.2", 0.7)) == {1.2}


@pytest.mark.parametrize(("clock", "value"), [(0, 50), (0.25, 42.5), (1, 20), (-1, 50), (2, 20)])
def test_the_clock_moves_the_value_linearly(clock, value):
    assert set(draws("50:20", clock, 3)) == {value}


@pytest.mark.parametrize(("clock", "centre"), [(0.0, 50.0), (0.5, 35.0), (1.0, 20.0)])
def test_the_radius_is_uniform_around_the_moving_centre(clock, centre):
    values = draws("50:20~10", clock)
    assert centre - 10 <= values.min() < centre - 9.9
    assert centre + 9.9 < values.max() <= centre + 10
    assert values.mean() == pytest.approx(centre, abs=0.4)  # four standard errors
    assert values.std() == pytest.approx(20 / np.sqrt(12), rel=0.05)


def test_whole_ranges_give_integers_within_the_radius():
    values = draws("4~2", 0.0, whole=True)
    assert set(values) == {2, 3, 4, 5, 6}
    assert values.mean() == pytest.approx(4, abs=0.1)
    assert isinstance(Range.parse("8000", whole=True).pick(0, np.random.default_rng(0)), int)


def test_bounds_cover_the_whole_training():
    values = Range.parse("10:2~3")
    assert (values.lowest, values.highest) == (-1, 13)


@pytest.mark.parametrize("text", ["1.2", "1.2~0.4", "-0.2:1.2", "50:20~10", "12000:8000~4000"])
def test_text_of_a_range_reads_back(text):
    assert str(Range.parse(text)) == text


def test_whole_below_is_uniform():
    generator, values = np.random.default_rng(1), WholeBelow(5, 20.0)
    counts = np.unique([values.pick(0, generator) for _ in range(5000)], return_counts=True)
    assert list(counts[0]) == [0, 20, 40, 60, 80]
    assert counts[1] == pytest.approx(1000, rel=0.15)


def test_half_normal_never_falls_below_its_least():
    generator, values = np.random.default_rng(1), HalfNormal(1.0, 0.2)
    drawn = np.array([values.pick(0, generator) for _ in range(5000)])
    assert drawn.min() >= 1
    assert drawn.mean() == pytest.approx(1 + 0.2 * np.sqrt(2 / np.pi), abs=0.01)
