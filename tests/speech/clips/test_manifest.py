"""CSVs of ours, of DeepSpeech and of Coqui STT."""

import pytest

from speech.clips.manifest import Clip, read_manifest, write_manifest
from speech.errors import InputError


def test_round_trip(tmp_path) -> None:
    clips = [
        Clip("clips/a.wav", 44, "it's", 1.25, "speaker", "shards/clips-00000.tar", 512),
        Clip("clips/b.wav", 60, 'a "quoted", text', 0.0, "", "", 0),
    ]
    write_manifest(tmp_path / "train.csv", clips)
    manifest = read_manifest(tmp_path / "train.csv")
    assert list(manifest) == clips
    assert manifest.resolve("shards/x.tar") == tmp_path / "shards/x.tar"
    assert manifest.hours == pytest.approx(1.25 / 3600)
    assert list(tmp_path.iterdir()) == [tmp_path / "train.csv"]


def test_reads_the_peers_csv(tmp_path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes("\ufeffwav_filename,wav_filesize,transcript,extra\r\n/a/b.wav,100,hé llo,1\r\n".encode())
    assert list(read_manifest(path)) == [Clip("/a/b.wav", 100, "hé llo")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("wav_filename,wav_filesize\n", "line 1: no column transcript"),
        ("", "found nothing"),
        ("wav_filename,wav_filesize,transcript\na,x,b\n", "line 2: .*'x'"),
        ("wav_filename,wav_filesize,transcript\na,1\n", "line 2"),
    ],
)
def test_damaged_csvs_name_the_line(tmp_path, content: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path / "x.csv")


def test_missing_and_wrongly_encoded(tmp_path) -> None:
    with pytest.raises(InputError, match="no such CSV"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"wav_filename,wav_filesize,transcript\na,1,\xe9\n")
    with pytest.raises(InputError, match="not UTF-8"):
        read_manifest(tmp_path / "x.csv")
