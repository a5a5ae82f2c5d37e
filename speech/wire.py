"""Protobuf's wire format, as far as cutting a large field out of a message, or putting it back, needs it.

protobuf copies every byte of a message that it reads or writes, some of them twice. A frozen graph is 99.9 % weights:
with the weights cut out at the level of the wire, the rest parses in no time and the weights are never copied.
Source: the encoding guide of Protocol Buffers.
"""

from collections.abc import Sequence
from typing import NamedTuple

Bytes = bytes | memoryview

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10


class Field(NamedTuple):
    """One field of a message: its number and wire type, where its payload begins and where it ends."""

    number: int
    kind: int
    payload: int
    end: int


def read_varint(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """The varint at `position` and the position behind it. Raises ValueError if it does not end before `end`."""
    value = 0
    for shift, place in enumerate(range(position, min(position + _MAX_VARINT_BYTES, end))):
        byte = data[place]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + 1
    raise ValueError(f"no varint at byte {position}")


def read_field(data: Bytes, position: int, end: int) -> Field:
    """The field at `position` of a message that ends at `end`. Raises ValueError if there is none that fits."""
    key, payload = read_varint(data, position, end)
    number, kind = key >> 3, key & 7
    if kind == VARINT:
        _, after = read_varint(data, payload, end)
    elif kind == DELIMITED:
        length, payload = read_varint(data, payload, end)
        after = payload + length
    elif kind in _FIXED_BYTES:
        after = payload + _FIXED_BYTES[kind]
    else:
        raise ValueError(f"wire type {kind} at byte {position}")  # groups: no message here has ever had one
    if number == 0 or after > end:
        raise ValueError(f"field {number} at byte {position} ends behind its message")
    return Field(number, kind, payload, after)


def varint(value: int) -> bytes:
    """`value` as a varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def delimited(number: int, parts: Sequence[Bytes]) -> list[Bytes]:
    """The pieces of a length-delimited field whose payload is `parts`, one behind the other."""
    return [varint(number << 3 | DELIMITED) + varint(sum(map(len, parts))), *parts]
