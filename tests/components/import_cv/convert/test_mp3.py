"""MP3 frames against files of libsndfile's encoder, and against nonsense."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.import_cv.convert import mp3
from tests.components.import_cv.conftest import encoded, sound
from tests.components.import_cv.conftest import mp3 as make_mp3

ID3 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\x00" * 128  # a tag of 128 bytes


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_of_every_sample_rate(rate: int, channels: int) -> None:
    data = make_mp3(0.7, rate, channels=channels)
    stream = mp3.read_stream(data)
    assert stream is not None
    assert stream.announced == stream.frames
    assert not stream.cut
    a_frame = 1152 if rate >= 32000 else 576
    assert stream.first.samples == a_frame
    assert 0 <= stream.frames * a_frame - 0.7 * rate < 4 * a_frame  # the encoder's delay and padding


def test_tags_in_front_are_skipped() -> None:
    data = make_mp3()
    plain, tagged = mp3.read_stream(data), mp3.read_stream(ID3 + ID3 + data)
    assert plain is not None
    assert tagged is not None
    assert (tagged.start, tagged.frames, tagged.announced) == (2 * len(ID3), plain.frames, plain.announced)


def test_junk_in_front_is_skipped() -> None:
    data = make_mp3()
    junk = bytes(np.random.default_rng(1).integers(0, 255, 3000, dtype=np.uint8))
    found = mp3.read_stream(junk + data)
    assert found is not None
    assert found.start == len(junk)


def test_a_cut_frame_is_seen() -> None:
    data = make_mp3()
    for missing in (1, 40):
        found = mp3.read_stream(data[:-missing])
        assert found is not None
        assert found.cut
        assert found.frames == found.announced - 1


def test_a_header_can_be_put_in_front() -> None:
    data = make_mp3()
    stream = mp3.read_stream(data)
    assert stream is not None
    without = data[stream.first.size :]  # the first frame is the header's
    counted = mp3.read_stream(without)
    assert counted is not None
    assert (counted.announced, counted.frames) == (0, stream.frames)
    again = mp3.read_stream(mp3.with_frame_count(ID3 + without, mp3.read_stream(ID3 + without)))  # type: ignore[arg-type]
    assert again is not None
    assert (again.announced, again.frames, again.start) == (stream.frames, stream.frames, 0)


def test_a_header_that_announces_nothing_is_replaced() -> None:
    data = bytearray(make_mp3())
    stream = mp3.read_stream(bytes(data))
    assert stream is not None
    data[stream.first.xing_offset + 7] = 0  # the flags: neither frames nor bytes
    silent = mp3.read_stream(bytes(data))
    assert silent is not None
    assert (silent.announced, silent.frames, silent.audio) == (0, stream.frames, stream.first.size)
    counted = mp3.read_stream(mp3.with_frame_count(bytes(data), silent))
    assert counted is not None
    assert (counted.announced, counted.frames, counted.cut) == (stream.frames, stream.frames, False)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff" * 5000, b"\0" * 5000, b"hello " * 1000, ID3, b"ID3"])
def test_no_frames(data: bytes) -> None:
    assert mp3.read_stream(data) is None


def test_a_wav_has_no_frames() -> None:
    assert mp3.read_stream(encoded(sound(0.3, 16000), 16000, "WAV")) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 255))
def test_nonsense_raises_nothing(data: bytes, at: int, value: int) -> None:
    mp3.read_stream(data)
    damaged = bytearray(BASE)
    damaged[at * len(BASE) // 401] = value
    mp3.read_stream(bytes(damaged) + data)


BASE = make_mp3(0.3, 48000)
