"""Releases in archives: on web servers, in Google's store, zipped, checked, with names that lead elsewhere."""

import contextlib
import hashlib
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.import_cv import step
from components.import_cv.settings import ImportSettings
from speech.artifacts import Corpus
from speech.errors import InputError, RetryError
from speech.storage import streams
from speech.storage.objects import upload_file, upload_folder
from tests.fixtures.web_server import WebServer, serving

MakeRelease = Callable[..., Path]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(streams, "RETRY_DELAY_S", 0.001)
    with serving() as served:
        yield served


def files_of(release: Path, tables_first: bool = True) -> list[Path]:
    files = [path for path in sorted(release.rglob("*")) if path.is_file()]
    return sorted(files, key=lambda path: (path.suffix == ".mp3") == tables_first)


def tar(release: Path, path: Path, tables_first: bool = True) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for file in files_of(release, tables_first):
            archive.add(file, f"cv/xx/{file.relative_to(release)}")
    return path


def zipped(release: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files_of(release):
            with archive.open(f"cv/xx/{file.relative_to(release)}", "w", force_zip64=True) as member:
                member.write(file.read_bytes())
    return path


def transcripts(corpus: Corpus) -> list[tuple[str, int]]:
    return sorted(
        (clip.transcript, clip.wav_filesize) for name in ("train", "test") for clip in corpus.manifest(name).clips
    )


@pytest.fixture
def release(make_release: MakeRelease) -> Path:
    return make_release(train=9, name="cv/xx")


@pytest.fixture
def expected(release: Path, tmp_path: Path) -> list[tuple[str, int]]:
    return transcripts(step.run(ImportSettings(), str(release), tmp_path / "expected"))


def imported(uri: str, folder: Path, **settings: object) -> Corpus:
    return step.run(ImportSettings(**settings), uri, folder)  # type: ignore[arg-type]


def test_a_tar_from_the_web_is_read_once(release: Path, tmp_path: Path, server: WebServer, expected: list) -> None:
    data = tar(release, tmp_path / "cv.tar.gz").read_bytes()
    server.files["/cv.tar.gz"] = data
    corpus = imported(f"{server.address}/cv.tar.gz?key=1", tmp_path / "corpus")
    assert transcripts(corpus) == expected
    assert server.sent <= 2 * len(data)  # the first answer is closed when its headers are known
    assert [wanted for _, wanted, _ in server.seen] == ["bytes=0-"] * 2
    assert not [path for path in corpus.folder.rglob("*") if path.suffix in (".gz", ".mp3")]


def test_tables_behind_the_clips_cost_a_second_reading(
    release: Path, tmp_path: Path, server: WebServer, expected: list
) -> None:
    server.files["/cv.tar.gz"] = tar(release, tmp_path / "cv.tar.gz", tables_first=False).read_bytes()
    assert transcripts(imported(f"{server.address}/cv.tar.gz", tmp_path / "corpus")) == expected
    assert len(server.seen) == 3


def test_a_server_that_breaks_off_costs_nothing(
    release: Path, tmp_path: Path, server: WebServer, expected: list
) -> None:
    server.files["/cv.tar.gz"] = tar(release, tmp_path / "cv.tar.gz").read_bytes()
    server.cut_after, server.statuses = 30_000, [503]
    assert transcripts(imported(f"{server.address}/cv.tar.gz", tmp_path / "corpus")) == expected
    server.statuses = [500] * 50
    with pytest.raises(RetryError, match="HTTP 500"):
        imported(f"{server.address}/cv.tar.gz", tmp_path / "other")


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
@pytest.mark.parametrize("place", ["local", "web", "s3"])
def test_the_sha256_is_checked(
    release: Path, tmp_path: Path, server: WebServer, s3_bucket: str, expected: list, ending: str, place: str
) -> None:
    path = (zipped if ending == "zip" else tar)(release, tmp_path / f"cv.{ending}")
    server.files[f"/{path.name}"] = path.read_bytes()
    uri = {"local": str(path), "web": f"{server.address}/{path.name}", "s3": f"{s3_bucket}/{path.name}"}[place]
    if place == "s3":
        upload_file(path, uri)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert transcripts(imported(f"{uri}#sha256={right}", tmp_path / "corpus")) == expected
    with pytest.raises(InputError, match=f"its SHA-256 is {right}, expected 00000"):
        imported(f"{uri}#sha256={'0' * 64}", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_zip_from_the_web(release: Path, tmp_path: Path, server: WebServer, expected: list, ranges: bool) -> None:
    server.files["/download"] = zipped(release, tmp_path / "cv.zip").read_bytes()
    server.ranges = ranges
    corpus = imported(f"{server.address}/download?file=5", tmp_path / "corpus")  # known by its first bytes
    assert transcripts(corpus) == expected
    assert corpus.report["release"] == "cv/xx"


def test_a_zip_by_its_directory(release: Path, tmp_path: Path, s3_bucket: str, expected: list) -> None:
    path = zipped(release, tmp_path / "cv.zip")
    assert transcripts(imported(str(path), tmp_path / "local")) == expected
    upload_file(path, f"{s3_bucket}/cv.zip")
    assert transcripts(imported(f"{s3_bucket}/cv.zip", tmp_path / "remote")) == expected
    parts = [imported_part(str(path), tmp_path / f"part-{number}", f"{number}/2") for number in (1, 2)]
    from components.import_cv.write.parts import merge

    assert transcripts(merge(parts, tmp_path / "merged")) == expected


def imported_part(uri: str, folder: Path, partition: str) -> Path:
    step.run(ImportSettings(partition=partition, shard_clips=4), uri, folder)
    return folder


def test_what_a_zip_may_not_hold(release: Path, tmp_path: Path) -> None:
    path = tmp_path / "cv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.mp3", b"x")
        archive.writestr("/etc/outside.mp3", b"x")
        link = zipfile.ZipInfo("cv/xx/clips/link.mp3")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        for file in files_of(release):
            archive.write(file, f"cv/xx/{file.relative_to(release)}")
    corpus = imported(str(path), tmp_path / "corpus")
    assert corpus.report["notes"] == {"members_outside_the_archive": 3}
    assert not list(tmp_path.rglob("outside*"))


def test_a_damaged_member_of_a_zip_costs_its_clip(release: Path, tmp_path: Path) -> None:
    path = zipped(release, tmp_path / "cv.zip")
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("cv/xx/clips/clip_00003.mp3").header_offset
    data = bytearray(path.read_bytes())
    data[start + 200 : start + 260] = bytes(60)
    path.write_bytes(data)
    corpus = imported(str(path), tmp_path / "corpus")
    assert {name: one["count"] for name, one in corpus.report["reasons"].items()} == {"not_audio": 1}
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"not a whole \.zip archive"):
        imported(str(path), tmp_path / "half")


@pytest.mark.parametrize("packed", [True, False])
def test_google_s_store_by_its_s3_interface(
    release: Path, tmp_path: Path, s3_bucket: str, s3_endpoint: str, expected: list, monkeypatch, packed: bool
) -> None:
    bucket = s3_bucket.removeprefix("s3://")
    if packed:
        upload_file(tar(release, tmp_path / "cv.tar.gz"), f"{s3_bucket}/cv.tar.gz")
    else:
        upload_folder(release, f"{s3_bucket}/cv/xx")
    monkeypatch.setenv("SPEECHMILL_GS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("SPEECHMILL_GS_ACCESS_KEY_ID", "GOOG1")
    monkeypatch.setenv("SPEECHMILL_GS_SECRET_ACCESS_KEY", "hmac")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # another store, for everything else
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    name = "cv.tar.gz" if packed else "cv/xx"
    assert transcripts(imported(f"gs://{bucket}/{name}", tmp_path / "corpus")) == expected


@pytest.mark.parametrize("tables_first", [True, False])
def test_a_stream_is_read_once(release: Path, tmp_path: Path, expected: list, tables_first: bool) -> None:
    data = tar(release, tmp_path / "cv.tar.gz", tables_first).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("wb") as file:
            file.write(data)

    writer = threading.Thread(target=feed)
    writer.start()
    try:
        if tables_first:
            assert transcripts(imported(str(pipe), tmp_path / "corpus")) == expected
        else:
            with pytest.raises(InputError, match="a stream is read once, and this has its tables behind its clips"):
                imported(str(pipe), tmp_path / "corpus")
    finally:
        writer.join()


def test_what_no_source_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.zip: no such folder or archive"):
        imported(f"{tmp_path}/nowhere.zip", tmp_path / "corpus")
    with pytest.raises(InputError, match="is that of an archive, and this is a folder"):
        imported(f"{tmp_path}#sha256={'0' * 64}", tmp_path / "corpus")
