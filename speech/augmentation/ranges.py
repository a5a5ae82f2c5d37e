"""Value ranges: what an augmentation's parameter may be at a moment of the training.

`v` is a constant, `v~r` uniform within a radius, `start:end` moves linearly over the training, `start:end~r` is both.
The moment is the clock, from 0.0 (training starts) to 1.0 (it ends).
"""

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
# The guides also write a moving range as `4-6`.
_RANGE = re.compile(rf"\s*{_NUMBER}(?:\s*[:-]\s*{_NUMBER})?(?:\s*~\s*{_NUMBER})?\s*")


class Values(Protocol):
    """Anything that a parameter's value can be drawn from."""

    def pick(self, clock: float, generator: np.random.Generator) -> float:
        """A value at this moment."""


@dataclass(frozen=True)
class Range:
    """The four forms of a range; `whole` ones give integers, rounded from the uniform draw."""

    start: float
    end: float
    radius: float = 0.0
    whole: bool = False

    @classmethod
    def parse(cls, text: str, *, whole: bool = False) -> "Range":
        """Read a range; raises ValueError that says what was expected."""
        match = _RANGE.fullmatch(text)
        if not match:
            raise ValueError("expected a number V, or V~RADIUS, START:END or START:END~RADIUS")
        start = float(match[1])
        values = cls(start, float(match[2]) if match[2] else start, float(match[3] or 0), whole)
        if values.radius < 0:
            raise ValueError("expected a radius of 0 or more behind ~")
        if whole and not all(value.is_integer() for value in (values.start, values.end, values.radius)):
            raise ValueError("expected whole numbers")
        return values

    @property
    def lowest(self) -> float:
        """The least value of the whole training."""
        return min(self.start, self.end) - self.radius

    @property
    def highest(self) -> float:
        """The greatest value of the whole training."""
        return max(self.start, self.end) + self.radius

    def pick(self, clock: float, generator: np.random.Generator) -> float:
        """A value at this moment, uniform around the centre."""
        value = self.start + min(max(clock, 0.0), 1.0) * (self.end - self.start)
        if self.radius:
            value = generator.uniform(value - self.radius, value + self.radius)
        return round(value) if self.whole else value

    def __str__(self) -> str:
        moving = f"{self.start:g}" if self.start == self.end else f"{self.start:g}:{self.end:g}"
        return f"{moving}~{self.radius:g}" if self.radius else moving


@dataclass(frozen=True)
class WholeBelow:
    """Integers of 0 ... limit - 1, each as likely as another, times a unit."""

    limit: int
    unit: float = 1.0

    def pick(self, clock: float, generator: np.random.Generator) -> float:
        """A value; the same at every moment."""
        return int(generator.integers(self.limit)) * self.unit


@dataclass(frozen=True)
class HalfNormal:
    """`least` plus the absolute value of a normal deviate."""

    least: float
    stddev: float

    def pick(self, clock: float, generator: np.random.Generator) -> float:
        """A value; the same at every moment."""
        return self.least + abs(self.stddev * generator.standard_normal())
