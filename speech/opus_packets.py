"""Opus as DeepSpeech's sample databases hold it: bare packets behind a small header, without a container.

Big-endian: u32 bytes of decoded PCM, u32 sample rate in Hz, u8 channels, u8 bytes a sample; then packets of 60 ms, each
behind its u16 length (type `application/vnd.mozilla.opus`). libsndfile decodes Opus in Ogg, so the packets are put into
an Ogg stream in memory (RFC 3533, RFC 7845).
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from speech.errors import InputError

_HEADER = struct.Struct(">IIBB")
_PACKET_MS = 60
_GRANULES_A_SECOND = 48_000  # the unit of positions in an Ogg Opus stream, whatever the sample rate
_FIRST_PAGE, _LAST_PAGE = 2, 4
_MAX_SEGMENTS = 255
_SEGMENT_BYTES = 255
_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True)
class PacketStream:
    """One recording: its rate in Hz, its channels, its length in samples a channel, and its packets."""

    sample_rate: int
    channels: int
    n_samples: int
    packets: Sequence[bytes]

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return self.n_samples / self.sample_rate


def parse_header(data: bytes | memoryview, where: str) -> PacketStream:
    """Read the header alone (`packets` is empty); raises InputError for what cannot be one."""
    if len(data) < _HEADER.size:
        raise InputError(f"{where}: truncated: {len(data)} bytes, expected an Opus header of {_HEADER.size}")
    pcm_bytes, rate, channels, width = _HEADER.unpack_from(data)
    if rate not in (8_000, 12_000, 16_000, 24_000, 48_000) or channels not in (1, 2) or width != 2:
        found = f"{rate} Hz, {channels} channels, {width} bytes a sample"
        raise InputError(f"{where}: not Opus packets: the header says {found}")
    return PacketStream(rate, channels, pcm_bytes // (channels * width), ())


def parse(data: bytes | memoryview, where: str) -> PacketStream:
    """Read header and packets; raises InputError when there are fewer packets than the header announces."""
    header, position = parse_header(data, where), _HEADER.size
    packets: list[bytes] = []
    wanted = -(-header.n_samples // (header.sample_rate * _PACKET_MS // 1000))
    while len(packets) < wanted:
        size = int.from_bytes(data[position : position + 2], "big")
        packet = bytes(data[position + 2 : position + 2 + size])
        if not packet or len(packet) < size:
            raise InputError(f"{where}: truncated: packet {len(packets) + 1} of {wanted} is not whole")
        packets.append(packet)
        position += 2 + size
    return PacketStream(header.sample_rate, header.channels, header.n_samples, packets)


def to_ogg(stream: PacketStream) -> bytes:
    """The packets as an Ogg Opus file, trimmed to the stream's length."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, stream.channels, 0, stream.sample_rate, 0, 0)
    tags = struct.pack("<8sII", b"OpusTags", 0, 0)
    pages = [_page([head], 0, 0, _FIRST_PAGE), _page([tags], 0, 1, 0)]
    end = stream.n_samples * _GRANULES_A_SECOND // stream.sample_rate
    done = 0
    for packets in _by_page(stream.packets):
        done += len(packets)
        last = done == len(stream.packets)
        granule = end if last else done * _PACKET_MS * _GRANULES_A_SECOND // 1000
        pages.append(_page(packets, granule, len(pages), _LAST_PAGE if last else 0))
    return b"".join(pages)


def _by_page(packets: Sequence[bytes]) -> Iterator[list[bytes]]:
    page: list[bytes] = []
    segments = 0
    for packet in packets:
        needed = len(packet) // _SEGMENT_BYTES + 1
        if segments + needed > _MAX_SEGMENTS:
            yield page
            page, segments = [], 0
        page.append(packet)
        segments += needed
    if page:
        yield page


def _page(packets: Sequence[bytes], granule: int, number: int, flags: int) -> bytes:
    lacing = b"".join(
        bytes([_SEGMENT_BYTES]) * (len(packet) // _SEGMENT_BYTES) + bytes([len(packet) % _SEGMENT_BYTES])
        for packet in packets
    )
    serial = 1
    start = struct.pack("<4sBBqII", b"OggS", 0, flags, granule, serial, number)
    rest = bytes([len(lacing)]) + lacing + b"".join(packets)
    checksum = _ogg_crc(start + bytes(4) + rest)
    return start + struct.pack("<I", checksum) + rest


def _ogg_crc(data: bytes) -> int:
    """Ogg's CRC-32 is zlib's with the bits of every byte and of the result reversed, starting from zero."""
    reflected = zlib.crc32(data.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
