"""The checksum of TensorFlow's files, by the known values of CRC-32C."""

import pytest

from speech.crc32c import masked_crc32c


def unmasked(crc: int) -> int:
    rotated = (crc - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, B.4
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksums_are_crc32c_in_leveldbs_mask(data: bytes, expected: int) -> None:
    assert unmasked(masked_crc32c(data)) == unmasked(masked_crc32c(memoryview(data))) == expected
    assert masked_crc32c(data) < 1 << 32
