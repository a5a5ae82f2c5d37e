"""The retry loop waits between attempts, and neither before the first nor behind the last."""

import time

import pytest

from speech.storage.retries import attempts


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def test_pauses_grow(waits: list[float]) -> None:
    assert list(attempts(4, 0.5)) == [0, 1, 2, 3]
    assert waits == [0.5, 1.0, 2.0]


def test_pauses_of_one_length(waits: list[float]) -> None:
    assert list(attempts(3, 2.0, growth=1)) == [0, 1, 2]
    assert waits == [2.0, 2.0]


def test_a_success_waits_no_more(waits: list[float]) -> None:
    for number in attempts(5, 1.0):
        if number == 1:
            break
    assert waits == [1.0]
