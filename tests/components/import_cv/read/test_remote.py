"""Releases in an object store, against an S3 server."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.import_cv import step
from components.import_cv.__main__ import Command, run
from components.import_cv.read import remote
from components.import_cv.settings import ImportSettings
from speech.artifacts import Corpus
from speech.errors import InputError, RetryError
from speech.settings import parse
from speech.storage import streams
from speech.storage.objects import delete_objects, download_folder, list_keys, upload_file, upload_folder, write_object

MakeRelease = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def packed(release: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted(release.rglob("*")):
            tar.add(file, f"{release.parent.name}/{release.name}/{file.relative_to(release)}", recursive=False)
    return path


def test_a_folder_of_objects(make_release: MakeRelease, tmp_path: Path, s3_bucket: str) -> None:
    release = make_release(train=20, name="cv/xx")
    upload_folder(release, f"{s3_bucket}/cv/xx")
    local = step.run(ImportSettings(), str(release), tmp_path / "local")
    corpus = step.run(ImportSettings(), f"{s3_bucket}/cv/xx/", tmp_path / "remote")
    assert contents(corpus.folder) == contents(local.folder)


def test_faults_of_a_folder_of_objects(make_release: MakeRelease, tmp_path: Path, s3_bucket: str) -> None:
    release = make_release(train=6)
    (release / "clips/clip_00001.mp3").unlink()
    (release / "clips/clip_00002.mp3").write_bytes(bytes(300_000))
    upload_folder(release, f"{s3_bucket}/xx")
    corpus = step.run(ImportSettings(max_clip_mb=0.2), f"{s3_bucket}/xx", tmp_path / "corpus")
    assert {name: found["count"] for name, found in corpus.report["reasons"].items()} == {"missing": 1, "too_big": 1}
    with pytest.raises(InputError, match=r"no train\.tsv, dev\.tsv, test\.tsv"):
        step.run(ImportSettings(), f"{s3_bucket}/nothing", tmp_path / "nothing")


def test_an_archive_object(make_release: MakeRelease, tmp_path: Path, s3_bucket: str) -> None:
    release = make_release(train=20, name="cv/xx")
    archive = packed(release, tmp_path / "cv.tar.gz")
    upload_file(archive, f"{s3_bucket}/releases/cv.tar.gz")
    local = step.run(ImportSettings(), str(archive), tmp_path / "local")
    corpus = step.run(ImportSettings(), f"{s3_bucket}/releases/cv.tar.gz", tmp_path / "remote")
    assert contents(corpus.folder) == contents(local.folder)
    with pytest.raises(InputError, match="no such object"):
        step.run(ImportSettings(), f"{s3_bucket}/releases/other.tar.gz", tmp_path / "other")


def test_a_stream_goes_on_where_the_connection_broke(
    tmp_path: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * 2000
    (tmp_path / "object").write_bytes(data)
    upload_file(tmp_path / "object", f"{s3_bucket}/object")
    opened = []

    class Breaking:
        def __init__(self, body: Any) -> None:
            self.body, self.reads = body, 0

        def read(self, size: int) -> bytes:
            self.reads += 1
            if self.reads > 3:
                raise ConnectionResetError("reset by peer")
            return self.body.read(min(size, 50_000))

    original = remote.RemoteStream._open

    def breaking(stream: remote.RemoteStream) -> Breaking:
        opened.append(stream._position)
        return Breaking(original(stream))

    monkeypatch.setattr(remote.RemoteStream, "_open", breaking)
    monkeypatch.setattr(streams, "RETRY_DELAY_S", 0.001)
    with io.BufferedReader(remote.RemoteStream(f"{s3_bucket}/object"), 100_000) as stream:
        assert stream.read() == data
    assert opened[0] == 0
    assert len(opened) > 3
    assert opened == sorted(set(opened))  # each time further on


def test_a_stream_that_never_answers_gives_up(tmp_path: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "object").write_bytes(b"x" * 100)
    upload_file(tmp_path / "object", f"{s3_bucket}/object")

    def refusing(stream: remote.RemoteStream) -> Any:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(remote.RemoteStream, "_open", refusing)
    monkeypatch.setattr(streams, "RETRY_DELAY_S", 0.001)
    with pytest.raises(RetryError, match="broke off at byte 0: reset by peer"):
        remote.RemoteStream(f"{s3_bucket}/object").read(10)


def test_everything_may_be_remote(make_release: MakeRelease, tmp_path: Path, s3_bucket: str) -> None:
    release = make_release(train=8, name="cv/xx")
    upload_file(packed(release, tmp_path / "cv.tar.gz"), f"{s3_bucket}/cv.tar.gz")
    (tmp_path / "alphabet.txt").write_text("".join(f"{symbol}\n" for symbol in " abcdefghijklmnopqrstuvwxyz"))
    upload_file(tmp_path / "alphabet.txt", f"{s3_bucket}/settings/alphabet.txt")
    flags = {"filter_alphabet": f"{s3_bucket}/settings/alphabet.txt"}
    run(Command(tsv_dir=f"{s3_bucket}/cv.tar.gz", corpus_dir=f"{s3_bucket}/corpus", **flags))
    download_folder(f"{s3_bucket}/corpus", tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    assert len(corpus.manifest("train")) == 8
    assert len(corpus.alphabet) == 27
    for number in (1, 2):
        run(
            Command(
                tsv_dir=f"{s3_bucket}/cv.tar.gz",
                corpus_dir=f"{s3_bucket}/part{number}",
                partition=f"{number}/2",
                previous=f"{s3_bucket}/corpus",
                **flags,
            )
        )
    run(Command(merge=(f"{s3_bucket}/part1", f"{s3_bucket}/part2"), corpus_dir=f"{s3_bucket}/merged"))
    download_folder(f"{s3_bucket}/merged", tmp_path / "merged")
    merged = contents(tmp_path / "merged")
    assert merged["train.csv"] == corpus.csv("train").read_bytes()
    assert Corpus.open(tmp_path / "merged").report["audio"]["converted"] == 0


def test_objects_of_others_stay(make_release: MakeRelease, s3_bucket: str) -> None:
    """One with the name of an output ends the import before its work; those of an earlier import are replaced."""
    release, uri = make_release(train=6, dev=2), f"{s3_bucket}/corpora/xx"

    def call(*flags: str) -> None:
        run(parse(Command, [str(release), "--corpus_dir", uri, *flags], prog="import_cv", description=""))

    for name in ("train.csv", "alphabet.txt", "import_report.json"):
        write_object(f"{uri}/{name}", b"theirs")
        with pytest.raises(InputError, match=f"{name} would be replaced, .* give another --corpus_dir"):
            call()
        assert [key for key, _ in list_keys(f"{uri}/")] == [f"corpora/xx/{name}"]
        delete_objects([f"{uri}/{name}"])
    write_object(f"{uri}/shards/other.tar", b"theirs")
    call("--sets", "train,dev")
    before = {key for key, _ in list_keys(f"{uri}/")}
    call("--sets", "train,dev")
    assert {key for key, _ in list_keys(f"{uri}/")} == before
    call("--sets", "train", "--layout", "clips")
    after = {key.removeprefix("corpora/xx/") for key, _ in list_keys(f"{uri}/")}
    assert {name for name in after if name.endswith((".tar", ".csv"))} == {
        "train.csv", "import_index.csv", "shards/other.tar",
    }  # fmt: skip


def test_a_missing_bucket_is_not_a_missing_object(s3_bucket: str) -> None:
    """What an archive is asked for first is a HEAD, whose answer does not say which of both it is."""
    with pytest.raises(InputError, match="no such bucket"):
        remote.RemoteStream("s3://no-such-bucket-here/cv.tar.gz")
    with pytest.raises(InputError, match="no such object"):
        remote.RemoteStream(f"{s3_bucket}/cv.tar.gz")


def test_a_busy_store_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip that the store would not give for now ends the import with 75, not with 2."""
    from botocore.exceptions import ClientError

    class Busy:
        def get_object(self, **_: object) -> None:
            raise ClientError(
                {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}},  # type: ignore[typeddict-item]
                "GetObject",
            )

    monkeypatch.setattr(remote, "client", lambda **_: Busy())
    monkeypatch.setattr(remote, "RETRY_DELAY_S", 0.0)
    with pytest.raises(RetryError, match=r"s3://bucket/clips: .*a\.mp3"):
        list(remote.RemoteLoader("s3://bucket/clips").load(["a.mp3"], 1000))


def test_code_from_an_object_store_is_not_run(make_release: MakeRelease, tmp_path: Path, s3_bucket: str) -> None:
    """Who may write into a bucket may not run code where the import runs."""
    trace = tmp_path / "ran"
    (tmp_path / "rules.py").write_text(f"open({str(trace)!r}, 'w')\ndef validate_label(label): return label\n")
    upload_file(tmp_path / "rules.py", f"{s3_bucket}/rules.py")
    settings = ImportSettings(validate_label_locale=f"{s3_bucket}/rules.py")
    with pytest.raises(InputError, match=r"rules\.py: expected a local file: it is code"):
        step.run(settings, str(make_release()), tmp_path / "corpus")
    assert not trace.exists()


@pytest.mark.parametrize("etag", ["md5", "another kind"])
def test_clips_that_arrive_damaged_are_fetched_again(etag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped bit would be heard as noise; a store whose ETags are no MD5 is believed when it says the same twice."""
    whole, given = b"the clip", [b"the cl\xe9p", b"the clip", b"the clip"]
    mark = hashlib.md5(whole if etag == "md5" else b"else").hexdigest()

    class Store:
        def get_object(self, **_: object) -> dict[str, Any]:
            return {"ContentLength": len(whole), "Body": io.BytesIO(given.pop(0)), "ETag": f'"{mark}"'}

    monkeypatch.setattr(remote, "client", lambda **_: Store())
    monkeypatch.setattr(remote, "RETRY_DELAY_S", 0.0)
    assert list(remote.RemoteLoader("s3://bucket/clips").load(["a.mp3"], 1000)) == [whole]
    assert len(given) == (1 if etag == "md5" else 0)
