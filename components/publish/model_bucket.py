"""Where versions go: a local folder or a prefix of an object store. A version is complete or absent, never changed.

Both kinds answer the same three questions: which version holds these files already, what does this version hold, and
write this version. Two runs that write at once end with one version per name, made by one of them alone. Beside the
versions lie small JSON records, each whole at any moment: `create` lets one of many writers at once win.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from components.publish.contents import File
from speech.errors import InputError
from speech.storage.files import fsync_folder, write_text
from speech.storage.objects import (
    client,
    delete_objects,
    encryption,
    is_remote,
    list_keys,
    read_object,
    split_uri,
    storage_errors,
    upload_file,
    write_object,
)
from speech.storage.retries import attempts

DESCRIPTION = "version.json"  # written last: a version with it is complete
SUMS = "SHA256SUMS"
CLAIM = ".publishing.json"  # in an object store only: the digest of what a version's name is being written with
CREATE_ATTEMPTS = 5
CREATE_DELAY_S = 0.1  # doubled after each attempt


class ModelBucket(Protocol):
    """A place for versions."""

    def locate(self, version: str) -> str:
        """The URI of a version."""

    def find(self, digest: str) -> str:
        """The name of a complete version with this digest; empty if there is none."""

    def read(self, version: str) -> dict[str, Any] | None:
        """The description of a complete version, or None."""

    def write(self, version: str, files: Mapping[str, File], written: Mapping[str, str], digest: str) -> bool:
        """Write `files` (copied) and `written` (name -> text, in order, the description last); False if it exists."""

    def get(self, name: str) -> Any:
        """The content of the JSON file `name`, or None if there is none."""

    def put(self, name: str, text: str) -> None:
        """Write the file `name`, or replace it as a whole."""

    def create(self, name: str, text: str) -> bool:
        """Create the file `name` as a whole; False if it exists: of many writers at once exactly one gets True."""

    def names(self, folder: str) -> list[str]:
        """The names of the files in `folder`, sorted; empty if there is no such folder."""


def open_target(uri: str) -> ModelBucket:
    """The target at a local path or an `s3://` URI."""
    return ObjectStore(uri) if is_remote(uri) else LocalFolder(Path(uri))


class LocalFolder:
    """Versions as sub-folders: written beside their place under a temporary name, then renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate(self, version: str) -> str:
        return str(self.folder / version)

    def find(self, digest: str) -> str:
        if not self.folder.is_dir():
            return ""
        for path in sorted(self.folder.glob(f"*{digest[:12]}/{DESCRIPTION}")):
            if _content(json.loads(path.read_text(encoding="utf-8"))) == digest:
                return path.parent.name
        return ""

    def read(self, version: str) -> dict[str, Any] | None:
        return self.get(f"{version}/{DESCRIPTION}")

    def get(self, name: str) -> Any:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def put(self, name: str, text: str) -> None:
        write_text(self.folder / name, text)

    def create(self, name: str, text: str) -> bool:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o444)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)  # unlike a rename it refuses to replace
                fsync_folder(path.parent)
                return True
            return False
        finally:
            Path(temporary).unlink()

    def names(self, folder: str) -> list[str]:
        path = self.folder / folder
        return sorted(file.name for file in path.glob("[!.]*") if file.is_file()) if path.is_dir() else []

    def write(self, version: str, files: Mapping[str, File], written: Mapping[str, str], digest: str) -> bool:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{version}.", suffix=".tmp", dir=self.folder))
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot write there: {error.strerror}; give --publish_uri another folder"
            ) from error
        try:
            for name, file in files.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.source, staging / name)
            for name, text in written.items():
                (staging / name).write_text(text, encoding="utf-8")
            _make_durable(staging)
            try:
                staging.rename(self.folder / version)
            except OSError:
                if (self.folder / version).exists():
                    return False
                raise
            fsync_folder(self.folder)
            return True
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _make_durable(staging: Path) -> None:
    """Flush every file and folder to the disk; files become read-only, folders readable by others."""
    for folder, _, names in os.walk(staging, topdown=False):
        for name in names:
            path = Path(folder, name)
            with path.open("rb+") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
        Path(folder).chmod(0o755)
        fsync_folder(Path(folder))


class ObjectStore:
    """Versions as prefixes. The name is claimed by an atomic create before the first file is written."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.bucket, self.prefix = split_uri(self.uri)

    def locate(self, version: str) -> str:
        return f"{self.uri}/{version}"

    def find(self, digest: str) -> str:
        for key, _ in list_keys(f"{self.uri}/"):
            version, _, name = key[len(self.prefix) :].lstrip("/").partition("/")
            if name == DESCRIPTION and version.endswith(digest[:12]):
                description = self.read(version)
                if description is not None and _content(description) == digest:
                    return version
        return ""

    def read(self, version: str) -> dict[str, Any] | None:
        return self.get(f"{version}/{DESCRIPTION}")

    def names(self, folder: str) -> list[str]:
        start = len(self._key(f"{folder}/"))
        return sorted(name for key, _ in list_keys(f"{self.uri}/{folder}/") if "/" not in (name := key[start:]))

    def write(self, version: str, files: Mapping[str, File], written: Mapping[str, str], digest: str) -> bool:
        claim = f"{version}/{CLAIM}"
        if not self.create(claim, json.dumps({"content": digest})):
            claimed = self.get(claim)
            if claimed is not None and _content(claimed) != digest:
                raise InputError(
                    f"{self.locate(version)} was begun by another run with other files and is not complete: "
                    "choose another --version, or delete what is under that prefix"
                )
        if self.read(version) is not None:  # looked at under the claim: whoever finished has released it since
            self._delete(claim)
            return False
        for name, file in files.items():
            upload_file(file.source, f"{self.locate(version)}/{name}")
        *texts, (last, description) = written.items()
        for name, text in texts:
            self.put(f"{version}/{name}", text)
        created = self.create(f"{version}/{last}", description)
        self._delete(claim)
        return created

    @cached_property
    def _client(self) -> Any:
        return client()

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def get(self, name: str) -> Any:
        text = read_object(f"{self.uri}/{name}")
        return None if text is None else json.loads(text)

    def put(self, name: str, text: str) -> None:
        write_object(f"{self.uri}/{name}", text.encode("utf-8"))

    def create(self, name: str, text: str) -> bool:
        from botocore.exceptions import ClientError

        data = text.encode("utf-8")
        for _ in attempts(CREATE_ATTEMPTS, CREATE_DELAY_S):  # 409: another writer is at it, and may yet fail
            with storage_errors(f"{self.uri}/{name}"):
                try:
                    self._client.put_object(
                        Bucket=self.bucket, Key=self._key(name), Body=data, IfNoneMatch="*", **encryption()
                    )
                    return True
                except ClientError as error:
                    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                    if status not in (409, 412):
                        raise
            if status == 412:  # it exists, perhaps by an attempt of ours whose answer was lost
                return self.get(name) == json.loads(text)
        return False

    def _delete(self, name: str) -> None:
        delete_objects([f"{self.uri}/{name}"])


def _content(description: dict[str, Any]) -> str:
    return str(description.get("content", ""))
