"""CRC-32C."""

import numpy as np
import pytest

from speech.model_files.crc32c import crc32c, masked


def bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


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
def test_known_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [1, 2, 3, 255, 256, 511, 512, 513, 1023, 1024, 1025, 4096, 10_001, 66_000])
def test_every_way_to_cut_a_buffer(length: int) -> None:
    data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    assert crc32c(data) == crc32c(memoryview(data)) == bit_by_bit(data)


def test_masking_is_leveldbs() -> None:
    """Masking of leveldb's test: unmasking by hand gives the checksum back."""
    rotated = (masked(b"foo") - 0xA282EAD8) & 0xFFFFFFFF
    assert (rotated >> 17 | rotated << 15) & 0xFFFFFFFF == bit_by_bit(b"foo")
