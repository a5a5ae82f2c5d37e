"""The course of the learning rate."""

import numpy as np
import pytest

from components.train.recipes.schedule import WARMUP_FROM, Schedule
from components.train.settings import SCHEDULES, TrainSettings

ANNEALED = ("linear", "cosine", "one_cycle")


def curve(schedule: Schedule) -> np.ndarray:
    return np.array([schedule.factor(done) for done in np.arange(1000) / 1000])


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_the_peers_rate_is_the_same_in_every_step(name: str) -> None:
    assert set(curve(Schedule.of(TrainSettings(lr_schedule=name)))) == {1.0}


@pytest.mark.parametrize("name", SCHEDULES[1:])
def test_it_rises_to_the_peak_and_falls_to_the_end(name: str) -> None:
    factors = curve(Schedule(name, warmup=0.2, peak=4.0, final=0.1))
    assert factors[0] == pytest.approx(WARMUP_FROM)
    assert factors.argmax() == 200
    assert factors.max() == pytest.approx(4.0)
    assert (np.diff(factors[:201]) > 0).all()
    falls = np.diff(factors[200:])
    assert (falls < 0).all() if name in ANNEALED else (falls == 0).all()
    assert factors[-1] == pytest.approx(0.4 if name in ANNEALED else 4.0, rel=0.02)


def test_half_way_down() -> None:
    assert Schedule("linear", final=0.2).factor(0.5) == pytest.approx(0.6)
    assert Schedule("cosine").factor(0.5) == pytest.approx(0.5)
    assert Schedule("cosine").factor(0.25) == pytest.approx(0.5 + 0.5 * np.cos(np.pi / 4))
    assert Schedule("linear").factor(0.25) == pytest.approx(0.75)


def test_what_is_not_given_is_the_schedules_own() -> None:
    assert Schedule.of(TrainSettings(lr_schedule="one_cycle")) == Schedule("one_cycle", 0.3, 3.0, 0.0)
    assert Schedule.of(TrainSettings(lr_schedule="cosine")) == Schedule("cosine", 0.05, 1.0, 0.0)
    given = TrainSettings(lr_schedule="one_cycle", lr_warmup=0.0, lr_peak=2.0, lr_final=0.5)
    assert Schedule.of(given) == Schedule("one_cycle", 0.0, 2.0, 0.5)
