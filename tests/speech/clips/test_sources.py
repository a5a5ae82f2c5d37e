"""Every kind of source by its path or URI."""

from pathlib import Path

import pytest

from speech.clips.sources import fetch_source, read_source
from speech.errors import InputError
from speech.storage.objects import upload_folder
from tests.speech.clips.test_sample_database import GOLDEN
from tests.speech.clips.test_webdataset import encode, write_tar


def test_kinds(tones: Path, tmp_path: Path) -> None:
    assert len(read_source(tones / "train.csv")) == 22
    assert len(read_source(GOLDEN)) == 2
    assert len(read_source(write_tar(tmp_path / "x.tar", {"a.wav": encode("wav"), "a.txt": b"a"}))) == 1
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("train", "dev"):
        (corpus / f"{name}.csv").write_text(f"wav_filename,wav_filesize,transcript\n{name}.wav,9,a\n")
    (corpus / "alphabet.txt").write_text(" \na\n")
    (corpus / "import_report.json").write_text("{}")
    assert [read_source(corpus, split).clips[0].wav_filename for split in ("train", "dev")] == ["train.wav", "dev.wav"]


@pytest.mark.parametrize("name", ["none.csv", "none.sdb", "none.tar", "none"])
def test_what_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{name}: no such"):
        read_source(tmp_path / name)


def test_sources_in_a_bucket(tones: Path, tmp_path: Path, s3_bucket: str) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "x.sdb").write_bytes(GOLDEN.read_bytes())
    upload_folder(tmp_path / "up", f"{s3_bucket}/data")
    upload_folder(tones / "other", f"{s3_bucket}/csvs")
    assert len(read_source(fetch_source(f"{s3_bucket}/data/x.sdb", tmp_path / "a"))) == 2
    manifest = read_source(fetch_source(f"{s3_bucket}/csvs/train.csv", tmp_path / "b"))
    assert all(manifest.resolve(clip.wav_filename).is_file() for clip in manifest)
    with pytest.raises(InputError, match=r"none\.csv: no such object"):
        fetch_source(f"{s3_bucket}/csvs/none.csv", tmp_path / "c")
    assert fetch_source("some/where", tmp_path) == Path("some/where")
