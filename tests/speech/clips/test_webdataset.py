"""WebDataset tars: every audio format, keys with dots and folders, and what is missing."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.clips.audio import ClipReader, wav_header
from speech.clips.webdataset import read_webdataset
from speech.errors import InputError

TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000)


def encode(extension: str) -> bytes:
    if extension == "wav":
        return wav_header(8000, 16_000) + (TONE * 32768).astype("<i2").tobytes()
    file = io.BytesIO()
    formats = {"flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
    container, codec = formats.get(extension, ("MP3", "MPEG_LAYER_III"))
    soundfile.write(file, TONE, 16_000, format=container, subtype=codec)
    return file.getvalue()


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_every_format(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for extension in ("wav", "flac", "ogg", "opus", "mp3"):
        files[f"part/{extension}-clip.txt"] = f"said as {extension}\n".encode()
        files[f"part/{extension}-clip.{extension}"] = encode(extension)
    manifest = read_webdataset(write_tar(tmp_path / "x.tar", files))
    assert [clip.transcript for clip in manifest] == [
        f"said as {extension}" for extension in ("wav", "flac", "ogg", "opus", "mp3")
    ]
    reader = ClipReader(manifest, 16_000)
    for clip in manifest:
        assert clip.duration_s == pytest.approx(0.5, abs=0.15)
        spectrum = np.abs(np.fft.rfft(reader.samples(clip)[1000:7000]))
        assert spectrum.argmax() == pytest.approx(440 * 6000 / 16_000, abs=2)


def test_keys_end_at_the_first_dot_and_other_files_are_passed_over(tmp_path: Path) -> None:
    files = {"a.b/k.transcript": b"one", "a.b/k.WAV": encode("wav"), "k.json": b"{}", "README": b"", ".x.wav": b""}
    manifest = read_webdataset(write_tar(tmp_path / "x.tar", files))
    assert [(clip.wav_filename, clip.transcript) for clip in manifest] == [("a.b/k.WAV", "one")]
    assert set(ClipReader(manifest, 16_000).samples(manifest.clips[0])) != {0}


def test_overlays_need_no_transcripts(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.wav": encode("wav")})
    assert len(read_webdataset(path, labeled=False)) == 1
    with pytest.raises(InputError, match=r"a\.wav has no transcript: expected a\.txt in the tar"):
        read_webdataset(path)


def test_what_is_no_such_tar(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recordings: expected KEY.wav"):
        read_webdataset(write_tar(tmp_path / "empty.tar", {"a.txt": b"a"}))
    with pytest.raises(InputError, match="not a readable, uncompressed tar"):
        read_webdataset(write_tar(tmp_path / "zipped.tar", {"a.wav": b"a"}, "w:gz"))
    with pytest.raises(InputError, match="is not UTF-8"):
        read_webdataset(write_tar(tmp_path / "latin.tar", {"a.wav": encode("wav"), "a.txt": b"\xe4"}))
