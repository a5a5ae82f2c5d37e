"""Decoding: every kind of file is converted exactly, or refused under its own name."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from components.import_cv.convert import clip, mp3
from components.import_cv.convert.clip import Decoder
from components.import_cv.plan.reasons import Reason, Refused
from tests.components.import_cv.conftest import encoded, sound
from tests.components.import_cv.conftest import mp3 as make_mp3
from tests.fixtures import system

FFMPEG = system.needs("ffmpeg")


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(16000, 10.0)


def refusal(decoder: Decoder, data: bytes, listed_ms: int = 0) -> tuple[Reason, str]:
    with pytest.raises(Refused) as refused:
        decoder(data, listed_ms)
    return refused.value.reason, refused.value.detail


def snr_db(reference: np.ndarray, found: np.ndarray) -> float:
    reference, found = reference.astype(np.float64), found.astype(np.float64)
    return float(10 * np.log10(np.sum(reference**2) / np.sum((reference - found) ** 2)))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_of_every_rate(decoder: Decoder, rate: int, channels: int) -> None:
    samples = decoder(make_mp3(1.3, rate, channels=channels))
    assert samples.dtype == np.int16
    assert len(samples) == round(round(1.3 * rate) * 16000 / rate)
    expected = sound(1.3, 16000)[: len(samples), 0] * 32768  # the tone has no energy above 4 kHz: every rate carries it
    shifts = {lag: snr_db(expected[200:-200], np.roll(samples, lag)[200:-200]) for lag in range(-3, 4)}
    assert max(shifts, key=lambda lag: shifts[lag]) == 0
    assert shifts[0] > 15  # what the lossy codec leaves


@pytest.mark.parametrize("rate", [8000, 48000, 96000])
@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("FLAC", None)]
)
def test_other_formats_whatever_they_are_called(decoder: Decoder, format: str, subtype: str | None, rate: int) -> None:
    samples = decoder(encoded(sound(0.8, rate), rate, format, subtype))
    expected = sound(0.8, 16000)[:, 0] * 32768
    assert len(samples) == len(expected)
    assert snr_db(expected[200:-200], samples[200:-200]) > (25 if subtype == "PCM_U8" else 50)


def test_ogg_vorbis_and_opus(decoder: Decoder) -> None:
    for subtype in ("VORBIS", "OPUS"):
        assert len(decoder(encoded(sound(1.0, 48000), 48000, "OGG", subtype))) == 16000


def test_stereo_becomes_the_mean(decoder: Decoder) -> None:
    left = sound(0.5, 16000, seed=1)[:, 0]
    samples = decoder(encoded(np.stack([left, -left], axis=1), 16000, "WAV", "FLOAT"))
    assert np.abs(samples).max() <= 1


def test_loud_audio_is_clipped_not_wrapped(decoder: Decoder) -> None:
    tone = 4 * np.sin(np.arange(16000) / 20).astype(np.float32)
    samples = decoder(encoded(tone, 16000, "WAV", "FLOAT"))
    assert samples.max() == 32767
    assert samples.min() == -32768
    assert np.abs(np.diff(samples.astype(int))).max() < 20000


@pytest.mark.parametrize("share", [0.02, 0.2, 0.55, 0.9, 0.99])
def test_truncated_mp3(decoder: Decoder, share: float) -> None:
    data = make_mp3(2.0)
    assert refusal(decoder, data[: int(len(data) * share)])[0] is Reason.TRUNCATED


def test_truncation_is_described(decoder: Decoder) -> None:
    data = make_mp3(2.0)
    assert refusal(decoder, data[: len(data) // 2])[1].endswith("s of the 2.00 s that the header announces")


@pytest.mark.parametrize("missing", [1, 100])
def test_mp3_that_lacks_its_last_bytes(decoder: Decoder, missing: int) -> None:
    assert refusal(decoder, make_mp3(2.0)[:-missing])[0] is Reason.TRUNCATED


def headless(data: bytes) -> bytes:
    """The MP3 without its Xing frame."""
    stream = mp3.read_stream(data)
    assert stream is not None
    return data[stream.start + stream.first.size :]


def test_variable_bitrate_without_a_header_is_decoded_to_its_end(decoder: Decoder) -> None:
    quiet_then_loud = np.concatenate([np.zeros(32000, np.float32), sound(2.0, 32000)[:, 0]])
    data = encoded(quiet_then_loud, 32000)
    whole, found = decoder(data), decoder(headless(data))
    assert 0 <= len(found) - len(whole) < 2 * 1152  # delay and padding, which only the header tells
    begins = [int(np.argmax(np.abs(samples) > 1000)) for samples in (whole, found)]
    assert begins[0] == pytest.approx(16000, abs=200)
    assert begins[1] - begins[0] == pytest.approx(1105 / 2, abs=3)  # the encoder's delay, which only the header tells


def test_a_cut_last_frame_without_a_header(decoder: Decoder) -> None:
    assert refusal(decoder, headless(make_mp3(2.0))[:-30])[0] is Reason.TRUNCATED


def test_shorter_than_the_release_lists(decoder: Decoder) -> None:
    data = headless(make_mp3(2.0))
    stream = mp3.read_stream(data)
    assert stream is not None
    position = 0
    for _ in range(20):  # whole frames: nothing in the file tells
        frame = mp3.parse_header(int.from_bytes(data[position : position + 4], "big"))
        assert frame is not None
        position += frame.size
    assert len(decoder(data[:position])) > 0
    assert refusal(decoder, data[:position], listed_ms=2000)[0] is Reason.TRUNCATED
    assert len(decoder(data, listed_ms=2000)) > 0


def test_truncated_wav(decoder: Decoder) -> None:
    data = encoded(sound(1.0, 16000), 16000, "WAV")
    assert refusal(decoder, data[:-5000]) == (Reason.TRUNCATED, "5000 bytes less than the header announces")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"\0" * 4000, Reason.NOT_AUDIO),
        (b"<html>404 not found</html>" * 50, Reason.NOT_AUDIO),
        (bytes(np.random.default_rng(0).integers(0, 256, 9000, dtype=np.uint8)), Reason.NOT_AUDIO),
        (b"\xff", Reason.NOT_AUDIO),
        (b"ID3\x04\0\0\0\0\0\x0a" + b"\0" * 10, Reason.NOT_AUDIO),
        (encoded(np.zeros((0, 1), np.float32), 16000, "WAV"), Reason.NO_SAMPLES),
    ],
)
def test_what_is_not_audio(decoder: Decoder, data: bytes, reason: Reason) -> None:
    assert refusal(decoder, data)[0] is reason


def test_long_clips_are_refused_by_their_header(decoder: Decoder) -> None:
    hour = make_mp3(30.0, 16000)
    assert refusal(decoder, hour) == (Reason.TOO_LONG, "30.0 s")


def test_many_channels_are_refused(decoder: Decoder) -> None:
    data = encoded(np.zeros((9 * 192000, 40), np.float32), 192000, "WAV", "PCM_U8")
    assert refusal(decoder, data) == (Reason.TOO_BIG, "40 channels")


def test_tagged_mp3_and_junk(decoder: Decoder) -> None:
    data = make_mp3(1.0)
    plain = decoder(data)
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\x00" * 128
    assert np.array_equal(decoder(tag + data), plain)
    assert np.array_equal(decoder(data + b"TAG" + b"\0" * 125), plain)
    junk = bytes(np.random.default_rng(1).integers(0, 255, 3000, dtype=np.uint8))
    assert abs(len(decoder(junk + data)) - len(plain)) < 1200


def test_a_release_that_lists_nothing_is_no_reason(decoder: Decoder) -> None:
    assert len(decoder(make_mp3(1.0), listed_ms=0)) == 16000


def test_soxr_from_float_and_nothing_else(decoder: Decoder) -> None:
    """The samples are those of one float decode and one resampling, rounded once."""
    data = make_mp3(1.0, 48000)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    expected = np.clip(np.rint(soxr.resample(samples, rate, 16000) * 32768), -32768, 32767)
    assert np.array_equal(decoder(data), expected)


@FFMPEG
@pytest.mark.parametrize("rate", [22050, 32000, 44100, 48000])
def test_against_ffmpeg(decoder: Decoder, tmp_path: Path, rate: int) -> None:
    path = tmp_path / "clip.mp3"
    path.write_bytes(make_mp3(1.7, rate, seed=3))
    command = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-i",
        str(path),
        "-af",
        "aresample=16000:resampler=soxr",
        "-f",
        "f32le",
        "-",
    ]
    made = subprocess.run(command, capture_output=True, check=True).stdout
    reference = np.frombuffer(made, "<f4") * 32768
    samples = decoder(path.read_bytes())
    assert len(samples) == len(reference)
    assert snr_db(reference, samples) > 60


@FFMPEG
@pytest.mark.parametrize("format", ["flac", "wav", "ogg", "mp3"])
def test_files_that_were_written_as_a_stream(decoder: Decoder, tmp_path: Path, format: str) -> None:
    """Their headers announce no length, or nonsense."""
    for seconds in (1.5, 10.5):
        soundfile.write(tmp_path / "clip.wav", sound(seconds, 32000), 32000)
        command = ["ffmpeg", "-loglevel", "error", "-i", str(tmp_path / "clip.wav"), "-f", format, "-"]
        data = subprocess.run(command, capture_output=True, check=True).stdout
        if seconds > 10:
            assert refusal(decoder, data)[0] is Reason.TOO_LONG
        else:
            assert 0 <= len(decoder(data)) - 24000 < 1500  # an MP3's delay and padding are not announced either


@FFMPEG
def test_ffmpeg_reads_what_libsndfile_does_not(decoder: Decoder, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", sound(1.0, 16000), 16000)
    for name, codec in (("clip.m4a", "aac"), ("clip.webm", "libopus")):
        subprocess.run(
            ["ffmpeg", "-loglevel", "error", "-i", str(tmp_path / "clip.wav"), "-c:a", codec, str(tmp_path / name)],
            check=True,
        )
        assert abs(len(decoder((tmp_path / name).read_bytes())) - 16000) < 1600


def test_without_ffmpeg_its_formats_are_named(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip.shutil, "which", lambda name: None)
    assert refusal(decoder, b"\0\0\0\x20ftypM4A " + b"\0" * 100) == (Reason.NEEDS_FFMPEG, "MP4 or M4A")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_no_silence(decoder: Decoder, value: float) -> None:
    samples = np.zeros(16000, np.float32)
    samples[100] = value
    assert refusal(decoder, encoded(samples, 16000, "WAV", "FLOAT"))[0] is Reason.NOT_AUDIO
