"""Reading a release's TSV files: no quoting, UTF-8, a row a line, and no row can harm another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from components.import_cv.plan.reasons import Reason
from speech.errors import InputError

MAX_LINE_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"


def read_tsv(
    path: Path, needed: Sequence[str], optional: Sequence[Sequence[str]] = ()
) -> Iterator[tuple[int, Reason, Sequence[str]]]:
    """Yield (line number, ACCEPTED or why the row is refused, the columns asked for).

    `optional` holds groups of names that releases have used for one column (`accents`, `accent`); a column that the
    file lacks is "". Raises InputError if the file or a needed column is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file: expected a TSV of a Common Voice release")
    with path.open("rb") as file:
        columns = _read_header(path, file, needed, optional)
        for number, line in enumerate(_lines(file), start=2):
            if isinstance(line, Reason):
                yield number, line, columns.of([])
            elif line:
                fields = line.split("\t")
                yield number, columns.verdict(fields), columns.of(fields)


@dataclass(frozen=True)
class _Columns:
    """The columns asked for, by their places in a row; -1 for one that the file lacks."""

    places: tuple[int, ...]
    last_needed: int  # place of the last column that no row may lack
    width: int  # columns of the header

    def verdict(self, fields: Sequence[str]) -> Reason:
        """ACCEPTED, also where an editor stripped empty columns at the end of the row."""
        return Reason.ACCEPTED if self.last_needed < len(fields) <= self.width else Reason.MALFORMED_ROW

    def of(self, fields: Sequence[str]) -> Sequence[str]:
        """The columns asked for; "" for those that the row lacks."""
        count = len(fields)
        return [fields[place] if 0 <= place < count else "" for place in self.places]


def _read_header(path: Path, file: BinaryIO, needed: Sequence[str], optional: Sequence[Sequence[str]]) -> _Columns:
    names = (_decode(file.readline(MAX_LINE_BYTES).removeprefix(BOM)) or "").split("\t")
    missing = [name for name in needed if name not in names]
    if missing:
        raise InputError(
            f"{path}: line 1: no column {', '.join(missing)}: expected the tab-separated columns of a Common Voice "
            f"release ({', '.join(needed)}), found {', '.join(names)[:200] or 'nothing'}"
        )
    places = [names.index(name) for name in needed]
    further = [next((names.index(name) for name in group if name in names), -1) for group in optional]
    return _Columns((*places, *further), max(places), len(names))


def _lines(file: BinaryIO) -> Iterator[str | Reason]:
    """The lines behind the header without their ends, or why one cannot be read."""
    while raw := file.readline(MAX_LINE_BYTES):
        if _is_cut(raw):
            while _is_cut(file.readline(MAX_LINE_BYTES)):
                pass
            yield Reason.MALFORMED_ROW
        else:
            line = _decode(raw)
            yield Reason.NOT_UTF8 if line is None else line


def _is_cut(raw: bytes) -> bool:
    """Whether a line goes on behind what was read of it."""
    return len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n")


def _decode(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return None
