"""Local files and object storage: atomic writes, and every path flag's `s3://` form."""

import base64
import contextlib
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from speech.errors import InputError, RetryError
from speech.storage import transfer
from speech.storage.listings import Listed, listing
from speech.storage.retries import attempts

GS_ENDPOINT = "https://storage.googleapis.com"


def is_stored(uri: str | os.PathLike[str]) -> bool:
    """Whether `uri` is in an object store that can be read from: `s3://`, or `gs://` by its S3 interface."""
    return str(uri).startswith(("s3://", "gs://"))


def is_remote(uri: str | os.PathLike[str]) -> bool:
    """Whether `uri` is an `s3://` URI rather than a local path."""
    return str(uri).startswith("s3://")


def of_artifact_store(uri: str) -> str:
    """The URI of an artifact as Kubeflow writes it (`minio://BUCKET/KEY`, maybe a query behind) as an `s3://` URI.

    Anything else, such as a local path, is returned as it is.
    """
    scheme, mark, rest = uri.partition("://")
    return f"s3://{rest.partition('?')[0].rstrip('/')}" if mark and scheme in ("minio", "s3", "gs") else uri


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/some/key` -> (`bucket`, `some/key`).

    All behind the bucket's slash is the key, as it is: `?`, `#`, `%20` and doubled slashes are characters of keys.
    """
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not is_stored(uri) or not bucket:
        raise InputError(f"{uri} is not an object-store URI: expected s3://BUCKET/KEY")
    return bucket, key


def local_names(uri: str, names: Iterable[str]) -> list[str]:
    """`names`, what keys hold behind the prefix `uri`, as relative paths of files; markers of folders are left out.

    Who can write into a bucket chooses its keys: raises InputError for one that would lead to another place than a
    file of its own below a folder.
    """
    files = [name for name in names if name and not name.endswith("/")]
    folders = {name[:end] for name in files for end, character in enumerate(name) if character == "/"}
    for name in files:
        if any(part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > 255 for part in name.split("/")):
            problem = "is no path of a file below a folder"
        elif name in folders:
            problem = "is a file and a folder at once"
        else:
            continue
        raise InputError(f"{uri}: the object {name!r} there {problem}: rename it, or name a prefix without it")
    return files


READ_TIMEOUT_S = 60  # a server that is silent for longer is asked again, on another connection
CONNECT_TIMEOUT_S = 10


def client(attempts: int = 8, *, uri: str = "") -> Any:
    """An S3 client set up by the usual AWS_* variables (AWS_ENDPOINT_URL for any other S3 server).

    AWS_CA_BUNDLE names the certificates of a private authority. For a `gs://` URI, it is Google's S3 interface at
    SPEECHMILL_GS_ENDPOINT_URL, with the HMAC key SPEECHMILL_GS_ACCESS_KEY_ID and SPEECHMILL_GS_SECRET_ACCESS_KEY
    instead, where they are set.
    """
    prefixes = ("AWS_", "SPEECHMILL_GS_") if uri.startswith("gs://") else ("AWS_",)
    settings = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(prefixes)))
    return _client(settings, os.getpid(), attempts, uri.startswith("gs://"))


@functools.lru_cache(maxsize=4)
def _client(settings: tuple[tuple[str, str], ...], process: int, attempts: int, google: bool) -> Any:
    """One client for each surrounding: making one takes longer than most calls, and a fork must not share it."""
    import boto3
    from botocore.config import Config

    from speech.storage.s3_answers import checked_session

    # Older servers (Ceph 16) refuse the checksums that botocore appends to uploads by default; ours are in transfer.py.
    given = dict(settings)
    config = Config(
        request_checksum_calculation=given.get("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
        response_checksum_validation=given.get("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required"),
        retries={"max_attempts": attempts, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        tcp_keepalive=True,
        max_pool_connections=transfer.CONNECTIONS * transfer.FILES_AT_ONCE,
    )
    session = boto3.session.Session(botocore_session=checked_session())
    return session.client("s3", config=config, **(_google(given) if google else {}))


def _google(given: Mapping[str, str]) -> dict[str, str]:
    """What makes a client one of Google's, as arguments of boto3's."""
    names = {"aws_access_key_id": "ACCESS_KEY_ID", "aws_secret_access_key": "SECRET_ACCESS_KEY"}
    keys = {name: given[f"SPEECHMILL_GS_{key}"] for name, key in names.items() if f"SPEECHMILL_GS_{key}" in given}
    return {"endpoint_url": given.get("SPEECHMILL_GS_ENDPOINT_URL", GS_ENDPOINT), "region_name": "auto", **keys}


def encryption() -> dict[str, str]:
    """What SPEECHMILL_S3_SSE (AES256 or aws:kms) and SPEECHMILL_S3_SSE_KMS_KEY_ID ask for, as arguments of a put."""
    return transfer.encryption(
        os.environ.get("SPEECHMILL_S3_SSE", ""), os.environ.get("SPEECHMILL_S3_SSE_KMS_KEY_ID", "")
    )


@contextlib.contextmanager
def storage_errors(uri: str) -> Iterator[None]:
    """Turn the object store's refusals into one clear line that names the URI."""
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, SSLError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "?")
        meaning = {
            "404": "no such object",
            "NoSuchKey": "no such object",
            "NoSuchBucket": "no such bucket",
            "403": "access denied: check the credentials and the bucket's policy",
            "AccessDenied": "access denied: check the credentials and the bucket's policy",
            "InvalidAccessKeyId": "unknown access key: check AWS_ACCESS_KEY_ID",
            "SignatureDoesNotMatch": "wrong secret key: check AWS_SECRET_ACCESS_KEY",
        }.get(code, str(error))
        if is_transient(error.response):
            raise RetryError(f"{uri}: {meaning}") from error
        raise InputError(f"{uri}: {meaning}") from error
    except SSLError as error:
        raise InputError(f"{uri}: {error} (AWS_CA_BUNDLE names the certificates of a private authority)") from error
    except EndpointConnectionError as error:
        address = error.kwargs["endpoint_url"].partition("?")[0]
        raise RetryError(
            f"{uri}: no connection to {address}: is AWS_ENDPOINT_URL right, and the server running?"
        ) from error
    except transfer.broken_answers() as error:
        raise RetryError(f"{uri}: the connection broke: {error}") from error
    except BotoCoreError as error:
        raise InputError(
            f"{uri}: {error} (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say where and as whom)"
        ) from error


# Refusals that another attempt may cure although their status is below 500.
TRANSIENT_CODES = frozenset(
    (
        *("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"),
        *("TooManyRequests", "RequestThrottled", "RequestThrottledException"),
        *("BadDigest", "IncompleteBody", "OperationAborted"),
    )
)
TRANSIENT_STATUS = (408, 425, 429)


def is_transient(answer: Mapping[str, Any]) -> bool:
    """Whether a store that answered so may answer otherwise if asked again."""
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = answer.get("Error", {}).get("Code", "")
    return status >= 500 or status in TRANSIENT_STATUS or code in TRANSIENT_CODES


READ_ATTEMPTS = 3  # of a small object that comes damaged
READ_DELAY_S = 0.2
IMPATIENT = 2  # attempts of a call that somebody else tries again


def list_keys(uri: str, *, patient: bool = True) -> list[tuple[str, int]]:
    """The (key, size in bytes) of every object under `uri`, in key order.

    Without patience a store that is away shows within seconds.
    """
    return [(key, listed.size) for key, listed in list_objects(uri, patient=patient).items()]


def list_objects(uri: str, delimiter: str = "", *, patient: bool = True) -> dict[str, Listed]:
    """What is known of every object under `uri`, by its key and in key order.

    With the delimiter `/` not of those in folders below.
    """
    bucket, prefix = split_uri(uri)
    with storage_errors(uri):
        return listing(client(uri=uri) if patient else client(IMPATIENT, uri=uri), bucket, prefix, delimiter)


def list_folder(uri: str) -> list[str]:
    """The names of the objects directly under `uri/`, without those in folders below."""
    below = f"{uri.rstrip('/')}/"
    prefix = split_uri(below)[1]
    return [key[len(prefix) :] for key in list_objects(below, "/") if key != prefix]


def read_object(uri: str) -> bytes | None:
    """The content of a small object; None if there is none. Raises RetryError for one that comes damaged."""
    from botocore.exceptions import ClientError

    bucket, key = split_uri(uri)
    before: bytes | None = None
    with storage_errors(uri):
        for _ in attempts(READ_ATTEMPTS, READ_DELAY_S):
            try:
                answer = client(uri=uri).get_object(Bucket=bucket, Key=key)
                data = bytes(answer["Body"].read())
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                    return None
                raise
            recorded = answer.get("Metadata", {}).get(transfer.DIGEST)
            if recorded is not None and hashlib.sha256(data).hexdigest() == recorded:
                return data
            # Of what others put there the MD5 is known, unless their ETag only looks like one: what comes twice is it.
            etag = str(answer.get("ETag", "")).strip('"')
            if recorded is None and (transfer.md5(data) == etag or not transfer.is_md5(etag) or data == before):
                return data
            before = data
    raise RetryError(f"{uri} came damaged, {READ_ATTEMPTS} times: its checksum is another")


def read_range(uri: str, start: int) -> bytes:
    """What an object holds from byte `start` on; nothing where it is no longer than that."""
    from botocore.exceptions import ClientError

    bucket, key = split_uri(uri)
    with storage_errors(uri):
        try:
            return bytes(client(uri=uri).get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-")["Body"].read())
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("InvalidRange", "416", "NoSuchKey"):
                return b""
            raise


def write_object(uri: str, data: bytes, *, patient: bool = True) -> None:
    """Put a small object at `uri`; the store refuses what does not arrive as it is.

    Without patience a store that is away shows within seconds.
    """
    bucket, key = split_uri(uri)
    with storage_errors(uri):
        put_small(bucket, key, data, client() if patient else client(IMPATIENT))


def put_small(bucket: str, key: str, data: bytes, store: Any = None, **more: Any) -> None:
    """One put, with what the store compares the body with, and what its readers do; again if it arrives damaged."""
    from botocore.exceptions import ClientError

    digest = base64.b64encode(bytes.fromhex(transfer.md5(data))).decode("ascii")
    checks = {"ContentMD5": digest, "Metadata": {transfer.DIGEST: hashlib.sha256(data).hexdigest()}}
    for number in attempts(READ_ATTEMPTS, READ_DELAY_S):
        try:
            (store or client()).put_object(Bucket=bucket, Key=key, Body=data, **checks, **encryption(), **more)
            return
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "BadDigest" or number == READ_ATTEMPTS - 1:
                raise


def download_file(uri: str, path: Path) -> None:
    """Copy one object to `path`, atomically, in parallel parts; an attempt that was killed is gone on with."""
    bucket, key = split_uri(uri)
    with storage_errors(uri):
        transfer.download(client(uri=uri), bucket, key, Path(path))


def upload_file(path: Path, uri: str, *, patient: bool = True) -> None:
    """Copy one file to `uri`; the store shows the object only once it is complete.

    Without patience a store that is away shows within seconds, and few connections take no processor from others.
    """
    bucket, key = split_uri(uri)
    with storage_errors(uri):
        if patient:
            transfer.upload(client(), Path(path), bucket, key, encryption())
        else:
            transfer.upload(client(IMPATIENT), Path(path), bucket, key, encryption(), most_attempts=1, connections=2)


def download_folder(uri: str, folder: Path) -> None:
    """Copy every object under `uri/` into `folder`, keeping the relative names; raises InputError for unusable ones."""
    bucket, prefix = split_uri(uri.rstrip("/") + "/")
    found = [key[len(prefix) :] for key, _ in list_keys(uri.rstrip("/") + "/")]
    if not found:
        raise InputError(f"{uri}: no objects under this prefix")
    names = local_names(uri, found)
    scheme = uri.partition("://")[0]
    transfer.each(lambda name: download_file(f"{scheme}://{bucket}/{prefix}{name}", folder / name), names)


def delete_objects(uris: Iterable[str], *, patient: bool = True) -> None:
    """Delete objects; those that are not there are no error."""
    for uri in uris:
        bucket, key = split_uri(uri)
        with storage_errors(uri):
            (client() if patient else client(IMPATIENT)).delete_object(Bucket=bucket, Key=key)


def upload_folder(folder: Path, uri: str, *, last: str = "") -> None:
    """Copy every file below `folder` to `uri/`, the one named `last` (the completion marker) after all others."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    transfer.each(
        lambda name: upload_file(folder / name, f"{uri.rstrip('/')}/{name}"), [name for name in names if name != last]
    )
    if last in names:
        upload_file(folder / last, f"{uri.rstrip('/')}/{last}")


def local_folder(uri: str, scratch: Path) -> Path:
    """`uri` itself if it is a local path, else its objects copied into `scratch`."""
    if not is_stored(uri):
        return Path(uri)
    download_folder(uri, scratch)
    return scratch
