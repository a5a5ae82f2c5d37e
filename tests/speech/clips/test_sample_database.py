"""Sample databases: one that Coqui STT wrote, ones made here, and damaged ones. The peer's writer: tests/interop."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from speech.clips.audio import ClipReader, wav_header
from speech.clips.sample_database import OPUS_TYPE, WAV_TYPE, read_sample_database, write_sample_database
from speech.errors import InputError
from tests.fixtures.tones import speak

GOLDEN = Path(__file__).parents[2] / "fixtures" / "sample_databases" / "coqui-opus.sdb"
SPEECH, TRANSCRIPT = {"content": "speech", "mime-type": WAV_TYPE}, {"content": "transcript", "mime-type": "text/plain"}


def wav(value: int, samples: int) -> bytes:
    return wav_header(samples, 16_000) + np.full(samples, value, "<i2").tobytes()


def database(rows: list[tuple[bytes, ...]], schema: list[dict[str, str]]) -> bytes:
    """The format as its description has it, independent of the reader."""
    meta = json.dumps({"schema": schema}).encode()
    data = b"SAMPLEDB" + struct.pack(">Q", len(meta)) + meta
    entries, offsets = b"", []
    for row in rows:
        cells = b"".join(struct.pack(">I", len(cell)) + cell for cell in row)
        offsets.append(len(data) + 16 + len(entries))
        entries += struct.pack(">I", len(cells)) + cells
    index = struct.pack(f">Q{len(offsets)}Q", len(offsets), *offsets)
    return data + struct.pack(">QQ", 8 + len(entries), len(rows)) + entries + struct.pack(">Q", len(index)) + index


def test_what_coqui_wrote() -> None:
    manifest = read_sample_database(GOLDEN)
    assert [clip.transcript for clip in manifest] == ["ab", "cd b"]
    assert [clip.wav_filename for clip in manifest] == ["coqui-opus.sdb:0", "coqui-opus.sdb:1"]
    assert [round(clip.duration_s * 16_000) for clip in manifest] == [5440, 9280]
    reader = ClipReader(manifest, 16_000)
    for clip, text in zip(manifest, ("ab", "cd b"), strict=True):
        heard, said = reader.samples(clip), speak(text, 0).astype(float)
        assert len(heard) == len(said)
        # Opus keeps the spectrum, not the phase.
        spectra = [np.abs(np.fft.rfft(signal)) for signal in (heard, said)]
        assert np.corrcoef(*spectra)[0, 1] > 0.95


def test_wav_columns_in_any_order(tmp_path: Path) -> None:
    rows = [(b"z", "ä b".encode(), wav(3, 100)), (b"", b"c", wav(4, 50))]
    extra = {"content": "speaker", "mime-type": "text/plain"}
    path = tmp_path / "x.sdb"
    path.write_bytes(database(rows, [extra, TRANSCRIPT, SPEECH]))
    manifest = read_sample_database(path)
    assert [(clip.transcript, clip.duration_s) for clip in manifest] == [("ä b", 100 / 16_000), ("c", 50 / 16_000)]
    reader = ClipReader(manifest, 16_000)
    assert [set(reader.samples(clip)) for clip in manifest] == [{3}, {4}]


def test_without_transcripts_it_is_no_training_set(tmp_path: Path) -> None:
    path = tmp_path / "noise.sdb"
    path.write_bytes(database([(wav(3, 100),)], [SPEECH]))
    with pytest.raises(InputError, match=r"noise\.sdb: the sample database has no transcripts"):
        read_sample_database(path)
    assert len(read_sample_database(path, labeled=False)) == 1


def unfinished(whole: bytes) -> bytes:
    """What a killed writer leaves: lengths that were never filled in, and no index."""
    start = 16 + struct.unpack_from(">Q", whole, 8)[0]
    return whole[:start] + bytes(16) + whole[start + 16 : -24]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: b"RIFF" + whole, "it does not begin with SAMPLEDB"),
        (lambda whole: b"", "not a readable sample database"),
        (lambda whole: whole[:-5], "truncated"),
        (lambda whole: whole[:-400], "truncated|never finished"),
        (unfinished, "never finished"),
        (lambda whole: whole.replace(b'"schema"', b'"schemo"'), "no readable schema"),
        (lambda whole: whole.replace(b"audio/wav", b"audio/xyz"), "no speech column .* audio/xyz"),
        (lambda whole: whole.replace(b"abc", b"a\xffc"), "transcript of sample 0 is not UTF-8"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "x.sdb"
    path.write_bytes(damage(database([(wav(3, 100), b"abc"), (wav(4, 100), b"d")], [SPEECH, TRANSCRIPT])))
    with pytest.raises(InputError, match=message):
        read_sample_database(path)


def test_a_damaged_recording_shows_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.sdb"
    schema = [{"content": "speech", "mime-type": OPUS_TYPE}, TRANSCRIPT]
    path.write_bytes(database([(b"no opus at all", b"abc")], schema))
    manifest = read_sample_database(path)
    assert manifest.clips[0].duration_s == 0
    with pytest.raises(InputError, match=r"x\.sdb:0: not Opus packets"):
        ClipReader(manifest, 16_000).samples(manifest.clips[0])


@pytest.mark.parametrize("labeled", [True, False])
def test_what_is_written_is_the_format(tmp_path: Path, labeled: bool) -> None:
    rows = [(wav(3, 100), "ä b".encode()), (wav(4, 50), b"")]
    with write_sample_database(tmp_path / "x.sdb", WAV_TYPE, labeled=labeled) as add:
        for recording, transcript in rows:
            add(recording, transcript.decode())
        assert not (tmp_path / "x.sdb").exists()
    expected = database(rows, [SPEECH, TRANSCRIPT]) if labeled else database([row[:1] for row in rows], [SPEECH])
    assert (tmp_path / "x.sdb").read_bytes() == expected


def test_nothing_is_written_when_the_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with write_sample_database(tmp_path / "x.sdb", WAV_TYPE) as add:
            add(wav(3, 100), "a")
            raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
