"""Local files and object storage: atomic writes, and every path flag's `s3://` form."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from speech.errors import InputError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it to `path`, on failure remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole UTF-8 file atomically, with Unix line ends."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a JSON file atomically, readable and with a final newline."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256(path: str | os.PathLike[str]) -> str:
    """The hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no hashlib.file_digest
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def is_remote(uri: str | os.PathLike[str]) -> bool:
    """Whether `uri` is an `s3://` URI rather than a local path."""
    return str(uri).startswith("s3://")


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/some/key` -> (`bucket`, `some/key`)."""
    parsed = urlparse(uri)
    if parsed.scheme != "s3" or not parsed.netloc:
        raise InputError(f"{uri} is not an object-store URI: expected s3://BUCKET/KEY")
    return parsed.netloc, parsed.path.lstrip("/")


def client() -> Any:
    """An S3 client set up by the usual AWS_* variables (AWS_ENDPOINT_URL for any other S3 server)."""
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(retries={"max_attempts": 8, "mode": "standard"}))


@contextlib.contextmanager
def storage_errors(uri: str) -> Iterator[None]:
    """Turn the object store's refusals into one clear line that names the URI."""
    from botocore.exceptions import BotoCoreError, ClientError

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
        raise InputError(f"{uri}: {meaning}") from error
    except BotoCoreError as error:
        raise InputError(
            f"{uri}: {error} (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say where and as whom)"
        ) from error


def list_keys(uri: str) -> list[tuple[str, int]]:
    """The (key, size in bytes) of every object under `uri`, in key order."""
    bucket, prefix = split_uri(uri)
    with storage_errors(uri):
        pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [(item["Key"], item["Size"]) for page in pages for item in page.get("Contents", ())]


def download_file(uri: str, path: Path) -> None:
    """Copy one object to `path`, atomically, in parallel parts."""
    bucket, key = split_uri(uri)
    with storage_errors(uri), atomic_path(path) as temporary:
        client().download_file(bucket, key, str(temporary))


def upload_file(path: Path, uri: str) -> None:
    """Copy one file to `uri`; the store shows the object only once it is complete."""
    bucket, key = split_uri(uri)
    with storage_errors(uri):
        client().upload_file(str(path), bucket, key)


def download_folder(uri: str, folder: Path) -> None:
    """Copy every object under `uri/` into `folder`, keeping the relative names."""
    _, prefix = split_uri(uri.rstrip("/") + "/")
    keys = list_keys(uri.rstrip("/") + "/")
    if not keys:
        raise InputError(f"{uri}: no objects under this prefix")
    bucket = split_uri(uri)[0]
    for key, _ in keys:
        relative = key[len(prefix) :]
        if relative and ".." not in Path(relative).parts:
            download_file(f"s3://{bucket}/{key}", folder / relative)


def delete_objects(uris: Iterable[str]) -> None:
    """Delete objects; those that are not there are no error."""
    for uri in uris:
        bucket, key = split_uri(uri)
        with storage_errors(uri):
            client().delete_object(Bucket=bucket, Key=key)


def upload_folder(folder: Path, uri: str, *, last: str = "") -> None:
    """Copy every file below `folder` to `uri/`, the one named `last` (the completion marker) after all others."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix() == last):
        upload_file(path, f"{uri.rstrip('/')}/{path.relative_to(folder).as_posix()}")


def local_folder(uri: str, scratch: Path) -> Path:
    """`uri` itself if it is a local path, else its objects copied into `scratch`."""
    if not is_remote(uri):
        return Path(uri)
    download_folder(uri, scratch)
    return scratch


def replace_folder(temporary: Path, folder: Path) -> None:
    """Put a finished folder in the place of `folder`, which may exist."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        folder.replace(old)
    temporary.replace(folder)
    fsync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
