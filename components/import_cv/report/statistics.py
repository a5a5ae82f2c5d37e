"""The facts of an import, counted row by row, and the report made of them."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from components.import_cv.plan.alphabet_proposal import SymbolCounts
from components.import_cv.plan.planning import Row
from components.import_cv.plan.reasons import Reason
from speech.alphabet import Alphabet

DIMENSIONS = ("speaker", "gender", "age", "accent")
MAX_VALUES = 30  # of a dimension that a report lists, by clips
MAX_EXAMPLES = 5  # of a reason, in each set
DURATION_BIN_S = 0.25
RATE_BIN = 2  # characters a second
SHOWN_ID_CHARACTERS = 12  # of a speaker's 128


@dataclass
class Shares:
    """Clips and samples by value of one dimension."""

    clips: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)

    def add(self, value: str, samples: int) -> None:
        """Count a clip."""
        self.clips[value] += 1
        self.samples[value] += samples

    def describe(self, sample_rate: int, shorten: int = 0) -> dict[str, Any]:
        """How many values there are, and the largest by clips."""
        ranked = sorted(self.clips.items(), key=lambda item: (-item[1], item[0]))
        return {
            "values": len(ranked),
            "largest": [
                {
                    "value": value[:shorten] if shorten else value,
                    "clips": clips,
                    "hours": round(self.samples[value] / sample_rate / 3600, 4),
                }
                for value, clips in ranked[:MAX_VALUES]
            ],
        }


@dataclass
class TableCounts:
    """What one table of the release gives to a set."""

    clips: int = 0
    samples: int = 0
    left_out: Counter[Reason] = field(default_factory=Counter)  # although nothing is wrong with it

    def describe(self, sample_rate: int) -> dict[str, Any]:
        """The report's form."""
        left_out = {reason.key: self.left_out[reason] for reason in sorted(self.left_out)}
        return {"clips": self.clips, "hours": round(self.samples / sample_rate / 3600, 4), "left_out": left_out}


@dataclass
class SetStatistics:
    """One set."""

    rows: int = 0
    clips: int = 0
    samples: int = 0
    held_out: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    tables: dict[str, TableCounts] = field(default_factory=dict)
    examples: dict[Reason, list[dict[str, Any]]] = field(default_factory=dict)
    shares: dict[str, Shares] = field(default_factory=lambda: {name: Shares() for name in DIMENSIONS})
    durations: Counter[int] = field(default_factory=Counter)
    rates: Counter[int] = field(default_factory=Counter)


class Statistics:
    """Counts accepted and refused rows; `describe` gives the report."""

    def __init__(self, sets: tuple[str, ...], sample_rate: int, alphabet: Alphabet | None) -> None:
        self.sample_rate = sample_rate
        self.alphabet = alphabet
        self.sets = {name: SetStatistics() for name in sets}
        self.symbols = SymbolCounts()
        self.outside: Counter[str] = Counter()
        self.outside_rows: Counter[str] = Counter()

    def accept(self, row: Row, transcript: str, samples: int) -> None:
        """Count a row that became a clip of the corpus."""
        counted = self.sets[row.set_name]
        counted.rows += 1
        counted.clips += 1
        counted.samples += samples
        table = counted.tables.setdefault(row.table, TableCounts())
        table.clips += 1
        table.samples += samples
        values = (row.client_id, row.gender, row.age, row.accent)
        for shares, value in zip(counted.shares.values(), values, strict=True):
            shares.add(value, samples)
        seconds = samples / self.sample_rate
        counted.durations[int(seconds / DURATION_BIN_S)] += 1
        counted.rates[int(len(row.text) / seconds / RATE_BIN)] += 1
        self.symbols.add(transcript)

    def refuse(self, row: Row, reason: Reason, detail: str) -> None:
        """Count a row that did not."""
        counted = self.sets[row.set_name]
        counted.rows += 1
        if reason.by_design:
            counted.held_out += 1
            counted.tables.setdefault(row.table, TableCounts()).left_out[reason] += 1
            return
        counted.reasons[reason] += 1
        if reason is Reason.OUTSIDE_ALPHABET and self.alphabet is not None:
            missing = self.alphabet.missing(row.text)
            detail = "lacks " + " ".join(f"{character} (U+{ord(character):04X})" for character in missing)
            self.outside_rows.update(missing)
            self.outside.update(character for character in row.text if character in missing)
        examples = counted.examples.setdefault(reason, [])
        if len(examples) < MAX_EXAMPLES:
            example = {"line": row.line, "path": row.source[:200], "sentence": row.text[:200], "detail": detail}
            examples.append({key: value for key, value in example.items() if value})

    def shared_speakers(self, one: str, other: str) -> int:
        """How many speakers two sets have in common; who is not named counts as nobody."""
        first, second = (self.sets[name].shares["speaker"].clips.keys() for name in (one, other))
        return len((first & second) - {""})

    def describe(self) -> dict[str, Any]:
        """The report's counts."""
        return {
            "sets": {name: self._describe_set(counted) for name, counted in self.sets.items()},
            "refused": sum(sum(counted.reasons.values()) for counted in self.sets.values()),
            "reasons": self._describe_reasons(),
            "characters": {
                "transcripts": dict(sorted(self.symbols.times.items())),
                "outside_alphabet": {
                    character: {"count": self.outside[character], "rows": rows}
                    for character, rows in sorted(self.outside_rows.items(), key=lambda item: (-item[1], item[0]))
                },
            },
        }

    def _describe_set(self, counted: SetStatistics) -> dict[str, Any]:
        return {
            "rows": counted.rows,
            "clips": counted.clips,
            "hours": round(counted.samples / self.sample_rate / 3600, 4),
            "refused": sum(counted.reasons.values()),
            "held_out": counted.held_out,
            "tables": {name: table.describe(self.sample_rate) for name, table in counted.tables.items()},
            "reasons": {reason.key: counted.reasons[reason] for reason in sorted(counted.reasons)},
            "by": {
                name: shares.describe(self.sample_rate, SHOWN_ID_CHARACTERS if name == "speaker" else 0)
                for name, shares in counted.shares.items()
            },
            "duration_s": _histogram(counted.durations, DURATION_BIN_S),
            "characters_a_second": _histogram(counted.rates, RATE_BIN),
        }

    def _describe_reasons(self) -> dict[str, Any]:
        reasons = sorted({reason for counted in self.sets.values() for reason in counted.reasons})
        return {
            reason.key: {
                "meaning": reason.meaning,
                "count": sum(counted.reasons[reason] for counted in self.sets.values()),
                "sets": {
                    name: counted.reasons[reason] for name, counted in self.sets.items() if counted.reasons[reason]
                },
                "examples": {
                    name: counted.examples[reason] for name, counted in self.sets.items() if reason in counted.examples
                },
            }
            for reason in reasons
        }


def _histogram(counts: Counter[int], bin_width: float) -> dict[str, Any]:
    """Counts by bin: the n-th is of values from n * bin_width up to (n + 1) * bin_width."""
    return {"bin": bin_width, "counts": [counts[index] for index in range(max(counts, default=-1) + 1)]}
