"""Moving files to and from an object store: in parallel parts, checked, and going on where they stopped.

A download goes into a file with a fixed name beside its target, and a journal beside that says which parts are there:
after a kill the next attempt fetches what is missing. What is uploaded carries its SHA-256 as metadata, and what is
downloaded is checked against it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from speech.errors import NO_SPACE, InputError, RetryError
from speech.storage.retries import attempts

PART_BYTES = 32 << 20
CONNECTIONS = 8  # of one file
FILES_AT_ONCE = 4
ATTEMPTS = 7  # of a part or of a whole upload, above the client's own
RETRY_DELAY_S = 0.5  # doubled after each attempt
DIGEST = "sha256"  # name in the object's metadata


def each(work: Callable[[Any], object], items: Iterable[Any]) -> None:
    """Call `work` for every item, several at a time; the first exception is raised."""
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def download(client: Any, bucket: str, key: str, path: Path) -> None:
    """Copy an object to `path`, which appears whole or not at all."""
    head = head_of(client, bucket, key)
    size, etag = head["ContentLength"], head["ETag"]
    name = f"s3://{bucket}/{key}"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{hashlib.sha256((name + etag).encode()).hexdigest()[:12]}.part")
    with _alone(partial) as partial:
        journal = partial.with_name(f"{partial.name}s")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, size)
            missing = [part for part in range(-(-size // PART_BYTES)) if part not in _done(journal)]
            with ThreadPoolExecutor(CONNECTIONS) as pool, journal.open("a", encoding="ascii") as log:
                fetch = _Fetch(client, bucket, key, etag, size, descriptor)
                futures = {part: pool.submit(fetch.part, part) for part in missing}
                try:
                    for part, future in futures.items():
                        future.result()
                        log.write(f"{part}\n")
                        log.flush()
                except BaseException:
                    for future in futures.values():
                        future.cancel()
                    raise
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        journal.unlink()
        _check(partial, head.get("Metadata", {}).get(DIGEST, ""), name)
        partial.chmod(0o644)
        partial.replace(path)


def head_of(client: Any, bucket: str, key: str) -> Any:
    """What the store knows of an object; a refusal tells whether the object or its bucket is missing."""
    from botocore.exceptions import ClientError

    try:
        return client.head_object(Bucket=bucket, Key=key)
    except ClientError:
        client.get_object(Bucket=bucket, Key=key)["Body"].close()  # its answer says what a HEAD cannot: the reason
        raise


class _Fetch:
    """Gets parts of one object into a file."""

    def __init__(self, client: Any, bucket: str, key: str, etag: str, size: int, descriptor: int) -> None:
        self.client, self.bucket, self.key, self.etag = client, bucket, key, etag
        self.size, self.descriptor = size, descriptor

    def part(self, number: int) -> None:
        """Get part `number`; every attempt asks for what is still missing of it."""
        position, end = number * PART_BYTES, min((number + 1) * PART_BYTES, self.size)
        failure: Exception | None = None
        for _ in attempts(ATTEMPTS, RETRY_DELAY_S):
            try:
                for data in self._stream(position, end):
                    os.pwrite(self.descriptor, data, position)
                    position += len(data)
                failure = OSError("the connection ended early")
            except _failures() as error:
                if isinstance(error, OSError) and error.errno in NO_SPACE:
                    raise
                failure = error
            if position == end:  # also where the connection broke behind the last byte
                return
        raise RetryError(f"s3://{self.bucket}/{self.key}: broke off at byte {position}: {failure}")

    def _stream(self, position: int, end: int) -> Iterator[bytes]:
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_object(
                Bucket=self.bucket, Key=self.key, Range=f"bytes={position}-{end - 1}", IfMatch=self.etag
            )
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412:
                raise RetryError(f"s3://{self.bucket}/{self.key} was replaced while it was read") from error
            raise
        yield from answer["Body"].iter_chunks(1 << 20)


def _failures() -> tuple[type[Exception], ...]:
    """What a connection that breaks raises; refusals of the server are not among them."""
    return (*broken_answers(), OSError)


def broken_answers() -> tuple[type[Exception], ...]:
    """The same without what files on this machine may raise, too."""
    from botocore.exceptions import ChecksumError, ConnectTimeoutError, HTTPClientError, IncompleteReadError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    botocores = (HTTPClientError, ConnectTimeoutError, IncompleteReadError, ChecksumError, ResponseParserError)
    return (*botocores, HTTPError, ConnectionError)


def _done(journal: Path) -> set[int]:
    if not journal.is_file():
        return set()
    lines = journal.read_text(encoding="ascii").split("\n")[:-1]  # what a kill cut off counts for nothing
    return {int(line) for line in lines}


@contextlib.contextmanager
def _alone(partial: Path) -> Iterator[Path]:
    """`partial`, or another name if another process is downloading to it."""
    lock = partial.with_name(f"{partial.name}.lock")
    with lock.open("w") as file:
        if _lock(file, lock):
            try:
                yield partial
            finally:
                lock.unlink(missing_ok=True)
            return
    own = partial.with_name(f"{partial.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield own
    finally:
        for path in (own, own.with_name(f"{own.name}s")):
            path.unlink(missing_ok=True)


def _lock(file: Any, path: Path) -> bool:
    """Lock an open file; False if another holds it, or has removed it from its path since it was opened."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except OSError:
        return False


def _check(partial: Path, expected: str, name: str) -> None:
    if not expected:  # not uploaded by us: the ranges came from one version of the object, by its ETag
        return
    received = digests(partial)[0]
    if received != expected:
        partial.unlink()
        raise RetryError(f"{name} came damaged (sha256 {received[:12]}..., expected {expected[:12]}...)")


def upload(
    client: Any,
    path: Path,
    bucket: str,
    key: str,
    extra: dict[str, str],
    most_attempts: int = ATTEMPTS,
    connections: int = CONNECTIONS,
) -> None:
    """Copy a file to the store, which shows the object only once it is complete; checked by size and ETag."""
    from boto3.exceptions import S3UploadFailedError
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError

    sha256, etag = digests(path)
    config = TransferConfig(
        multipart_threshold=PART_BYTES + 1, multipart_chunksize=PART_BYTES, max_concurrency=connections
    )
    arguments = {"Metadata": {DIGEST: sha256}, **extra}
    failure: object = ""
    for _ in attempts(most_attempts, RETRY_DELAY_S):
        try:
            client.upload_file(str(path), bucket, key, ExtraArgs=arguments, Config=config)
            head = client.head_object(Bucket=bucket, Key=key)
            if head["ContentLength"] == path.stat().st_size and _same(etag, head["ETag"], extra):
                return
            failure = f"what arrived differs (ETag {head['ETag']})"
        except S3UploadFailedError as error:
            cause = error.__cause__ or error.__context__
            if isinstance(cause, ClientError):
                raise cause from error
            failure = cause or error
        except _failures() as error:
            failure = error
    raise RetryError(f"s3://{bucket}/{key}: could not be written: {failure}")


def _same(expected: str, etag: str, extra: dict[str, str]) -> bool:
    """Whether an ETag is the expected one; with encryption by KMS, ETags are something else than checksums."""
    etag = etag.strip('"')
    is_checksum = re.fullmatch(r"[0-9a-f]{32}(-\d+)?", etag) is not None
    return etag == expected or not is_checksum or bool(extra)


def is_md5(etag: str) -> bool:
    """Whether an ETag may be the MD5 of an object that was put at once."""
    return re.fullmatch(r"[0-9a-f]{32}", etag) is not None


def md5(data: bytes) -> str:
    """The hexadecimal MD5 of a small object."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def digests(path: Path) -> tuple[str, str]:
    """The SHA-256 of a file, and the ETag that a store gives it: MD5, or the MD5 of the parts' MD5s."""
    whole = hashlib.sha256()
    parts: list[Any] = []
    with path.open("rb") as file:
        while True:
            part, size = hashlib.md5(usedforsecurity=False), 0
            while size < PART_BYTES and (block := file.read(min(1 << 20, PART_BYTES - size))):
                whole.update(block)
                part.update(block)
                size += len(block)
            if not size and parts:
                break
            parts.append(part)
            if size < PART_BYTES:
                break
    if len(parts) == 1:
        return whole.hexdigest(), parts[0].hexdigest()
    combined = hashlib.md5(b"".join(part.digest() for part in parts), usedforsecurity=False).hexdigest()
    return whole.hexdigest(), f"{combined}-{len(parts)}"


def encryption(kind: str, kms_key: str) -> dict[str, str]:
    """The arguments that ask for server-side encryption; raises InputError for a kind that there is not."""
    if not kind:
        return {}
    if kind not in ("AES256", "aws:kms"):
        raise InputError(f"SPEECHMILL_S3_SSE={kind} is not allowed: AES256 or aws:kms")
    key = {"SSEKMSKeyId": kms_key} if kms_key else {}
    return {"ServerSideEncryption": kind, **key}
