"""What file headers say about clips, whatever the list says."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech.clips.audio import wav_header
from speech.clips.manifest import Clip, Manifest
from speech.clips.sources import read_source
from speech.clips.survey import HEADER_BYTES, wav_facts
from tests.speech.clips.test_sample_database import SPEECH, TRANSCRIPT, database
from tests.speech.clips.test_webdataset import write_tar

TONE = (np.sin(np.arange(8000) / 5) * 8000).astype(np.int16)


def encoded(kind: str, rate: int = 16_000, **named: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, TONE, rate, format=kind, **named)
    return buffer.getvalue()


FILES = {  # name -> content, seconds, rate
    "plain.wav": (wav_header(8000, 16_000) + TONE.tobytes(), 0.5, 16_000),
    "eight.wav": (wav_header(8000, 8_000) + TONE.tobytes(), 1.0, 8_000),
    "float.wav": (encoded("WAV", subtype="FLOAT"), 0.5, 16_000),
    "24.wav": (encoded("WAV", subtype="PCM_24"), 0.5, 16_000),
    "alaw.wav": (encoded("WAV", subtype="ALAW"), 0.5, 16_000),
    "cut.wav": (wav_header(8000, 16_000) + TONE.tobytes()[:8000], 0.25, 16_000),
    "piped.wav": (wav_header(8000, 16_000)[:40] + b"\xff" * 4 + TONE.tobytes(), 0.5, 16_000),
    "a.flac": (encoded("FLAC", 22_050), 8000 / 22_050, 22_050),
    "a.ogg": (encoded("OGG"), 0.5, 16_000),
    "listed.wav": (
        wav_header(8000, 16_000)[:36] + struct.pack("<4sI", b"LIST", 4) + b"INFO" + b"data"
        + struct.pack("<I", 16_000) + TONE.tobytes(), 0.5, 16_000,
    ),
    "far.wav": (  # the samples begin behind what is looked at
        wav_header(8000, 16_000)[:36] + struct.pack("<4sI", b"LIST", 2 * HEADER_BYTES) + bytes(2 * HEADER_BYTES)
        + b"data" + struct.pack("<I", 16_000) + TONE.tobytes(), 0.5, 16_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("wav_filesize", [0, 1, 10**9])
def test_lengths_and_rates_are_the_files(tmp_path: Path, wav_filesize: int) -> None:
    for name, (content, _, _) in FILES.items():
        (tmp_path / name).write_bytes(content)
    found = Manifest(tmp_path / "x.csv", [Clip(name, wav_filesize, "a", 99.0) for name in FILES]).survey
    assert found.reasons == {}
    np.testing.assert_allclose(found.seconds, [seconds for _, seconds, _ in FILES.values()])
    assert found.rates_hz.tolist() == [rate for _, _, rate in FILES.values()]


def test_what_cannot_be_read_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not found: 404")
    (tmp_path / "header.wav").write_bytes(wav_header(8000, 16_000)[:40])
    (tmp_path / "folder.wav").mkdir()
    names = ["gone.wav", "empty.wav/a.wav", "empty.wav", "text.wav", "header.wav", "folder.wav", "zero\0.wav"]
    found = Manifest(tmp_path / "x.csv", [Clip(name, 9000, "a") for name in names]).survey
    assert found.reasons == {0: "missing file", 1: "missing file"} | dict.fromkeys(range(2, 7), "unreadable audio")


def test_shards_that_are_gone_or_cut_short(tmp_path: Path) -> None:
    (tmp_path / "short.tar").write_bytes(bytes(5000))
    clips = [
        Clip("a.wav", 4000, "a", 0.5, "", "gone.tar", 512),
        Clip("b.wav", 4000, "a", 0.5, "", "short.tar", 512),
        Clip("c.wav", 4000, "a", 0.5, "", "short.tar", 1512),
    ]
    found = Manifest(tmp_path / "x.csv", clips).survey
    assert found.reasons == {0: "in a shard that is missing", 2: "beyond the end of its shard"}


def test_databases_and_tars(tmp_path: Path) -> None:
    content = FILES["eight.wav"][0]
    (tmp_path / "x.sdb").write_bytes(database([(content, b"a")], [SPEECH, TRANSCRIPT]))
    tar = write_tar(tmp_path / "x.tar", {"a.wav": content, "a.txt": b"a"})
    for path in (tmp_path / "x.sdb", tar):
        assert read_source(path).survey.seconds.tolist() == [1.0]


def test_any_bytes_are_no_crash() -> None:
    generator = np.random.default_rng(1)
    whole = FILES["listed.wav"][0][:200]
    for _ in range(2000):
        data = bytearray(whole[: int(generator.integers(0, 200))])
        for place in generator.integers(0, max(1, len(data)), 3).tolist():
            if data:
                data[place] = int(generator.integers(256))
        facts = wav_facts(bytes(data), len(data))
        assert facts is None or (facts[0] >= 0 and facts[1] > 0)
