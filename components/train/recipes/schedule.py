"""The course of the learning rate over a run.

A point of a run is the share of it that is done: epochs, and batches of the current one. That is known from what every
checkpoint holds, equal on all workers, and the same curve for any size of batches. So nothing about a schedule is
state: a run that goes on has the rate that it would have had.
"""

import math
from dataclasses import dataclass

from components.train.settings import TrainSettings

WARMUP_FROM = 1 / 25  # of the learning rate: where a warm-up begins
WARMUPS = {"one_cycle": 0.3, "linear": 0.05, "cosine": 0.05}
PEAKS = {"one_cycle": 3.0}


@dataclass(frozen=True)
class Schedule:
    """A curve of factors of the learning rate."""

    name: str = "constant"
    warmup: float = 0.0  # share of the run
    peak: float = 1.0  # factor of the learning rate
    final: float = 0.0  # factor of the peak

    @classmethod
    def of(cls, settings: TrainSettings) -> "Schedule":
        """The schedule of a run's settings, which no recipe has to complete any more."""
        name = settings.lr_schedule
        return cls(
            name,
            settings.lr_warmup if settings.lr_warmup >= 0 else WARMUPS.get(name, 0.0),
            settings.lr_peak or PEAKS.get(name, 1.0),
            max(settings.lr_final, 0.0),
        )

    @property
    def cuts(self) -> bool:
        """Whether a stalled dev loss cuts the learning rate."""
        return self.name == "plateau"

    def factor(self, done: float) -> float:
        """The factor where `done` of the run is done, from 0 to 1.

        constant and plateau stay at the peak after the warm-up, linear falls in a line, cosine and one_cycle in half a
        wave. one_cycle rises in half a wave, too, the others in a line.
        """
        if done < self.warmup:
            risen = done / self.warmup
            return WARMUP_FROM + (self.peak - WARMUP_FROM) * (_half_wave(risen) if self.name == "one_cycle" else risen)
        if self.name in ("constant", "plateau"):
            return self.peak
        fallen = (done - self.warmup) / (1.0 - self.warmup)
        share = fallen if self.name == "linear" else _half_wave(fallen)
        return self.peak * (1.0 - (1.0 - self.final) * share)


def _half_wave(share: float) -> float:
    """From 0 to 1, flat at both ends."""
    return (1.0 - math.cos(math.pi * share)) / 2.0
