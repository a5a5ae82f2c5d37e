"""DeepSpeech's framing of Opus packets, and the Ogg stream that libsndfile decodes."""

import io
import struct

import numpy as np
import pytest
import soundfile

from speech import opus_packets
from speech.errors import InputError

RATE = 16_000


def reference_crc(data: bytes) -> int:
    """Ogg's checksum bit by bit, as RFC 3533 describes it."""
    register = 0
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ 0x04C11DB7 if register & 0x80000000 else register << 1
            register &= 0xFFFFFFFF
    return register


def pages(ogg: bytes) -> list[tuple[int, list[bytes]]]:
    """Granule position and packets of every page; checks the checksums. No packet here crosses pages."""
    found, position = [], 0
    while position < len(ogg):
        count = ogg[position + 26]
        lacing = ogg[position + 27 : position + 27 + count]
        end = position + 27 + count + sum(lacing)
        page = bytearray(ogg[position:end])
        (checksum,) = struct.unpack_from("<I", page, 22)
        page[22:26] = bytes(4)
        assert checksum == reference_crc(bytes(page))
        packets, size, start = [], 0, 27 + count
        for value in lacing:
            size += value
            if value < 255:
                packets.append(bytes(page[start : start + size]))
                start, size = start + size, 0
        found.append((struct.unpack_from("<q", page, 6)[0], packets))
        position = end
    return found


def encoded(seconds: float, frequency: float = 440.0) -> tuple[np.ndarray, list[bytes]]:
    """A tone, and the packets of 20 ms that libsndfile makes of it."""
    tone = 0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)
    file = io.BytesIO()
    soundfile.write(file, tone, RATE, format="OGG", subtype="OPUS")
    return tone, [packet for _, packets in pages(file.getvalue())[2:] for packet in packets]


def framed(packets: list[bytes], n_samples: int, rate: int = RATE, channels: int = 1) -> bytes:
    body = b"".join(struct.pack(">H", len(packet)) + packet for packet in packets)
    return struct.pack(">IIBB", n_samples * channels * 2, rate, channels, 2) + body


def test_the_ogg_stream_holds_the_packets_and_ends_at_the_last_sample() -> None:
    packets = [bytes([number % 256]) * (number * 37 % 600 + 1) for number in range(300)]
    stream = opus_packets.parse(framed(packets, 300 * 960 - 500), "x")
    assert stream.duration_s == pytest.approx((300 * 960 - 500) / RATE)
    found = pages(opus_packets.to_ogg(stream))
    assert found[0][1][0].startswith(b"OpusHead")
    assert found[1][1][0].startswith(b"OpusTags")
    assert [packet for _, packets in found[2:] for packet in packets] == packets
    assert len(found) == 5
    assert found[-1][0] == (300 * 960 - 500) * 3
    granules = [granule for granule, _ in found]
    assert granules == sorted(granules)


def test_libsndfile_hears_the_recording() -> None:
    tone, packets = encoded(0.6)
    ogg = opus_packets.to_ogg(opus_packets.PacketStream(RATE, 1, len(tone), packets))
    heard, rate = soundfile.read(io.BytesIO(ogg))
    assert rate == RATE
    delay = 104  # samples that the encoder looks ahead, which pre-skip would have cut: 6.5 ms
    assert np.corrcoef(heard[delay + 500 : 5000], tone[500 : 5000 - delay])[0, 1] > 0.95


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0" * 5, "clip: truncated: 5 bytes"),
        (framed([b"a"], 960, rate=44_100), "not Opus packets: the header says 44100 Hz"),
        (framed([b"a", b"bc"], 1920)[:-1], "truncated: packet 2 of 2 is not whole"),
        (framed([b"a"], 1920), "truncated: packet 2 of 2"),
    ],
)
def test_damage_is_named(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        opus_packets.parse(data, "clip")
