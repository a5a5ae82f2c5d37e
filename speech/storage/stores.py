"""One interface for a local folder and a prefix of an object store: small files in it, read, listed and written whole.

`store_at` gives the store at a path or `s3://` URI, so nobody else has to ask which of both it is. `fetched` and
`put_file` do the same for one file.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from speech.storage.files import fsync_folder, temporary_beside, write_bytes
from speech.storage.objects import (
    delete_objects,
    download_file,
    is_remote,
    list_folder,
    put_small,
    read_object,
    split_uri,
    storage_errors,
    upload_file,
    write_object,
)
from speech.storage.retries import attempts

CREATE_ATTEMPTS = 5
CREATE_DELAY_S = 0.1  # doubled after each attempt


class Store(Protocol):
    """A folder or prefix. Names are relative, with `/` between folders; what cannot be reached raises InputError."""

    uri: str

    def locate(self, name: str) -> str:
        """The path or URI of a file."""

    def exists(self, name: str) -> bool:
        """Whether there is something of that name."""

    def names(self, folder: str = "") -> list[str]:
        """The names of what lies directly in a folder below; empty if there is no such folder."""

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, or replace it, as a whole."""

    def create(self, name: str, data: bytes) -> bool:
        """Create a file as a whole; False if it exists: of many writers at once exactly one gets True."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there are no error."""


class FolderStore:
    """A local folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = str(folder)

    def locate(self, name: str) -> str:
        return str(self.folder / name)

    def exists(self, name: str) -> bool:
        return os.path.lexists(self.folder / name)

    def names(self, folder: str = "") -> list[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder / folder) as entries:
            return sorted(entry.name for entry in entries)
        return []

    def read(self, name: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return (self.folder / name).read_bytes()
        return None

    def write(self, name: str, data: bytes) -> None:
        write_bytes(self.folder / name, data)

    def create(self, name: str, data: bytes) -> bool:
        path = self.folder / name
        with temporary_beside(path) as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o444)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)  # unlike a rename it refuses to replace
                fsync_folder(path.parent)
                return True
        return False

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


class PrefixStore:
    """A prefix of an object store."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def locate(self, name: str) -> str:
        return f"{self.uri}/{name}"

    def exists(self, name: str) -> bool:
        folder, _, last = name.rpartition("/")
        return last in self.names(folder)

    def names(self, folder: str = "") -> list[str]:
        return list_folder(self.locate(folder) if folder else self.uri)

    def read(self, name: str) -> bytes | None:
        return read_object(self.locate(name))

    def write(self, name: str, data: bytes) -> None:
        write_object(self.locate(name), data)

    def create(self, name: str, data: bytes) -> bool:
        from botocore.exceptions import ClientError

        uri = self.locate(name)
        bucket, key = split_uri(uri)
        for _ in attempts(CREATE_ATTEMPTS, CREATE_DELAY_S):  # 409: another writer is at it, and may yet fail
            with storage_errors(uri):
                try:
                    put_small(bucket, key, data, IfNoneMatch="*")
                    return True
                except ClientError as error:
                    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                    if status not in (409, 412):
                        raise
            if status == 412:  # it exists, perhaps by an attempt of ours whose answer was lost
                return self.read(name) == data
        return False

    def remove(self, names: Iterable[str]) -> None:
        delete_objects(map(self.locate, names))


def store_at(where: str | os.PathLike[str]) -> Store:
    """The store at a path or an `s3://` URI."""
    return PrefixStore(str(where)) if is_remote(where) else FolderStore(Path(where))


def fetched(uri: str, scratch: Path, name: str = "") -> Path:
    """The local path of one file: `uri` itself, or an object copied into `scratch`, as `name` if one is given."""
    if not is_remote(uri):
        return Path(uri)
    path = scratch / (name or uri.rsplit("/", 1)[-1])
    download_file(uri, path)
    return path


def put_file(path: Path, uri: str) -> None:
    """Put a copy of a file at a path or URI, as a whole."""
    if is_remote(uri):
        upload_file(path, uri)
    else:
        write_bytes(uri, path.read_bytes())
