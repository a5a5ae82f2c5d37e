"""WAV clips in files and in shards."""

import io
import wave

import numpy as np
import pytest
import soundfile

from speech.clips import audio
from speech.clips.audio import ClipReader, parse_wav, to_int16, wav_header
from speech.clips.manifest import Clip, Manifest
from speech.errors import InputError

SAMPLES = np.arange(-500, 500, dtype=np.int16)


def wav_bytes(samples: np.ndarray = SAMPLES, rate: int = 16_000) -> bytes:
    return wav_header(len(samples), rate) + samples.tobytes()


def test_header_is_what_the_standard_library_reads() -> None:
    with wave.open(io.BytesIO(wav_bytes())) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (
            1,
            2,
            16_000,
            1000,
        )
        assert file.readframes(1000) == SAMPLES.tobytes()


def test_parse_skips_other_chunks() -> None:
    data = wav_bytes()
    with_list = data[:36] + b"LIST\x03\x00\x00\x00abc\x00" + data[36:]
    samples, rate = parse_wav(with_list, "x")
    assert rate == 16_000
    np.testing.assert_array_equal(samples, SAMPLES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a WAV file"),
        (b"ID3" + bytes(100), "not a WAV file"),
        (wav_bytes()[:1000], "truncated: 2000 bytes of audio announced, 956 present"),
        (wav_bytes()[:36], "without audio data"),
    ],
)
def test_damaged_wavs(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_wav(data, "clip.wav")


def test_reader_slices_shards_and_reads_files(tmp_path) -> None:
    (tmp_path / "shard.tar").write_bytes(bytes(512) + wav_bytes())
    (tmp_path / "a.wav").write_bytes(wav_bytes())
    soundfile.write(tmp_path / "b.flac", SAMPLES, 16_000)
    reader = ClipReader(Manifest(tmp_path / "x.csv", []), 16_000)
    size = len(wav_bytes())
    for clip in (
        Clip("c.wav", size, "", shard="shard.tar", offset=512),
        Clip("a.wav", size, ""),
        Clip("b.flac", 0, ""),
    ):
        np.testing.assert_array_equal(reader.samples(clip), SAMPLES)


def test_reader_mixes_and_resamples(tmp_path) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000) * 0.5
    soundfile.write(tmp_path / "stereo.wav", np.stack([tone, tone], axis=1), 8000, subtype="PCM_24")
    samples = ClipReader(Manifest(tmp_path / "x.csv", []), 16_000).samples(Clip("stereo.wav", 0, ""))
    expected = to_int16(np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 0.5)
    assert len(samples) == 16_000
    assert np.abs(samples[1000:-1000].astype(int) - expected[1000:-1000]).max() < 20


def test_a_recording_is_decoded_in_pieces_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header may announce more than any memory holds."""
    file = io.BytesIO()
    soundfile.write(file, np.stack([SAMPLES, SAMPLES], axis=1), 16_000, format="FLAC")
    monkeypatch.setattr(audio, "PIECE_VALUES", 300)
    file.seek(0)
    np.testing.assert_array_equal(audio.decode(file, "x")[0], SAMPLES)
    monkeypatch.setattr(audio, "MOST_VALUES", 1500)
    file.seek(0)
    with pytest.raises(InputError, match="x: longer than a clip can be"):
        audio.decode(file, "x")


def test_unreadable_clips_are_named(tmp_path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"garbage")
    reader = ClipReader(Manifest(tmp_path / "x.csv", []), 16_000)
    for name in ("bad.wav", "none.wav"):
        with pytest.raises(InputError, match=name):
            reader.samples(Clip(name, 0, ""))
    with pytest.raises(InputError, match="shard cannot be read"):
        reader.samples(Clip("a.wav", 10, "", shard="none.tar"))
