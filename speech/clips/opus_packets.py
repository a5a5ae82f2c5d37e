"""Opus as DeepSpeech's sample databases hold it: bare packets behind a small header, without a container.

Big-endian: u32 bytes of decoded PCM, u32 sample rate in Hz, u8 channels, u8 bytes a sample; then packets, each behind
its u16 length (type `application/vnd.mozilla.opus`): of 60 ms in the peers' files, of 20 ms in ours, which their
readers take as well. libsndfile codes Opus in Ogg (RFC 3533, RFC 7845), so the packets are put into an Ogg stream in
memory, and taken out of one. As in the peers' files the coder's delay of 6.5 ms stays in the recording.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from speech.errors import InputError

_HEADER = struct.Struct(">IIBB")
RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
BITRATES = (6_000, 256_000)  # bits/s, what libsndfile's writer covers
_WIDTH = 2  # bytes a sample
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
    if rate not in RATES_HZ or channels not in (1, 2) or width != _WIDTH:
        header = f"{rate} Hz, {channels} channels, {width} bytes a sample"
        raise InputError(f"{where}: not Opus packets: the header says {header}")
    return PacketStream(rate, channels, pcm_bytes // (channels * width), ())


def parse(data: bytes | memoryview, where: str) -> PacketStream:
    """Read header and packets; raises InputError when there are fewer packets than the header announces."""
    header, position = parse_header(data, where), _HEADER.size
    packets: list[bytes] = []
    missing = _granules(header)
    while missing > 0:
        size = int.from_bytes(data[position : position + 2], "big")
        packet = bytes(data[position + 2 : position + 2 + size])
        if not packet or len(packet) < size:
            raise InputError(
                f"{where}: truncated: packet {len(packets) + 1} is not whole, of {header.duration_s:.2f} s"
            )
        packets.append(packet)
        missing -= duration(packet)
        position += 2 + size
    return PacketStream(header.sample_rate, header.channels, header.n_samples, packets)


def _granules(header: PacketStream) -> int:
    return -(-header.n_samples * _GRANULES_A_SECOND // header.sample_rate)


def duration(packet: bytes) -> int:
    """The length of a packet's audio in samples of 48 kHz, by its first bytes (RFC 6716, section 3)."""
    configuration, code = packet[0] >> 3, packet[0] & 3
    if configuration < 12:  # SILK
        frame = (480, 960, 1920, 2880)[configuration % 4]
    elif configuration < 16:  # SILK and CELT
        frame = (480, 960)[configuration % 2]
    else:
        frame = (120, 240, 480, 960)[configuration % 4]
    count = packet[1] & 63 if code == 3 and len(packet) > 1 else min(code, 1) + 1
    return frame * max(count, 1)


def encode(samples: np.ndarray, sample_rate: int, bitrate: int) -> bytes:
    """int16 samples `[N]` at one of Opus' rates -> header and packets, at about `bitrate` bits/s.

    Raises InputError where libsndfile has no Opus.
    """
    ogg = write_ogg(samples, sample_rate, bitrate)
    missing = _granules(PacketStream(sample_rate, 1, len(samples), ()))
    written = [_HEADER.pack(len(samples) * _WIDTH, sample_rate, 1, _WIDTH)]
    for packet in _packets(ogg)[2:]:  # behind Ogg's own two headers
        if missing > 0:
            written.append(struct.pack(">H", len(packet)) + packet)
        missing -= duration(packet)
    return b"".join(written)


def write_ogg(samples: np.ndarray, sample_rate: int, bitrate: float) -> bytes:
    """Samples `[N]` (int16, or floats of full scale 1.0) as an Ogg Opus file.

    Raises InputError where libsndfile has no Opus.
    """
    import soundfile

    lowest, highest = BITRATES
    level = (highest - min(max(bitrate, lowest), highest)) / (highest - lowest)  # how libsndfile takes a bit rate
    stream = io.BytesIO()
    try:
        soundfile.write(stream, samples, sample_rate, format="OGG", subtype="OPUS", compression_level=level)
    except (soundfile.LibsndfileError, ValueError) as error:
        version = soundfile.__libsndfile_version__
        raise InputError(f"libsndfile {version} does not code Opus: {error}: 1.1 or later is needed") from error
    return stream.getvalue()


def _packets(ogg: bytes) -> list[bytes]:
    """The packets of an Ogg stream."""
    packets, position, packet = [], 0, b""
    while position < len(ogg):
        segments = ogg[position + 26]
        lacing = ogg[position + 27 : position + 27 + segments]
        position += 27 + segments
        for size in lacing:
            packet += ogg[position : position + size]
            position += size
            if size < _SEGMENT_BYTES:
                packets.append(packet)
                packet = b""
    return packets


def to_ogg(stream: PacketStream) -> bytes:
    """The packets as an Ogg Opus file, trimmed to the stream's length."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, stream.channels, 0, stream.sample_rate, 0, 0)
    tags = struct.pack("<8sII", b"OpusTags", 0, 0)
    pages = [_page([head], 0, 0, _FIRST_PAGE), _page([tags], 0, 1, 0)]
    end = stream.n_samples * _GRANULES_A_SECOND // stream.sample_rate
    done = granule = 0
    for packets in _by_page(stream.packets):
        done += len(packets)
        last = done == len(stream.packets)
        granule = end if last else granule + sum(map(duration, packets))
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
    body = bytes([len(lacing)]) + lacing + b"".join(packets)
    checksum = _ogg_crc(start + bytes(4) + body)
    return start + struct.pack("<I", checksum) + body


def _ogg_crc(data: bytes) -> int:
    """Ogg's CRC-32 is zlib's with the bits of every byte and of the result reversed, starting from zero."""
    reflected = zlib.crc32(data.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
