"""Releases in an object store: a folder of objects, or an archive read as a stream."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.import_cv.plan.reasons import Reason, Refused
from components.import_cv.read.release import CLIPS, DURATIONS, Found, Loader, Release, Wanted, missing_tables
from speech.errors import RetryError
from speech.storage.objects import client, download_file, list_folder, split_uri, storage_errors
from speech.storage.retries import attempts
from speech.storage.streams import ATTEMPTS, RETRY_DELAY_S, ResumedStream
from speech.storage.transfer import head_of

CONNECTIONS = 16  # downloads at a time of one worker


class RemoteFolder:
    """An extracted release in an object store: TSVs under a prefix, clips under `clips/`."""

    kind = "folder"
    strange_members = 0

    def __init__(self, uri: str, audio_dir: str = "") -> None:
        self.uri = uri
        self.audio_uri = audio_dir.rstrip("/") or f"{uri}/{CLIPS}"

    def tables(self, sets: Sequence[str], optional: Sequence[str], scratch: Path) -> Release:
        found = {name for name in list_folder(self.uri) if name.endswith(".tsv")}
        missing = [name for name in sets if f"{name}.tsv" not in found]
        if missing:
            raise missing_tables(self.uri, missing, list(found))
        files = {}
        for name in (*sets, *optional):
            if f"{name}.tsv" in found:
                files[name] = scratch / f"{name}.tsv"
                download_file(f"{self.uri}/{name}.tsv", files[name])
        durations = None
        if DURATIONS in found:
            durations = scratch / DURATIONS
            download_file(f"{self.uri}/{DURATIONS}", durations)
        return Release("/".join(self.uri.split("/")[-2:]), files, durations)

    def clips(self, plan: Wanted, max_bytes: int) -> Iterator[Found]:
        return (Found(clip, None, Reason.ACCEPTED) for clip in range(plan.clip_count))

    def loader(self) -> Loader:
        return RemoteLoader(self.audio_uri)

    def is_folder(self, folder: Path) -> bool:
        return False

    def identity(self) -> str:
        return self.kind

    def revision(self) -> str:
        return ""  # the plan tells: it changes with the tables


@dataclass
class RemoteLoader:
    """Downloads objects below a prefix, several at a time."""

    uri: str
    _state: dict[str, Any] = field(default_factory=dict)  # made in the worker: neither survives a fork

    def load(self, sources: Sequence[str], max_bytes: int) -> Iterator[bytes | Refused]:
        if not self._state:
            self._state = {"client": client(uri=self.uri), "threads": ThreadPoolExecutor(CONNECTIONS)}
        bucket, prefix = split_uri(self.uri + "/")
        return self._state["threads"].map(lambda source: self._get(bucket, prefix + source, max_bytes), sources)

    def _get(self, bucket: str, key: str, max_bytes: int) -> bytes | Refused:
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        failure: Exception = OSError()
        seen = ""
        for _ in attempts(ATTEMPTS, RETRY_DELAY_S):
            try:
                answer = self._state["client"].get_object(Bucket=bucket, Key=key)
                if answer["ContentLength"] > max_bytes:
                    answer["Body"].close()
                    return Refused(Reason.TOO_BIG, f"{answer['ContentLength'] / 1e6:.1f} MB")
                data: bytes = answer["Body"].read()
                expected, found = _md5_of(answer), hashlib.md5(data, usedforsecurity=False).hexdigest()
                if not expected or found in (expected, seen):  # a store with ETags of another kind sends the same again
                    return data
                seen, failure = found, OSError("what arrives is not what the store says that it holds")
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                    return Refused(Reason.MISSING)
                with storage_errors(f"{self.uri}: {key}"):
                    raise
            except (BotoCoreError, HTTPError, OSError) as error:
                failure = error
        raise RetryError(f"{self.uri}: {key}: {failure}")


def _md5_of(answer: Mapping[str, Any]) -> str:
    """The MD5 of an object, by its ETag; empty where that is something else."""
    etag = str(answer.get("ETag", "")).strip('"')
    encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in answer
    return etag if re.fullmatch(r"[0-9a-f]{32}", etag) and not encrypted else ""


class RemoteStream(ResumedStream):
    """One object."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._bucket, self._key = split_uri(uri)
        self._client = client(uri=uri)
        with storage_errors(uri):
            head = head_of(self._client, self._bucket, self._key)
        self.size, self.mark = head["ContentLength"], head["ETag"]

    def _open(self) -> Any:
        with storage_errors(self.shown):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=self._key, Range=f"bytes={self._position}-", IfMatch=self.mark
            )
        return answer["Body"]
