"""What became of the faults: a table of how often each ended how, and the cases that ended badly."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

IDENTICAL = "identical"  # finished, at once or by a rerun, with the undisturbed result
REFUSED = "refused"  # exit code 2 or 75 and one line that says why
LOST = "LOST"  # finished with another result, or not at all
OUTCOMES = (IDENTICAL, REFUSED, LOST)
REFUSALS = (2, 75)
PREFIXES = ("error: ", "interrupted: ", "interrupted by the keyboard")


@dataclass
class Ledger:
    """Counts of outcomes by the name of a fault."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def add(self, fault: str, outcome: str, what: str = "") -> None:
        """Count one fault; `what` describes one that was lost, so that it can be made again."""
        self.counts.setdefault(fault, Counter())[outcome] += 1
        if outcome == LOST:
            self.lost.append(f"{fault}: {what}")
            print(f"{LOST} {fault}: {what}", flush=True)  # a long run shows it at once

    def merge(self, other: "Ledger") -> None:
        """Take what another ledger counted."""
        for fault, counted in other.counts.items():
            self.counts.setdefault(fault, Counter()).update(counted)
        self.lost += other.lost

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        width = max([len("fault"), *map(len, self.counts)])
        yield f"{'fault':{width}}  {'times':>6}  {'finished identical':>18}  {'refused clearly':>15}  {LOST:>5}"
        total: Counter[str] = Counter()
        for fault, counted in sorted(self.counts.items()):
            total += counted
            yield _row(fault, width, counted)
        yield _row("all", width, total)
        yield from (f"{LOST} {one}" for one in self.lost)


def _row(name: str, width: int, counted: Counter[str]) -> str:
    identical, refused, lost = (counted[outcome] for outcome in OUTCOMES)
    return f"{name:{width}}  {sum(counted.values()):6}  {identical:18}  {refused:15}  {lost:5}"


def is_clear(code: int, errors: str) -> bool:
    """Whether a step that failed said why: exit code 2 or 75, one line of error, the last one, and no traceback."""
    lines = [line for line in errors.splitlines() if line.startswith(PREFIXES)]
    return code in REFUSALS and len(lines) == 1 and "Traceback (most recent call last)" not in errors
