"""TensorBoard's event files: points of curves as records, without TensorFlow.

A file is a sequence of TFRecords (length, its checksum, data, its checksum) that hold `Event` messages of protocol
buffers. Of those only what scalars need is written and read here: wall_time (1), step (2), file_version (3),
summary (5) with its values (1: tag 1, simple_value 2), and session_log (7: status 1), whose START says that what
stands before it at this step or a later one is void. That is how a resumed training takes back what it does again.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FILE_NAME = "events.out.tfevents."  # TensorBoard looks for it; behind it a time, which orders the files of a run
FILE_VERSION = "brain.Event:2"
HEADER_BYTES, FOOTER_BYTES = 12, 4
MOST_BYTES = 1 << 20  # of a record that a scalar's file can hold
START = 1  # of a session
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


@dataclass(frozen=True)
class CurvePoint:
    """The values of some curves at a step. With `restarts`, what earlier records say of this step and later is void."""

    step: int
    time_s: float  # since 1970
    values: Mapping[str, float] = field(default_factory=dict)
    restarts: bool = False
    rare: bool = False  # one of few: it stays where others are thinned out; not in the files


def encode(point: CurvePoint) -> bytes:
    """The point as an `Event`."""
    parts = [b"\x09", struct.pack("<d", point.time_s), b"\x10", _varint(point.step)]
    if point.restarts:
        parts.append(_message(7, b"\x08" + _varint(START)))
    if point.values:
        parts.append(
            _message(
                5,
                b"".join(
                    _message(1, _message(1, tag.encode("utf-8")) + b"\x15" + struct.pack("<f", value))
                    for tag, value in point.values.items()
                ),
            )
        )
    return b"".join(parts)


def encode_version(time_s: float) -> bytes:
    """The `Event` that begins a file."""
    return b"\x09" + struct.pack("<d", time_s) + _message(3, FILE_VERSION.encode("ascii"))


def decode(data: bytes) -> tuple[list[CurvePoint], int]:
    """The points of the whole records at the beginning of `data`, and how many bytes these take.

    A file that is just being written ends in a part of a record, which the next look finds whole. What cannot be a
    record ends the reading, too. Checksums are not compared: a torn record shows by its length.
    """
    points, place = [], 0
    while place + HEADER_BYTES <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        end = place + HEADER_BYTES + length + FOOTER_BYTES
        if length > MOST_BYTES or end > len(data):
            break
        point = _point(data[place + HEADER_BYTES : end - FOOTER_BYTES])
        if point.values or point.restarts:
            points.append(point)
        place = end
    return points, place


def _point(event: bytes) -> CurvePoint:
    step, time_s, values, restarts = 0, 0.0, dict[str, float](), False
    for number, value in _fields(event):
        if number == 1 and isinstance(value, bytes):
            (time_s,) = struct.unpack("<d", value)
        elif number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            values |= dict(
                _scalar(content) for key, content in _fields(value) if key == 1 and isinstance(content, bytes)
            )
        elif number == 7 and isinstance(value, bytes):
            restarts = (1, START) in list(_fields(value))
    values.pop("", None)  # of what is no scalar
    return CurvePoint(step, time_s, values, restarts)


def _scalar(value: bytes) -> tuple[str, float]:
    tag, scalar = "", None
    for number, content in _fields(value):
        if number == 1 and isinstance(content, bytes):
            tag = content.decode("utf-8", "replace")
        elif number == 2 and isinstance(content, bytes) and len(content) == 4:
            (scalar,) = struct.unpack("<f", content)
    return (tag, scalar) if scalar is not None else ("", 0.0)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number of each field and its content, for numbers of fixed size their bytes; ends at what is damaged."""
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            number, place = _read_varint(message, place)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            size, place = _read_varint(message, place)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            return
        if place + size > len(message):
            return
        yield key >> 3, message[place : place + size]
        place += size


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift > 63:
            break
    return number, place


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _varint(len(content)) + content
