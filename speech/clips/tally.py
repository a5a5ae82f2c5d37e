"""How many clips of a set were listed, used and left out, and why; and how many may be left out."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from speech.errors import InputError
from speech.settings import setting_error

MISSING = "missing file"
MISSING_SHARD = "in a shard that is missing"
SHORT_SHARD = "beyond the end of its shard"
UNREADABLE = "unreadable audio"
OTHER_RATE = "another sample rate"
NO_TRANSCRIPT = "empty transcript"
FOREIGN = "characters outside the alphabet"
TOO_LONG = "transcript longer than the audio"
NO_LOSS = "loss is not finite"
NO_GRADIENT = "gradient is not finite"
FOUND_IN_TRAINING = (UNREADABLE, OTHER_RATE, TOO_LONG, NO_LOSS, NO_GRADIENT)
OF_THE_MODEL = (NO_LOSS, NO_GRADIENT)  # no fault of the clips, perhaps

USUALLY_ALLOWED = "10%"
EXAMPLES_PER_REASON = 20
SHOWN_EXAMPLES = 3


@dataclass(frozen=True)
class Allowance:
    """How many clips of a set may be left out: a number, or a share."""

    text: str = USUALLY_ALLOWED

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+|0?\.\d+|[01]\.\d*|\d+(\.\d+)?%", self.text) or self._share > 1.0:
            allowed = "a number of clips, such as 20, or a share, such as 0.1 or 10%"
            raise setting_error("allow_skipped", self.text, allowed)

    @property
    def _share(self) -> float:
        """The share; 0 for a number of clips."""
        if self.text.endswith("%"):
            return float(self.text[:-1]) / 100
        return float(self.text) if "." in self.text else 0.0

    def clips(self, listed: int) -> int:
        """The most clips of `listed` ones that may be left out."""
        if self.text.isdigit():
            return int(self.text)
        return int(self._share * listed + 1e-9)


@dataclass
class Tally:
    """The count of one set (`where`: its path). A clip counts once, for the first reason that was found."""

    where: str
    listed: int = 0
    beyond_limit: int = 0  # left out by `--limit_train` and the like, which is no reason to worry
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, reason: str, number: int, name: str) -> None:
        """Leave out the clip `number` (its row in the set) called `name`."""
        with self._lock:
            if number in self._seen:
                return
            self._seen.add(number)
            self.counts[reason] = self.counts.get(reason, 0) + 1
            names = self.examples.setdefault(reason, [])
            if len(names) < EXAMPLES_PER_REASON:
                names.append(name)

    @property
    def skipped(self) -> int:
        """Clips that are left out for any reason."""
        return sum(self.counts.values())

    @property
    def unusable(self) -> int:
        """Those of them that are of no use to any model."""
        return self.skipped - sum(self.counts.get(reason, 0) for reason in OF_THE_MODEL)

    @property
    def used(self) -> int:
        """Clips that are left."""
        return self.listed - self.skipped - self.beyond_limit

    def finding(self, allowance: Allowance) -> str:
        """What is wrong, and what to do about it, if more clips are of no use than may be, or all."""
        if self.used <= 0:
            reasons = self.reasons() or "it has no rows"
            return f"{self.where}: no usable clip ({reasons}): check the CSV and the alphabet"
        allowed = allowance.clips(self.listed)
        if self.unusable <= allowed:
            return ""
        return (
            f"{self.where}: {self.unusable} of {self.listed} clips ({self.unusable / self.listed:.1%}) cannot be used: "
            f"{self.reasons()}; --allow_skipped {allowance.text} allows {allowed}: mend the files or the list, or "
            "allow more (a number of clips or a share)"
        )

    def check(self, allowance: Allowance) -> None:
        """Raise InputError if more clips are of no use than may be, or all."""
        if problem := self.finding(allowance):
            raise InputError(problem)

    def reasons(self) -> str:
        """The reasons with their counts and the first clips of each."""
        shown = []
        for reason, count in self.counts.items():
            names = ", ".join(self.examples[reason][:SHOWN_EXAMPLES])
            shown.append(f"{count} {reason} ({names}{', ...' if count > SHOWN_EXAMPLES else ''})")
        return ", ".join(shown)

    def __str__(self) -> str:
        line = f"{self.listed} clips listed, {self.used} used"
        line += f", {self.beyond_limit} beyond the limit" if self.beyond_limit else ""
        return line + (f", {self.skipped} left out: {self.reasons()}" if self.skipped else "")

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "set": self.where,
            "listed": self.listed,
            "used": self.used,
            "beyond_limit": self.beyond_limit,
            "skipped": self.skipped,
            "counts": self.counts,
            "examples": self.examples,
        }


def total(tallies: Sequence[Tally]) -> dict[str, Any]:
    """The numbers of several sets together."""
    whole: dict[str, Any] = {
        name: sum(getattr(tally, name) for tally in tallies) for name in ("listed", "used", "skipped")
    }
    counts: dict[str, int] = {}
    for tally in tallies:
        for reason, count in tally.counts.items():
            counts[reason] = counts.get(reason, 0) + count
    return {**whole, "counts": counts}


def describe(tallies: Sequence[Mapping[str, Any]]) -> str:
    """`96 listed, 90 used, 6 left out (6 missing file)` for the JSON forms of one or several sets together."""
    listed, used, skipped = (sum(tally[name] for tally in tallies) for name in ("listed", "used", "skipped"))
    counts: dict[str, int] = {}
    for tally in tallies:
        for reason, count in tally["counts"].items():
            counts[reason] = counts.get(reason, 0) + count
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return f"{listed:,} listed, {used:,} used" + (f", {skipped:,} left out ({reasons})" if skipped else "")
