"""Objects on an S3 server."""

import os

import pytest

from speech.errors import InputError, RetryError
from speech.storage import objects
from tests.faults.faulty_store import Fault, FaultyStore


def test_uris() -> None:
    assert objects.is_remote("s3://b/k")
    assert not objects.is_remote("/b/k")
    assert objects.split_uri("s3://bucket/a/b") == ("bucket", "a/b")
    with pytest.raises(InputError, match="s3://BUCKET/KEY"):
        objects.split_uri("http://x/y")


@pytest.mark.parametrize("key", ["a#b?c d+e%20f", "x;y=1&z", "a//b", "/a", "ñ\u4f60", "a\tb", "?", "#x/y"])
def test_all_behind_the_bucket_is_the_key(key: str) -> None:
    assert objects.split_uri(f"s3://bucket/{key}") == ("bucket", key)


@pytest.mark.parametrize("key", ["a#b?c d+e%20f", "r;v=1/x&y#z.bin", "w?x=1/#"])
def test_keys_with_characters_of_uris(tmp_path, s3_bucket: str, key: str) -> None:
    """Each way to an object meets the same one; a cut key would be another."""
    (tmp_path / "source").write_bytes(b"whole")
    objects.upload_file(tmp_path / "source", f"{s3_bucket}/{key}")
    bucket = s3_bucket.removeprefix("s3://")
    assert objects.client().get_object(Bucket=bucket, Key=key)["Body"].read() == b"whole"
    assert objects.list_keys(f"{s3_bucket}/{key}") == [(key, 5)]
    objects.download_file(f"{s3_bucket}/{key}", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"whole"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a#b").write_bytes(b"1")
    objects.upload_folder(tmp_path / "folder", f"{s3_bucket}/below {key}")
    objects.download_folder(f"{s3_bucket}/below {key}", tmp_path / "back")
    assert (tmp_path / "back/a#b").read_bytes() == b"1"
    objects.delete_objects([f"{s3_bucket}/{key}"])
    assert objects.list_keys(f"{s3_bucket}/{key}") == []


@pytest.mark.parametrize("name", ["/x", "../x", "a/../../x", "a//x", "./x", "a/./x", f"{'x' * 256}/y", "{outside}/x"])
def test_an_object_cannot_choose_where_it_lands(tmp_path, s3_bucket: str, name: str) -> None:
    name = name.format(outside=tmp_path / "outside")
    for key in (f"prefix/{name}", "prefix/good"):
        objects.client().put_object(Bucket=s3_bucket.removeprefix("s3://"), Key=key, Body=b"!")
    with pytest.raises(InputError, match="is no path of a file below a folder: rename it"):
        objects.download_folder(f"{s3_bucket}/prefix", tmp_path / "a/b/folder")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_markers_of_folders_and_twins_of_files(tmp_path, s3_bucket: str) -> None:
    bucket = s3_bucket.removeprefix("s3://")
    for key in ("p/", "p/sub/", "p/sub/x"):
        objects.client().put_object(Bucket=bucket, Key=key, Body=b"")
    objects.download_folder(f"{s3_bucket}/p", tmp_path / "folder")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x"]
    objects.client().put_object(Bucket=bucket, Key="p/sub", Body=b"")
    with pytest.raises(InputError, match="'sub' there is a file and a folder at once"):
        objects.download_folder(f"{s3_bucket}/p", tmp_path / "folder")


def test_folders_round_trip_through_s3(tmp_path, s3_bucket: str) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "marker.json").write_text("{}")
    (source / "sub/z.bin").write_bytes(bytes(1000))
    objects.upload_folder(source, f"{s3_bucket}/run", last="marker.json")
    target = objects.local_folder(f"{s3_bucket}/run", tmp_path / "scratch")
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()) == [
        "marker.json",
        "sub/z.bin",
    ]
    assert (target / "sub/z.bin").read_bytes() == bytes(1000)


def test_missing_objects_and_buckets_are_one_line(tmp_path, s3_bucket: str) -> None:
    with pytest.raises(InputError, match="/none: no such object"):
        objects.download_file(f"{s3_bucket}/none", tmp_path / "x")
    with pytest.raises(InputError, match="no objects under this prefix"):
        objects.download_folder(f"{s3_bucket}/none", tmp_path / "folder")
    with pytest.raises(InputError, match="no such bucket"):
        objects.list_keys("s3://other/x")
    assert os.listdir(tmp_path) == []


def refused(code: str, status: int) -> Exception:
    from botocore.exceptions import ClientError

    answer = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")  # type: ignore[arg-type]


def test_faults_that_pass_are_worth_another_attempt() -> None:
    """Cut answers, busy stores and requests that arrived damaged end with 75, refusals of what is asked with 2."""
    import botocore.exceptions as errors
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import ProtocolError

    passing = [
        errors.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        errors.ResponseStreamingError(error="cut"),
        errors.ConnectTimeoutError(endpoint_url="u"),
        errors.ChecksumError(checksum_type="crc32", expected_checksum="a", actual_checksum="b"),
        ResponseParserError("Unable to parse response"),
        ProtocolError("cut"),
        ConnectionResetError("cut"),
        refused("SlowDown", 503),
        refused("InternalError", 500),
        refused("RequestTimeout", 400),
        refused("TooManyRequests", 429),
        refused("429", 429),
        refused("BadDigest", 400),
        refused("IncompleteBody", 400),
    ]
    lasting = [refused("NoSuchKey", 404), refused("AccessDenied", 403), refused("InvalidArgument", 400),
               errors.NoCredentialsError()]  # fmt: skip
    for kind, faults in ((RetryError, passing), (InputError, lasting)):
        for fault in faults:
            with pytest.raises(kind, match="s3://bucket/key"), objects.storage_errors("s3://bucket/key"):
                raise fault


def test_a_record_that_comes_damaged_is_asked_for_again(s3_endpoint: str, s3_bucket: str, monkeypatch) -> None:
    store = FaultyStore(s3_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
    uri = f"{s3_bucket}/champions/1.json"
    objects.write_object(uri, b'{"version": 1}')
    for kind in ("bit flipped in the answer", "answer truncated"):
        with store.fault("champions", Fault(kind, times=2)) as fault:
            assert objects.read_object(uri) == b'{"version": 1}'
        assert fault.happened == 2
        with store.fault("champions", Fault(kind, times=9)), pytest.raises(RetryError, match=r"1\.json came damaged"):
            objects.read_object(uri)
    with store.fault("champions", Fault("bit flipped in the request")) as fault:  # the store refuses it
        objects.write_object(uri, b'{"version": 2}')
    assert fault.happened == 1
    assert objects.read_object(uri) == b'{"version": 2}'
    store.close()


def test_what_others_put_has_an_etag_that_may_be_none_of_its_content(s3_bucket: str, monkeypatch) -> None:
    bucket = s3_bucket.removeprefix("s3://")
    objects.client().put_object(Bucket=bucket, Key="of-others", Body=b"text")
    assert objects.read_object(f"{s3_bucket}/of-others") == b"text"
    monkeypatch.setattr(objects.transfer, "md5", lambda data: "0" * 32)  # as with encryption by a store's own keys
    assert objects.read_object(f"{s3_bucket}/of-others") == b"text"
