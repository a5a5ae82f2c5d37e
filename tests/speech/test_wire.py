"""Protobuf's wire format against protobuf itself."""

import pytest

from speech import wire
from speech.model_files.graph_messages import TensorProto


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**63, 2**64 - 1])
def test_varint_round_trip(value: int) -> None:
    encoded = wire.varint(value)
    assert wire.read_varint(b"\xff" + encoded + b"\x00", 1, len(encoded) + 1) == (value, 1 + len(encoded))


def test_delimited_is_what_protobuf_reads() -> None:
    content = bytes(range(256)) * 3
    pieces = wire.delimited(4, [content[:100], memoryview(content)[100:]])
    assert TensorProto.FromString(b"".join(pieces)).tensor_content == content


def test_fields_of_a_message() -> None:
    data = TensorProto(dtype=9, tensor_content=b"abc", int64_val=[5, 300]).SerializeToString()
    fields, position = [], 0
    while position < len(data):
        field = wire.read_field(data, position, len(data))
        fields.append((field.number, field.kind, data[field.payload : field.end]))
        position = field.end
    assert fields == [
        (1, wire.VARINT, b"\x09"),
        (4, wire.DELIMITED, b"abc"),
        (10, wire.DELIMITED, wire.varint(5) + wire.varint(300)),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",  # a varint without an end
        b"\xff" * 11,  # a varint of more than 10 bytes
        b"\x0a\x05abc",  # 5 bytes promised, 3 there
        b"\x0a" + wire.varint(2**60) + b"abc",
        b"\x0d\x00",  # half of a fixed32
        b"\x0b\x0c",  # a group
        b"\x00\x00",  # field number 0
    ],
)
def test_what_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"at byte 0|no varint"):
        wire.read_field(data, 0, len(data))
