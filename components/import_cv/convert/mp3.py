"""MP3 frames: what libsndfile leaves to its caller.

libsndfile takes the length of an MP3 from its Xing, Info or VBRI header, and without one from the first frame's
bitrate, which cuts files of variable bitrate. Here the frames are counted: a file that breaks off is recognised, and a
file without a header gets one.
"""

import struct
from dataclasses import dataclass

# kbit/s by index, of (MPEG version is 1, layer)
BITRATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
FIXED_BITS = 0xFFFE0C00  # sync, version, layer, sample rate: the same in every frame of a file
MAX_JUNK_BYTES = 1 << 16
DECODER_DELAY_SAMPLES = 529  # cut by libmpg123 from the start of a file with a Xing header and no LAME tag


@dataclass(frozen=True)
class Frame:
    """One frame header."""

    header: int  # the four bytes
    size: int  # bytes, header included
    version: int  # 3 = MPEG 1, 2 = MPEG 2, 0 = MPEG 2.5
    layer: int

    @property
    def samples(self) -> int:
        """Samples a channel that the frame decodes to."""
        if self.layer == 1:
            return 384
        return 1152 if self.layer == 2 or self.version == 3 else 576

    @property
    def xing_offset(self) -> int:
        """Where in a frame of layer III the Xing header lies: behind header and side information."""
        mono = (self.header >> 6) & 3 == 3
        return 4 + ((17 if mono else 32) if self.version == 3 else (9 if mono else 17))


@dataclass(frozen=True)
class Mp3Stream:
    """The frames of a file, counted."""

    start: int  # bytes in front: tags, junk
    audio: int  # where the frames counted begin: behind the frame of a Xing or VBRI header
    first: Frame
    frames: int  # complete ones
    cut: bool  # the last frame breaks off
    announced: int  # frames by the Xing or Info header, 0 without one
    other_header: bool  # a VBRI header


def parse_header(value: int) -> Frame | None:
    """A frame header (big-endian u32), or None if the bytes are none; free-format frames have no known size."""
    if value >> 21 != 0x7FF:
        return None
    version, layer = (value >> 19) & 3, 4 - ((value >> 17) & 3)
    bitrate_index, rate_index, padding = (value >> 12) & 15, (value >> 10) & 3, (value >> 9) & 1
    if version == 1 or layer == 4 or rate_index == 3 or bitrate_index in (0, 15):
        return None
    bitrate = BITRATES[version == 3, layer][bitrate_index] * 1000
    rate = SAMPLE_RATES_HZ[version][rate_index]
    if layer == 1:
        size = (12 * bitrate // rate + padding) * 4
    else:
        size = (144 if layer == 2 or version == 3 else 72) * bitrate // rate + padding
    return Frame(value, size, version, layer)


def tags_end(data: bytes) -> int:
    """Where the ID3v2 tags in front end."""
    position = 0
    while data[position : position + 3] == b"ID3" and len(data) >= position + 10:
        a, b, c, d = data[position + 6 : position + 10]
        footer = 10 if data[position + 5] & 0x10 else 0
        position += 10 + footer + ((a & 127) << 21 | (b & 127) << 14 | (c & 127) << 7 | (d & 127))
    return min(position, len(data))


def find_start(data: bytes) -> int:
    """Where the first of three frames in a row begins, or -1."""
    position = tags_end(data)
    end = position + MAX_JUNK_BYTES
    while (position := data.find(b"\xff", position, end)) >= 0:
        if _frames_follow(data, position, 3):
            return position
        position += 1
    return -1


def _frames_follow(data: bytes, position: int, count: int) -> bool:
    kind = None
    for _ in range(count):
        frame = _frame_at(data, position)
        if frame is None or (kind is not None and frame.header & FIXED_BITS != kind):
            return False
        kind = frame.header & FIXED_BITS
        position += frame.size
    return True


def _frame_at(data: bytes, position: int) -> Frame | None:
    if position + 4 > len(data):
        return None
    return parse_header(int.from_bytes(data[position : position + 4], "big"))


def read_stream(data: bytes, *, count: bool = True) -> Mp3Stream | None:
    """Read the headers of an MP3; None if no frame begins behind its tags.

    With `count` false the frames are counted only if no Xing header announces them.
    """
    start = tags_end(data)
    first = _frame_at(data, start)
    if first is None:
        start = find_start(data)
        first = _frame_at(data, start) if start >= 0 else None
        if first is None:
            return None
    announced, other, position = 0, False, start
    if first.layer == 3:
        tag = start + first.xing_offset
        if data[tag : tag + 4] in (b"Xing", b"Info"):
            position += first.size
            if len(data) >= tag + 12 and data[tag + 7] & 1:
                (announced,) = struct.unpack_from(">I", data, tag + 8)
        elif data[start + 36 : start + 40] == b"VBRI":
            position, other = position + first.size, True
    frames, cut = 0, False
    if count or not announced:
        frames, cut = _count(data, position)
    return Mp3Stream(start, position, first, frames, cut, announced, other)


def _count(data: bytes, position: int) -> tuple[int, bool]:
    """Complete frames from `position` on, and whether the last one breaks off."""
    frames, length = 0, len(data)
    sizes: dict[int, int] = {}
    while position + 4 <= length:
        value = int.from_bytes(data[position : position + 4], "big")
        size = sizes.get(value)
        if size is None:
            frame = parse_header(value)
            if frame is None:
                return frames, False
            size = sizes[value] = frame.size
        position += size
        if position > length:
            return frames, True
        frames += 1
    return frames, False


def with_frame_count(data: bytes, stream: Mp3Stream) -> bytes:
    """The frames of a file with a Xing header in front that announces how many they are."""
    body = data[stream.audio :]
    header = stream.first.header | 0x10000  # no checksum
    candidates = (parse_header(header & ~0xF200 | index << 12) for index in range(1, 15))
    frame = next(frame for frame in candidates if frame is not None and frame.size >= frame.xing_offset + 16)
    content = bytearray(frame.size)
    content[:4] = frame.header.to_bytes(4, "big")
    offset = frame.xing_offset
    content[offset : offset + 16] = b"Xing" + struct.pack(">III", 3, stream.frames, frame.size + len(body))
    return bytes(content) + body
