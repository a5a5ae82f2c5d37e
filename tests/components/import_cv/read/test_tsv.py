"""TSV files: one row a line, whatever is in it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.import_cv.plan.reasons import Reason
from components.import_cv.read.tsv import MAX_LINE_BYTES, read_tsv
from speech.errors import InputError

HEADER = b"client_id\tpath\tsentence\tup_votes\taccents\n"


def rows(tmp_path: Path, data: bytes) -> list[tuple[int, Reason, list[str]]]:
    path = tmp_path / "train.tsv"
    path.write_bytes(data)
    found = read_tsv(path, ("path", "sentence"), (("accents", "accent"), ("age",)))
    return [(line, reason, list(fields)) for line, reason, fields in found]


def test_quotes_are_characters(tmp_path: Path) -> None:
    found = rows(tmp_path, HEADER + b'a\t1.mp3\t"Open the door.\t2\tUS\nb\t2.mp3\t"Shut it"\t2\t\n')
    assert found == [
        (2, Reason.ACCEPTED, ["1.mp3", '"Open the door.', "US", ""]),
        (3, Reason.ACCEPTED, ["2.mp3", '"Shut it"', "", ""]),
    ]


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + (HEADER + b"a\t1.mp3\tOne.\t2\tUS\nb\t2.mp3\tTwo.\t2\tUK").replace(b"\n", b"\r\n")
    assert [fields for _, _, fields in rows(tmp_path, data)] == [
        ["1.mp3", "One.", "US", ""],
        ["2.mp3", "Two.", "UK", ""],
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a\t1.mp3\twith a\ttab inside\t2\tUS\n", Reason.MALFORMED_ROW),
        (b"a\t1.mp3\n", Reason.MALFORMED_ROW),
        (b"a\t1.mp3\tno trailing columns\n", Reason.ACCEPTED),
        (b"a\t1.mp3\tbroken \xff\xfe bytes\t2\tUS\n", Reason.NOT_UTF8),
        (b"a\t1.mp3\t" + b"x" * (MAX_LINE_BYTES + 5) + b"\t2\tUS\n", Reason.MALFORMED_ROW),
        ("a\t1.mp3\tline\u2028separator\x0b\x0c\x85 inside\t2\tUS\n".encode(), Reason.ACCEPTED),
    ],
)
def test_a_bad_row_harms_no_other(tmp_path: Path, line: bytes, reason: Reason) -> None:
    good = b"a\tgood.mp3\tGood.\t2\tUS\n"
    found = rows(tmp_path, HEADER + good + line + b"\n" + good)
    assert [found[0][1], found[1][1], found[2][1]] == [Reason.ACCEPTED, reason, Reason.ACCEPTED]
    assert len(found) == 3
    assert found[0][2] == found[2][2] == ["good.mp3", "Good.", "US", ""]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60).filter(lambda line: b"\n" not in line), max_size=8))
def test_no_line_touches_another(tmp_path: Path, lines: list[bytes]) -> None:
    """A good row behind every line of anything: all good rows arrive, and every line is at most one row."""
    good = b"a\tgood.mp3\tGood.\t2\tUS\n"
    found = rows(tmp_path, HEADER + b"".join(line + b"\n" + good for line in lines))
    arrived = {number for number, reason, fields in found if reason is Reason.ACCEPTED and fields[0] == "good.mp3"}
    assert {3 + 2 * index for index in range(len(lines))} <= arrived
    numbers = [number for number, _, _ in found]
    assert numbers == sorted(set(numbers))


def test_columns_of_early_releases(tmp_path: Path) -> None:
    found = rows(
        tmp_path, b"client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\na\t1\tS.\t2\t0\tteens\t\tus\n"
    )
    assert found[0][2] == ["1", "S.", "us", "teens"]


@pytest.mark.parametrize("data", [b"", b"path\tsentence_id\n", b"path,sentence\n1,2\n", b"\xff\xfe\n"])
def test_missing_columns(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match="line 1: no column .*sentence"):
        rows(tmp_path, data)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(read_tsv(tmp_path / "nothing.tsv", ("path",)))
