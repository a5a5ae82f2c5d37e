"""Transfers: in parts, checked, and going on after kills and breaks."""

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from speech.errors import InputError, RetryError
from speech.storage import objects, transfer

PART = 5 << 20  # the least that S3 takes


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", PART)
    monkeypatch.setattr(transfer, "RETRY_DELAY_S", 0.001)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * PART + 1234))
    return path


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 7])
def test_files_of_any_size_come_back(size, tmp_path, s3_bucket) -> None:
    (tmp_path / "up").write_bytes(os.urandom(size))
    objects.upload_file(tmp_path / "up", f"{s3_bucket}/x")
    objects.download_file(f"{s3_bucket}/x", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == (tmp_path / "up").read_bytes()
    bucket, _ = objects.split_uri(s3_bucket + "/x")
    head = objects.client().head_object(Bucket=bucket, Key="x")
    sha256, etag = transfer.digests(tmp_path / "up")
    assert head["ETag"].strip('"') == etag
    assert head["Metadata"]["sha256"] == sha256 == hashlib.sha256((tmp_path / "up").read_bytes()).hexdigest()
    assert sorted(os.listdir(tmp_path)) == ["down", "up"]


class Breaking:
    """A client whose answers break off; everything else is the real one's."""

    def __init__(self, breaks: int, after_bytes: int = 1 << 20) -> None:
        self.client, self.breaks, self.after_bytes = objects.client(), breaks, after_bytes
        self.ranges: list[str] = []
        self.lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def get_object(self, **given: Any) -> dict[str, Any]:
        answer = self.client.get_object(**given)
        with self.lock:
            self.ranges.append(given["Range"])
            self.breaks -= 1
            broken = self.breaks >= 0
        if not broken:
            return answer
        data = answer["Body"].read()[: self.after_bytes]

        class Body:
            @staticmethod
            def iter_chunks(size: int) -> Any:
                yield data
                raise OSError("connection reset")

        return {**answer, "Body": Body}


def test_a_part_that_breaks_off_is_gone_on_with(file, tmp_path, s3_bucket) -> None:
    objects.upload_file(file, f"{s3_bucket}/x")
    client = Breaking(breaks=3)
    transfer.download(client, s3_bucket[5:], "x", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == file.read_bytes()
    starts = [int(text.partition("=")[2].partition("-")[0]) for text in client.ranges]
    assert 4 < len(starts) <= 4 + 3  # the short last part may have been whole when it broke
    assert sum(start % PART == 1 << 20 for start in starts) >= 1  # asked for what was missing, not for the whole part


def test_a_break_behind_the_last_byte_is_none(file, tmp_path, s3_bucket) -> None:
    objects.upload_file(file, f"{s3_bucket}/x")
    client = Breaking(breaks=4, after_bytes=PART)
    transfer.download(client, s3_bucket[5:], "x", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == file.read_bytes()
    assert len(client.ranges) == 4


def test_a_killed_download_fetches_what_is_missing(file, tmp_path, s3_bucket, monkeypatch) -> None:
    objects.upload_file(file, f"{s3_bucket}/x")
    monkeypatch.setattr(transfer, "CONNECTIONS", 1)
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    client = Breaking(breaks=0)
    real = client.client.get_object

    def first_two(**given: Any) -> Any:
        if given["Range"].startswith(f"bytes={2 * PART}-"):
            raise OSError("killed")
        return real(**given)

    monkeypatch.setattr(client, "get_object", first_two)
    with pytest.raises(RetryError, match=rf"x: broke off at byte {2 * PART}: killed"):
        transfer.download(client, s3_bucket[5:], "x", tmp_path / "down")
    assert not (tmp_path / "down").exists()
    again = Breaking(breaks=0)
    transfer.download(again, s3_bucket[5:], "x", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == file.read_bytes()
    assert sorted(again.ranges) == [f"bytes={2 * PART}-{3 * PART - 1}", f"bytes={3 * PART}-{3 * PART + 1233}"]
    assert sorted(os.listdir(tmp_path)) == ["down", "file"]


def test_an_object_that_was_replaced_is_begun_anew(file, tmp_path, s3_bucket) -> None:
    objects.upload_file(file, f"{s3_bucket}/x")
    client = Breaking(breaks=0)
    head = client.client.head_object(Bucket=s3_bucket[5:], Key="x")
    fetch = transfer._Fetch(client, s3_bucket[5:], "x", '"0123"', head["ContentLength"], -1)
    with pytest.raises(RetryError, match="was replaced while it was read"):
        fetch.part(0)


def test_damage_on_the_way_is_noticed(file, tmp_path, s3_bucket) -> None:
    client, bucket = objects.client(), s3_bucket[5:]
    client.put_object(Bucket=bucket, Key="x", Body=b"other", Metadata={"sha256": transfer.digests(file)[0]})
    with pytest.raises(RetryError, match="came damaged"):
        objects.download_file(f"{s3_bucket}/x", tmp_path / "down")
    assert os.listdir(tmp_path) == ["file"]
    client.put_object(Bucket=bucket, Key="foreign", Body=b"other")  # not uploaded by us: nothing to compare with
    objects.download_file(f"{s3_bucket}/foreign", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"other"


def test_an_upload_that_arrives_damaged_is_repeated(file, s3_bucket, monkeypatch) -> None:
    client, bucket = objects.client(), s3_bucket[5:]
    calls = []

    class Flipping:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def upload_file(self, path: str, *arguments: Any, **named: Any) -> None:
            calls.append(path)
            if len(calls) == 1:
                client.put_object(Bucket=bucket, Key="x", Body=bytes(file.stat().st_size))
            else:
                client.upload_file(path, *arguments, **named)

    transfer.upload(Flipping(), file, bucket, "x", {})
    assert len(calls) == 2
    assert client.get_object(Bucket=bucket, Key="x")["Body"].read() == file.read_bytes()


def test_an_upload_that_always_arrives_damaged_may_work_later_and_a_refused_one_never(file, s3_bucket) -> None:
    client, bucket = objects.client(), s3_bucket[5:]

    class Losing:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def upload_file(self, path: str, bucket: str, key: str, **named: Any) -> None:
            client.put_object(Bucket=bucket, Key=key, Body=b"cut off")

    with pytest.raises(RetryError, match=r"s3://.*/x: could not be written: what arrived differs \(ETag "):
        transfer.upload(Losing(), file, bucket, "x", {})
    with pytest.raises(ClientError, match="NoSuchBucket"):
        transfer.upload(client, file, "no-such-bucket-anywhere", "x", {})


def test_the_first_of_several_failures_ends_the_others() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.002)
        raise InputError(f"file {number}")

    with pytest.raises(InputError, match="file 0"):
        transfer.each(work, range(1000))
    assert len(begun) < 1000


def test_encryption_is_asked_for(file, s3_bucket, monkeypatch) -> None:
    monkeypatch.setenv("SPEECHMILL_S3_SSE", "aws:kms")
    monkeypatch.setenv("SPEECHMILL_S3_SSE_KMS_KEY_ID", "key-1")
    objects.upload_file(file, f"{s3_bucket}/x")
    head = objects.client().head_object(Bucket=s3_bucket[5:], Key="x")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "key-1")
    monkeypatch.setenv("SPEECHMILL_S3_SSE", "rot13")
    with pytest.raises(InputError, match="SPEECHMILL_S3_SSE=rot13 is not allowed"):
        objects.upload_file(file, f"{s3_bucket}/y")


def test_the_ca_bundle_of_the_environment_is_the_client_s(monkeypatch, s3_bucket, tmp_path) -> None:
    (tmp_path / "ca.crt").write_text("")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.crt"))
    assert objects.client()._endpoint.http_session._verify == str(tmp_path / "ca.crt")


def test_clients_follow_the_environment(s3_bucket, monkeypatch) -> None:
    before = objects.client()
    assert objects.client() is before
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert objects.client() is not before


def test_two_downloads_to_one_place_do_not_mix(file, tmp_path, s3_bucket) -> None:
    objects.upload_file(file, f"{s3_bucket}/x")
    transfer.each(lambda _: objects.download_file(f"{s3_bucket}/x", tmp_path / "down"), range(3))
    assert (tmp_path / "down").read_bytes() == file.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["down", "file"]


def test_folders_keep_their_marker_for_last(tmp_path, s3_bucket, monkeypatch) -> None:
    for name in ("a", "b/c", "marker", "z"):
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_text(name)
    order: list[str] = []
    upload = objects.upload_file
    monkeypatch.setattr(objects, "upload_file", lambda path, uri: (upload(path, uri), order.append(path.name)))
    objects.upload_folder(tmp_path / "up", f"{s3_bucket}/run", last="marker")
    assert order[-1] == "marker"
    assert sorted(order) == ["a", "c", "marker", "z"]
    objects.download_folder(f"{s3_bucket}/run", tmp_path / "down")
    assert (tmp_path / "down" / "b" / "c").read_text() == "b/c"


def test_a_server_that_is_not_there_is_worth_another_attempt(tmp_path, s3_bucket, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RetryError, match="is AWS_ENDPOINT_URL right, and the server running"):
        objects.list_keys(f"{s3_bucket}/x")
