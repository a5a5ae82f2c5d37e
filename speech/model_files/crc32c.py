"""CRC-32C (Castagnoli) of large buffers with numpy alone: TensorFlow's checksum of tables and tensors.

A buffer is cut into equal lanes, the lanes' checksums advance together two bytes at a time, and are then joined: the
checksum of A followed by B is that of A moved over B's length in zero bytes, combined with that of B. Source: the
generator polynomial of RFC 3720, and crc32_combine of zlib for the joining.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from speech.model_files.wire import Bytes

_POLYNOMIAL = 0x82F63B78  # bits reversed
_MASK_DELTA = 0xA282EAD8
_MAX_LANES = 1 << 15
_MIN_LANE_BYTES = 256

Table = npt.NDArray[np.uint32]


def crc32c(data: Bytes) -> int:
    """The checksum of `data`."""
    values = np.frombuffer(data, np.uint8)
    lanes = 1
    while lanes < _MAX_LANES and len(values) >= 2 * lanes * _MIN_LANE_BYTES:
        lanes *= 2
    lane_bytes = len(values) // lanes // 2 * 2
    body = values[: lanes * lane_bytes].reshape(lanes, lane_bytes)
    crcs = _advance(np.zeros(lanes, np.uint32), body)
    length = lane_bytes
    while len(crcs) > 1:
        crcs = _shift(crcs[::2], length) ^ crcs[1::2]
        length *= 2
    # The register starts with all bits set and is inverted at the end; all else is linear.
    crc = np.uint32(crcs[0]) ^ _shift(np.array([0xFFFFFFFF], np.uint32), length)[0]
    for byte in values[lanes * lane_bytes :].tolist():
        crc = _byte_table()[(int(crc) ^ byte) & 0xFF] ^ (crc >> np.uint32(8))
    return int(crc) ^ 0xFFFFFFFF


def masked(data: Bytes) -> int:
    """The checksum of `data` as TensorFlow and LevelDB store it: rotated, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


@cache
def _byte_table() -> Table:
    table: Table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ _POLYNOMIAL, table >> 1).astype(np.uint32)
    return table


@cache
def _pair_table() -> Table:
    """What two bytes do to the register: entry n is the register n after 16 zero bits."""
    bytes_table = _byte_table()
    once = np.arange(1 << 16, dtype=np.uint32)
    once = bytes_table[once & 0xFF] ^ (once >> 8)
    return bytes_table[once & 0xFF] ^ (once >> 8)


def _advance(crcs: Table, body: npt.NDArray[np.uint8]) -> Table:
    """The registers [lanes] after the bytes `body` [lanes, lane_bytes]; an even number of bytes."""
    table = _pair_table()
    pairs = body.view("<u2")  # [lanes, pairs]
    block = max(1, (1 << 20) // max(1, len(crcs)))
    for start in range(0, pairs.shape[1], block):
        for column in np.ascontiguousarray(pairs[:, start : start + block].T):
            crcs = table[(crcs ^ column) & 0xFFFF] ^ (crcs >> 16)
    return crcs


def _shift(crcs: Table, zero_bytes: int) -> Table:
    """The registers after `zero_bytes` zero bytes: a product with a 32 x 32 matrix over GF(2)."""
    result = np.zeros_like(crcs)
    for bit, image in enumerate(_shift_matrix(zero_bytes)):
        result ^= np.where(crcs >> np.uint32(bit) & np.uint32(1), image, np.uint32(0)).astype(np.uint32)
    return result


@cache
def _shift_matrix(zero_bytes: int) -> tuple[int, ...]:
    """The images of the 32 single bits, by squaring."""
    if zero_bytes == 0:
        return tuple(1 << bit for bit in range(32))
    if zero_bytes == 1:
        return tuple(int(_byte_table()[(1 << bit) & 0xFF]) ^ ((1 << bit) >> 8) for bit in range(32))
    half = _shift_matrix(zero_bytes // 2)
    doubled = tuple(_apply(half, image) for image in half)
    return tuple(_apply(_shift_matrix(1), image) for image in doubled) if zero_bytes % 2 else doubled


def _apply(matrix: tuple[int, ...], vector: int) -> int:
    result = 0
    for bit, image in enumerate(matrix):
        if vector >> bit & 1:
            result ^= image
    return result
