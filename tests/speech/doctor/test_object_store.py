"""The doctor's attempts at an object store: what it finds, and that nothing stays."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from speech.doctor.checks import OK, PROBLEM
from speech.doctor.object_store import checks
from speech.storage.objects import client, list_keys, split_uri
from tests.fixtures.ports import free_ports

TRIED = ["list", "write", "read", "put-if-absent", "multipart", "delete"]


def test_a_store_that_does_all_and_keeps_nothing(s3_bucket) -> None:
    found = list(checks(f"{s3_bucket}/a/prefix"))
    assert [(check.subject, check.state) for check in found] == [(f"object store: {name}", OK) for name in TRIED]
    assert list_keys(s3_bucket) == []
    bucket, _ = split_uri(s3_bucket)
    assert client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_versions_do_not_stay_either(s3_bucket) -> None:
    bucket, _ = split_uri(s3_bucket)
    client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert {check.state for check in checks(s3_bucket)} == {OK}
    answer = client().list_object_versions(Bucket=bucket)
    assert answer.get("Versions", []) == answer.get("DeleteMarkers", []) == []


def test_a_bucket_that_is_not_there(s3_bucket) -> None:
    (check,) = checks(f"{s3_bucket}-other/a")
    assert check.state == PROBLEM
    assert "no such bucket" in check.found


def test_a_path_is_no_prefix() -> None:
    (check,) = checks("/tmp/folder")
    assert check.found == "--s3 /tmp/folder: expected s3://BUCKET/PREFIX"


def test_a_store_that_ignores_the_condition_is_named(s3_bucket, monkeypatch) -> None:
    put = client(2).put_object
    monkeypatch.setattr(client(2), "put_object", lambda IfNoneMatch="", **more: put(**more))
    found = {check.subject: check for check in checks(s3_bucket)}
    assert found["object store: put-if-absent"].state == PROBLEM
    assert "If-None-Match" in found["object store: put-if-absent"].advice
    assert found["object store: multipart"].state == OK
    assert list_keys(s3_bucket) == []


@pytest.fixture
def strict_endpoint() -> Iterator[str]:
    """An S3 server that knows no user, and so refuses everybody."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/").close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_wrong_credentials_are_named(strict_endpoint, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", strict_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    (check,) = checks("s3://bucket/prefix")
    assert check.state == PROBLEM
    assert check.found == "list below s3://bucket/prefix: unknown access key: check AWS_ACCESS_KEY_ID"


def test_a_server_that_is_not_there_is_named(monkeypatch) -> None:
    (port,) = free_ports(1)
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    (check,) = checks("s3://bucket/prefix")
    assert check.state == PROBLEM
    assert check.found == (
        f"list below s3://bucket/prefix: no connection to http://127.0.0.1:{port}/bucket: is AWS_ENDPOINT_URL right, "
        "and the server running?"
    )
