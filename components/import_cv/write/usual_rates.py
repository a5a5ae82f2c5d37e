"""How fast the validated clips are read, and whether a clip that nobody has voted on is read like them.

A transcript that does not belong to its clip is mostly too long or too short for it. What is usual differs by script,
so it is measured and not set.
"""

from array import array

import numpy as np

LEAST = 20  # clips from which on quantiles say something


class UsualRates:
    """Characters a second of trusted clips, which come first; then asked about others."""

    def __init__(self, tails: float) -> None:
        """Without the share `tails` of the trusted clips at each end."""
        self.tails = tails
        self._rates = array("d")
        self._limits: tuple[float, float] | None = None

    def add(self, rate: float) -> None:
        """Count a trusted clip."""
        self._rates.append(rate)
        self._limits = None

    def has(self, rate: float) -> bool:
        """Whether a rate is usual; any is where too few clips are trusted."""
        if len(self._rates) < LEAST:
            return True
        if self._limits is None:
            low, high = np.quantile(np.frombuffer(self._rates), [self.tails, 1 - self.tails]).tolist()
            self._limits = low, high
        return self._limits[0] <= rate <= self._limits[1]
