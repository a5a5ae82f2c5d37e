"""Checkpoints on their way to object storage: the order, a store that is away, what is deleted, and a kill."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.train.saving import uploads
from components.train.saving.uploads import WAITING, Kept, Uploads, patiently
from speech.artifacts import Checkpoint
from speech.errors import InputError, RetryError
from speech.model_files.checkpoints import read_state
from speech.storage import objects
from speech.storage.objects import client, download_folder, list_keys, upload_file
from tests.fixtures.gate import Gate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "checkpoints"
    made.mkdir()
    return made


@pytest.fixture
def start(folder: Path, s3_bucket: str) -> Iterator[Callable[..., Uploads]]:
    """Uploads of the folder to `running/` in the bucket."""
    made: list[Uploads] = []

    def begin(**options: object) -> Uploads:
        made.append(Uploads(folder, f"{s3_bucket}/running/", **options))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for one in made:
        one.close()


def bundle(folder: Path, name: str, text: str = "") -> str:
    for suffix in ("data-00000-of-00001", "index"):
        (folder / f"{name}.{suffix}").write_text(f"{name} {suffix} {text}")
    return name


def keys(bucket: str) -> list[str]:
    return [key.removeprefix("running/") for key, _ in list_keys(f"{bucket}/running/")]


def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is put and deleted from now on, in order."""
    names: list[str] = []
    put, delete = objects.upload_file, objects.delete_objects

    def noted_put(path: Path, uri: str, **options: bool) -> None:
        names.append(uri.rsplit("/", 1)[-1])
        put(path, uri, **options)

    def noted_delete(uris: Iterator[str], **options: bool) -> None:
        for uri in uris:
            names.append(f"- {uri.rsplit('/', 1)[-1]}")
            delete([uri], **options)

    monkeypatch.setattr(uploads, "upload_file", noted_put)
    monkeypatch.setattr(uploads, "delete_objects", noted_delete)
    return names


def test_state_files_come_behind_what_they_name_and_deletions_last(
    folder: Path, s3_bucket: str, start: Callable[..., Uploads], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = written(monkeypatch)
    for name in ("alphabet.txt", "loss.html"):
        (folder / name).write_text(name)
    going = start()
    going.submit(Kept((bundle(folder, "train-1"),), bundle(folder, "best_dev-1"), ("alphabet.txt",)))
    going.flush(60)
    assert names == [
        "alphabet.txt",
        "train-1.data-00000-of-00001",
        "train-1.index",
        "best_dev-1.data-00000-of-00001",
        "best_dev-1.index",
        "best_dev_checkpoint",
        "checkpoint",
    ]
    names.clear()
    kept = Kept((bundle(folder, "train-2"),), "best_dev-1", ("alphabet.txt",), ("loss.html",), ("train-1",))
    going.submit(kept)
    going.flush(60)
    assert names == [
        "train-2.data-00000-of-00001",
        "train-2.index",
        "checkpoint",
        "- train-1.index",
        "- train-1.data-00000-of-00001",
        "loss.html",
    ]
    going.close()
    assert not (folder / WAITING).exists()


def test_after_every_single_write_there_is_a_whole_checkpoint(
    folder: Path, tmp_path: Path, s3_bucket: str, start: Callable[..., Uploads], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another machine would find if this one were killed behind any write."""
    going = start()
    going.submit(Kept((bundle(folder, "train-1"),), bundle(folder, "best_dev-1")))
    going.flush(60)
    real_put, real_delete, seen = objects.upload_file, objects.delete_objects, []

    def look() -> None:
        there = tmp_path / f"there-{len(seen)}"
        download_folder(f"{s3_bucket}/running", there)
        for state_file in (Checkpoint.LAST, Checkpoint.BEST):
            for prefix in read_state(there, state_file):
                assert Path(f"{prefix}.index").is_file(), prefix
                assert Path(f"{prefix}.data-00000-of-00001").is_file()
        seen.append(Path(read_state(there, Checkpoint.LAST)[0]).name)

    monkeypatch.setattr(uploads, "upload_file", lambda *given, **more: (real_put(*given, **more), look()))
    monkeypatch.setattr(uploads, "delete_objects", lambda uris, **_: [(real_delete([uri]), look()) for uri in uris])
    new = Kept((bundle(folder, "train-2"),), bundle(folder, "best_dev-2"), outdated=("train-1", "best_dev-1"))
    going.submit(new)
    going.flush(60)
    assert seen[0] == "train-1"
    assert seen[-1] == "train-2"
    assert len(seen) == 10


def test_a_store_that_is_away_stops_nobody_and_gets_the_newest_when_it_is_back(
    folder: Path, s3_bucket: str, start: Callable[..., Uploads], wall: Gate, capsys: pytest.CaptureFixture
) -> None:
    going = start()
    going.submit(Kept((bundle(folder, "train-1"),)))
    going.flush(60)
    wall.shut()
    for step in (2, 3, 4):
        began = time.monotonic()
        going.submit(Kept((bundle(folder, f"train-{step}"),)))
        assert time.monotonic() - began < 0.5
        for path in folder.glob(f"train-{step - 1}.*"):
            path.unlink()  # as the store does
        time.sleep(0.5)
    with pytest.raises(RetryError, match=r"has not taken the newest checkpoint within 0\.2 s"):
        going.flush(0.2)
    wall.open()
    going.flush(60)
    assert "train-4.index" in keys(s3_bucket)
    assert client().get_object(Bucket=s3_bucket[5:], Key="running/checkpoint")["Body"].read() == (
        b'model_checkpoint_path: "train-4"\nall_model_checkpoint_paths: "train-4"\n'
    )
    said = capsys.readouterr().err
    assert "uploads wait, and are tried again every 0.1 s; the training goes on" in said
    assert "uploads go on after" in said


def test_what_waited_too_long_is_not_uploaded_and_not_named(
    folder: Path, s3_bucket: str, start: Callable[..., Uploads], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads are slower than checkpoints are made: the newest one goes, and the state file names what is there."""
    real, may_go = objects.upload_file, threading.Event()

    def slow(*given: object, **more: bool) -> None:
        may_go.wait(60)
        real(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(uploads, "upload_file", slow)
    going = start()
    for step in (1, 2, 3):
        going.submit(Kept(tuple(bundle(folder, f"train-{number}") for number in range(1, step + 1))))
        time.sleep(0.1)
    may_go.set()
    going.flush(60)
    assert [key for key in keys(s3_bucket) if key.endswith(".index")] == ["train-1.index", "train-3.index"]
    text = client().get_object(Bucket=s3_bucket[5:], Key="running/checkpoint")["Body"].read().decode()
    assert [line.split('"')[1] for line in text.splitlines()] == ["train-3", "train-1", "train-3"]


def test_only_what_the_run_wrote_is_deleted(folder: Path, s3_bucket: str, start: Callable[..., Uploads]) -> None:
    bundle(folder, "train-9", "of somebody else")
    for path in sorted(folder.glob("train-9.*")):
        upload_file(path, f"{s3_bucket}/running/{path.name}")
        path.unlink()
    going = start()
    going.submit(Kept((bundle(folder, "train-1"),), outdated=("train-9",)))
    going.flush(60)
    assert "train-9.index" in keys(s3_bucket)
    going = start(there=keys(s3_bucket))
    going.submit(Kept((bundle(folder, "train-2"),), outdated=("train-9",)))
    going.flush(60)
    assert "train-9.index" not in keys(s3_bucket)


def test_uploads_keep_their_distance_but_for_the_last(
    folder: Path, s3_bucket: str, start: Callable[..., Uploads]
) -> None:
    going = start(every_s=60)
    going.submit(Kept((bundle(folder, "train-1"),)))
    going.first()
    going.submit(Kept((bundle(folder, "train-2"),)))
    time.sleep(0.5)
    assert "train-2.index" not in keys(s3_bucket)
    going.flush(60)
    assert "train-2.index" in keys(s3_bucket)


def test_a_refusal_is_said_at_once(folder: Path, s3_bucket: str) -> None:
    going = Uploads(folder, "s3://no-such-bucket/running")
    (folder / "alphabet.txt").write_text("a\n")
    going.submit(Kept(before=("alphabet.txt",)))
    with pytest.raises(InputError, match=r"alphabet.txt: no such bucket"):
        going.first()
    going.close()


def test_a_store_that_is_away_at_first_is_no_refusal(
    folder: Path, s3_bucket: str, start: Callable[..., Uploads], wall: Gate
) -> None:
    wall.shut()
    going = start()
    (folder / "alphabet.txt").write_text("a\n")
    going.submit(Kept(before=("alphabet.txt",)))
    going.first()
    wall.open()
    going.flush(60)
    assert keys(s3_bucket) == ["alphabet.txt"]


def test_patience(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(uploads, "RETRY_S", 0.05)
    tried: list[float] = []

    def third_time() -> str:
        tried.append(time.monotonic())
        if len(tried) < 3:
            raise RetryError("s3://x: away")
        return "there"

    assert patiently(third_time, 10) == "there"
    assert capsys.readouterr().err.count("s3://x: away: tried again every 0.05 s") == 1
    tried.clear()
    with pytest.raises(RetryError, match="away"):
        patiently(third_time, 0)
