"""TensorBoard's event files: points of curves as records, without TensorFlow.

A file is a sequence of TFRecords (length, its checksum, data, its checksum) that hold `Event` messages of protocol
buffers. Of those only what scalars need is written and read here: wall_time (1), step (2), file_version (3),
summary (5) with its values (1: tag 1, simple_value 2), and session_log (7: status 1), whose START says that what
stands before it at this step or a later one is void. That is how a resumed training takes back what it does again.
"""

import contextlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from speech import wire

FILE_NAME = "events.out.tfevents."  # TensorBoard looks for it; behind it a time, which orders the files of a run
FILE_VERSION = "brain.Event:2"
HEADER_BYTES, FOOTER_BYTES = 12, 4
MOST_BYTES = 1 << 20  # of a record that a scalar's file can hold
START = 1  # of a session
_MESSAGE_1 = (1, wire.DELIMITED)


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
    parts = [b"\x09", struct.pack("<d", point.time_s), b"\x10", wire.varint(point.step)]
    if point.restarts:
        parts.append(_message(7, b"\x08" + wire.varint(START)))
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
    for number, kind, payload in _fields(event):
        if (number, kind) == (1, wire.FIXED64):
            (time_s,) = struct.unpack("<d", payload)
        elif (number, kind) == (2, wire.VARINT):
            step = _number(payload)
        elif (number, kind) == (5, wire.DELIMITED):
            values |= dict(_scalar(content) for key, of, content in _fields(payload) if (key, of) == _MESSAGE_1)
        elif (number, kind) == (7, wire.DELIMITED):
            restarts = any(
                (key, of) == (1, wire.VARINT) and _number(status) == START for key, of, status in _fields(payload)
            )
    values.pop("", None)  # of what is no scalar
    return CurvePoint(step, time_s, values, restarts)


def _scalar(value: bytes) -> tuple[str, float]:
    tag, scalar = "", None
    for number, kind, payload in _fields(value):
        if (number, kind) == _MESSAGE_1:
            tag = payload.decode("utf-8", "replace")
        elif (number, kind) == (2, wire.FIXED32):
            (scalar,) = struct.unpack("<f", payload)
    return (tag, scalar) if scalar is not None else ("", 0.0)


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The number, the wire type and the payload of each field; ends at what is damaged."""
    place = 0
    with contextlib.suppress(ValueError):
        while place < len(message):
            field = wire.read_field(message, place, len(message))
            yield field.number, field.kind, message[field.payload : field.end]
            place = field.end


def _number(payload: bytes) -> int:
    return wire.read_varint(payload, 0, len(payload))[0]


def _message(number: int, content: bytes) -> bytes:
    return b"".join(wire.delimited(number, [content]))
