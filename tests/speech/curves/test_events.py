"""Event files: what is written is read again, however a file ends."""

import struct

from speech.curves import events
from speech.curves.events import CurvePoint
from speech.curves.writer import _record, _records  # what frames them

POINTS = [
    CurvePoint(7, 1e9, restarts=True),
    CurvePoint(7, 1e9 + 0.5, {"train/step_loss": 1.5, "été/loss": -2.0}),
    CurvePoint(1 << 40, 1e9 + 1, {"train/step_loss": float("inf")}),
]


def test_points_come_back() -> None:
    data = _record(events.encode_version(1e9)) + _records(POINTS)
    assert events.decode(data) == (POINTS, len(data))


def test_a_torn_record_is_left_for_the_next_look() -> None:
    data, whole = _records(POINTS), len(_records(POINTS[:2]))
    for end in range(whole, len(data)):
        assert events.decode(data[:end]) == (POINTS[:2], whole)


def test_what_is_no_event_file_ends_the_reading() -> None:
    assert events.decode(b"not an event file at all, but long enough to be one") == ([], 0)
    assert events.decode(struct.pack("<Q", 1 << 62) + bytes(30)) == ([], 0)
    garbage = bytes(range(256)) * 2  # in a whole record
    assert events.decode(_record(garbage))[1] == len(garbage) + events.HEADER_BYTES + events.FOOTER_BYTES


def test_the_bytes_are_those_of_tensorflow() -> None:
    """As TensorFlow 2.21's summary operator and its TFRecordWriter make them, for 2.0 of `a` at step 3."""
    written = "1700000000000000e7cef81e09000000000000104010032a0a0a080a01611500000040bfc7b44f"
    assert _record(events.encode(CurvePoint(3, 4.0, {"a": 2.0}))).hex() == written
