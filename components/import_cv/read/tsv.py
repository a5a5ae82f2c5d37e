"""Reading a release's TSV files: no quoting, UTF-8, a row a line, and no row can harm another."""

from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path

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
        header = _decode(file.readline(MAX_LINE_BYTES).removeprefix(BOM)) or ""
        names = header.split("\t")
        missing = [name for name in needed if name not in names]
        if missing:
            raise InputError(
                f"{path}: line 1: no column {', '.join(missing)}: expected the tab-separated columns of a Common Voice "
                f"release ({', '.join(needed)}), found {', '.join(names)[:200] or 'nothing'}"
            )
        columns = [names.index(name) for name in needed]
        for group in optional:
            columns.append(next((names.index(name) for name in group if name in names), -1))
        yield from _rows(iter(partial(file.readline, MAX_LINE_BYTES), b""), columns, len(needed), len(names))


def _rows(
    lines: Iterator[bytes], columns: list[int], needed: int, width: int
) -> Iterator[tuple[int, Reason, Sequence[str]]]:
    number, last = 1, max(columns[:needed])
    take = itemgetter(*columns) if min(columns) >= 0 and len(columns) > 1 else None
    nothing = [""] * len(columns)
    for raw in lines:
        number += 1
        if not raw.endswith(b"\n") and len(raw) == MAX_LINE_BYTES:
            for rest in lines:
                if rest.endswith(b"\n") or len(rest) < MAX_LINE_BYTES:
                    break
            yield number, Reason.MALFORMED_ROW, nothing
            continue
        line = _decode(raw)
        if line is None:
            yield number, Reason.NOT_UTF8, nothing
            continue
        if not line:
            continue
        fields = line.split("\t")
        count = len(fields)
        if count == width and take is not None:
            yield number, Reason.ACCEPTED, take(fields)
        elif count == width:
            yield number, Reason.ACCEPTED, [fields[index] if index >= 0 else "" for index in columns]
        elif last < count < width:  # trailing empty columns were stripped by an editor
            yield number, Reason.ACCEPTED, [fields[index] if 0 <= index < count else "" for index in columns]
        else:
            yield number, Reason.MALFORMED_ROW, [fields[index] if 0 <= index < count else "" for index in columns]


def _decode(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return None
