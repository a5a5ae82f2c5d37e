"""Progress of long work: a bar on a terminal, a quiet line now and then in a pod's log."""

import sys
import time
from types import TracebackType

LOG_INTERVAL_S = 60.0


class Progress:
    """Counts done units; shows rate, remaining time and whatever `update` is given besides.

    The first log line comes after `LOG_INTERVAL_S`, so that short work stays silent in a log.
    """

    def __init__(self, label: str, total: int, unit: str, *, done: int = 0, show: bool = True) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._started, self._first = time.monotonic(), done
        self._last_line = self._started
        self._bar = None
        self._show = show
        if show and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, desc=label, unit=f" {unit}", leave=False, dynamic_ncols=True)

    def update(self, count: int = 1, **facts: str) -> None:
        """Add `count` done units; `facts` are shown beside the rate."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix(facts, refresh=False)
            self._bar.update(count)
        elif self._show and time.monotonic() - self._last_line >= LOG_INTERVAL_S:
            self._last_line = time.monotonic()
            print(self._line(facts), file=sys.stderr, flush=True)

    def _line(self, facts: dict[str, str]) -> str:
        elapsed = time.monotonic() - self._started
        rate = (self.done - self._first) / elapsed if elapsed > 0 else 0.0
        remaining = (self.total - self.done) / rate if rate > 0 else 0.0
        shown = "".join(f", {name} {value}" for name, value in facts.items())
        return (
            f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.1f} {self.unit}/s, "
            f"{format_duration(remaining)} left{shown}"
        )

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def format_duration(seconds: float) -> str:
    """`75` -> `1 min 15 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, remainder = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {remainder} s"
    return f"{minutes // 60} h {minutes % 60} min"
