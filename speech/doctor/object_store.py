"""An object store with the credentials that are set: all that a run does to it, tried on objects of the probe's own."""

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from speech.doctor.checks import NOTE, OK, PROBLEM, Check
from speech.errors import InputError, RetryError
from speech.storage.objects import IMPATIENT, client, encryption, is_remote, split_uri, storage_errors

SUBJECT = "object store"
_FIRST, _SECOND = b"first writer\n", b"second writer\n"


def checks(prefix: str) -> Iterator[Check]:
    """List, write, read, put-if-absent, multipart, delete below `prefix`; what was written is removed in any case.

    The first refusal ends it: what follows would be refused for the same reason.
    """
    if not prefix:
        advice = "--s3 s3://BUCKET/PREFIX tries the credentials there, and leaves nothing behind"
        yield Check(SUBJECT, NOTE, "not tried", advice)
        return
    probe = None
    try:
        if not is_remote(prefix):
            raise InputError(f"--s3 {prefix}: expected s3://BUCKET/PREFIX")
        probe = _Probe(prefix)
        with probe.removing():
            for name, attempt in probe.attempts():
                with storage_errors(f"{name} below {prefix}"):
                    problem = attempt()
                if problem:
                    yield Check(f"{SUBJECT}: {name}", PROBLEM, *problem)
                else:
                    yield Check(f"{SUBJECT}: {name}", OK, f"below {prefix}")
        yield Check(f"{SUBJECT}: delete", OK, "what was tried is removed")
    except (InputError, RetryError) as error:
        advice = (
            "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION say where and as whom"
        )
        yield Check(SUBJECT, PROBLEM, str(error), "" if "AWS_" in str(error) else advice)


class _Probe:
    """Attempts with objects of one fresh name below a prefix."""

    def __init__(self, prefix: str) -> None:
        self.uri = f"{prefix.rstrip('/')}/.speechmill-doctor-{uuid.uuid4().hex}"
        self.bucket, self.key = split_uri(self.uri)
        self.client = client(IMPATIENT)
        self._written: list[tuple[str, str]] = []  # key and version, if the bucket keeps versions

    def attempts(self) -> list[tuple[str, Any]]:
        """What is tried, in this order; each returns what was found and what to do, or nothing if all is well."""
        return [
            ("list", self._list),
            ("write", self._write),
            ("read", self._read),
            ("put-if-absent", self._put_if_absent),
            ("multipart", self._multipart),
        ]

    @contextlib.contextmanager
    def removing(self) -> Iterator[None]:
        """Delete what was written, versions of it as well; a refusal is raised unless something else went wrong."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(InputError, RetryError):
                self._remove()
            raise
        self._remove()

    def _remove(self) -> None:
        with storage_errors(f"delete {self.uri}"):
            for key, version in self._written:
                self.client.delete_object(Bucket=self.bucket, Key=key, **({"VersionId": version} if version else {}))

    def _put(self, name: str, data: bytes, **more: str) -> None:
        key = self.key + name
        answer = self.client.put_object(Bucket=self.bucket, Key=key, Body=data, **more, **encryption())
        self._written.append((key, answer.get("VersionId", "")))

    def _list(self) -> None:
        self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.key, MaxKeys=1)

    def _write(self) -> None:
        self._put("", _FIRST)

    def _read(self) -> tuple[str, str] | None:
        found = self.client.get_object(Bucket=self.bucket, Key=self.key)["Body"].read()
        if found == _FIRST:
            return None
        return f"{self.uri} holds something else than was written", "is there a cache in front of the store?"

    def _put_if_absent(self) -> tuple[str, str] | None:
        """Two writers of one name: the second has to be refused."""
        self._put("-once", _FIRST, IfNoneMatch="*")
        try:
            self._put("-once", _SECOND, IfNoneMatch="*")
        except self.client.exceptions.ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (409, 412):
                return None
            raise
        advice = "two runs that publish at once could overwrite each other: take a store that knows If-None-Match"
        return "the store overwrites what `If-None-Match: *` should protect", advice

    def _multipart(self) -> None:
        place = {"Bucket": self.bucket, "Key": f"{self.key}-parts"}
        begun = self.client.create_multipart_upload(**place, **encryption())["UploadId"]
        try:
            tag = self.client.upload_part(**place, UploadId=begun, PartNumber=1, Body=_FIRST)["ETag"]
            parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
            answer = self.client.complete_multipart_upload(**place, UploadId=begun, MultipartUpload=parts)
        except BaseException:
            with contextlib.suppress(Exception):
                self.client.abort_multipart_upload(**place, UploadId=begun)
            raise
        self._written.append((place["Key"], answer.get("VersionId", "")))
