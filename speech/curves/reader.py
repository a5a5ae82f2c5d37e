"""Event files as curves, while they grow: a local folder's, or those under an `s3://` prefix."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from speech.curves import events
from speech.curves.events import CurvePoint
from speech.storage.objects import is_remote, list_keys, read_range, split_uri


@dataclass
class Curves:
    """The points of a run, by curve and step; a later record of a step takes the place of an earlier one."""

    series: dict[str, dict[int, float]] = field(default_factory=dict)
    began_s: float = 0.0  # the first point's time, since 1970
    newest_s: float = 0.0

    def take(self, point: CurvePoint) -> None:
        """Add a point; one that restarts takes back what stands at its step and behind it."""
        if point.restarts:
            for line in self.series.values():
                for step in [step for step in line if step >= point.step]:
                    del line[step]
        for tag, value in point.values.items():
            self.series.setdefault(tag, {})[point.step] = value
        self.began_s = self.began_s or point.time_s
        self.newest_s = max(self.newest_s, point.time_s)

    def line(self, tag: str) -> list[tuple[int, float]]:
        """The points of a curve in order of steps."""
        return sorted(self.series.get(tag, {}).items())

    def last(self, tag: str) -> float | None:
        """The newest value of a curve."""
        line = self.series.get(tag)
        return line[max(line)] if line else None


class CurveFiles:
    """The event files of the run at `place`; each look reads what has come since the one before."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        self.curves = Curves()
        self._read: dict[str, int] = {}  # file -> bytes that were read

    def look(self) -> Curves:
        """The curves as they are now; raises InputError or RetryError for a store that refuses or is away."""
        for name, size in sorted(sizes(self.place).items()):
            if "/" not in name and size > (start := self._read.get(name, 0)):
                points, length = events.decode(self._content(name, start))
                for point in points:
                    self.curves.take(point)
                self._read[name] = start + length
        return self.curves

    def _content(self, name: str, start: int) -> bytes:
        if is_remote(self.place):
            return read_range(f"{self.place}/{name}", start)
        with Path(self.place, name).open("rb") as file:
            file.seek(start)
            return file.read()


def sizes(place: str) -> Mapping[str, int]:
    """The event files at a place and in folders below it: relative name -> bytes."""
    if is_remote(place):
        prefix = f"{place.rstrip('/')}/"
        start = len(split_uri(prefix)[1])
        found = {key[start:]: size for key, size in list_keys(prefix)}
    else:
        paths = Path(place).rglob(f"{events.FILE_NAME}*")
        found = {path.relative_to(place).as_posix(): path.stat().st_size for path in paths if path.is_file()}
    return {name: size for name, size in found.items() if name.rpartition("/")[2].startswith(events.FILE_NAME)}


def newest(place: str) -> str:
    """The folder or prefix, at `place` or below it, of the run whose event files are the youngest; "" without any."""
    files = sizes(place)
    if not files:
        return ""
    name = max(files, key=lambda name: (name.rpartition("/")[2], name))
    return "/".join([place.rstrip("/"), *name.split("/")[:-1]])
