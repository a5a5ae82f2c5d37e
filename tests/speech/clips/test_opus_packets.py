"""DeepSpeech's framing of Opus packets, and the Ogg stream that libsndfile decodes."""

import io
import struct

import numpy as np
import pytest
import soundfile

from speech.clips import opus_packets
from speech.errors import InputError

RATE = 16_000
SILK_60_MS = bytes([3 << 3])  # the first byte of a packet


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
    packets = [SILK_60_MS + bytes([number % 256]) * (number * 37 % 600) for number in range(300)]
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
        (framed([SILK_60_MS, SILK_60_MS + b"c"], 1920)[:-1], "truncated: packet 2 is not whole, of 0.12 s"),
        (framed([SILK_60_MS], 1920), "truncated: packet 2 is not whole"),
    ],
)
def test_damage_is_named(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        opus_packets.parse(data, "clip")


@pytest.mark.parametrize(
    ("first_bytes", "milliseconds"),
    [
        ((3 << 3,), 60),
        ((0 << 3,), 10),
        ((2 << 3 | 1,), 80),  # two frames
        ((13 << 3 | 2,), 40),  # two frames of unlike lengths in bytes
        ((16 << 3,), 2.5),
        ((23 << 3 | 3, 3), 60),  # three frames, as the peers' encoder writes them at high bit rates
    ],
)
def test_the_length_of_a_packet(first_bytes: tuple[int, ...], milliseconds: float) -> None:
    assert opus_packets.duration(bytes(first_bytes)) == milliseconds * 48


@pytest.mark.parametrize(("rate", "seconds"), [(16_000, 0.6), (16_000, 0.613), (8_000, 0.05), (48_000, 1.0)])
def test_what_is_encoded_is_heard_again(rate: int, seconds: float) -> None:
    n_samples = int(seconds * rate)
    tone = (9000 * np.sin(2 * np.pi * 440 * np.arange(n_samples) / rate)).astype(np.int16)
    coded = opus_packets.encode(tone, rate, 16_000)
    assert len(coded) < 2 * n_samples / 4 + 400
    stream = opus_packets.parse(coded, "x")
    assert (stream.sample_rate, stream.n_samples) == (rate, n_samples)
    heard, heard_rate = soundfile.read(io.BytesIO(opus_packets.to_ogg(stream)))
    assert heard_rate == rate
    assert abs(len(heard) - n_samples) <= 1
    delay = round(0.0065 * rate)
    assert np.corrcoef(heard[delay:n_samples], tone[: n_samples - delay])[0, 1] > 0.9
    assert coded[10:][-len(stream.packets[-1]) :] == stream.packets[-1], "nothing behind the last packet"


def test_more_bits_a_second_are_more_bytes() -> None:
    noise = np.random.default_rng(0).normal(0, 3000, RATE).astype(np.int16)
    sizes = [len(opus_packets.encode(noise, RATE, bitrate)) for bitrate in (8_000, 32_000, 64_000)]
    assert sizes[0] * 2 < sizes[1] < sizes[2]
