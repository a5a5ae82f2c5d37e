"""Where versions go: a local folder or a prefix of an object store. A version is complete or absent, never changed.

Both kinds answer the same three questions: which version holds these files already, what does this version hold, and
write this version. Two runs that write at once end with one version per name, made by one of them alone. Beside the
versions lie small JSON records, each whole at any moment: `create` lets one of many writers at once win.
"""

import contextlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.publish.contents import File
from speech.errors import InputError
from speech.storage.files import fsync_folder
from speech.storage.objects import list_keys, split_uri, upload_file
from speech.storage.scratch import scratch_in
from speech.storage.stores import FolderStore, Store, store_at

DESCRIPTION = "version.json"  # written last: a version with it is complete
SUMS = "SHA256SUMS"
CLAIM = ".publishing.json"  # in an object store only: the digest of what a version's name is being written with


class DamagedRecord(InputError):
    """A small file of the place that is not what was written there."""


class ModelBucket(ABC):
    """A place for versions."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def locate(self, version: str) -> str:
        """The URI of a version."""
        return self.store.locate(version)

    def find(self, digest: str) -> str:
        """The name of a complete version with this digest; empty if there is none."""
        for version in self.complete(digest[:12]):
            description = self.read(version)
            if description is not None and _content(description) == digest:
                return version
        return ""

    def read(self, version: str) -> dict[str, Any] | None:
        """The description of a complete version, or None."""
        description = self.get(f"{version}/{DESCRIPTION}")
        usable = isinstance(description, dict) and isinstance(description.get("files", {}), dict)
        if description is not None and not usable:
            raise DamagedRecord(f"{self.locate(version)}/{DESCRIPTION}: damaged: it describes no version")
        return description

    def get(self, name: str) -> Any:
        """The content of the JSON file `name`, or None if there is none; raises DamagedRecord for no JSON."""
        text = self.store.read(name)
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedRecord(f"{self.locate(name)}: damaged: not readable as JSON: {str(error)[:80]}") from error

    def put(self, name: str, text: str) -> None:
        """Write the file `name`, or replace it as a whole."""
        self.store.write(name, text.encode("utf-8"))

    def create(self, name: str, text: str) -> bool:
        """Create the file `name` as a whole; False if it exists: of many writers at once exactly one gets True."""
        return self.store.create(name, text.encode("utf-8"))

    def names(self, folder: str) -> list[str]:
        """The names of the files in `folder`, sorted; empty if there is no such folder."""
        return sorted(name for name in self.store.names(folder) if not name.startswith("."))

    @abstractmethod
    def complete(self, ending: str = "") -> Iterable[str]:
        """The names of the complete versions, or of those that end so."""

    @abstractmethod
    def write(self, version: str, files: Mapping[str, File], written: Mapping[str, str], digest: str) -> bool:
        """Write `files` (copied) and `written` (name -> text, in order, the description last); False if it exists."""


def open_target(uri: str) -> ModelBucket:
    """The place for versions at a local path or an `s3://` URI."""
    store = store_at(uri)
    return LocalVersions(store, store.folder) if isinstance(store, FolderStore) else StoredVersions(store)


class LocalVersions(ModelBucket):
    """Versions as sub-folders: written beside their place under a temporary name, then renamed."""

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__(store)
        self.folder = folder

    def complete(self, ending: str = "") -> Iterable[str]:
        names = sorted(path.parent.name for path in self.folder.glob(f"*{ending}/{DESCRIPTION}"))
        return [name for name in names if not name.startswith(".")]  # one that is being written

    def write(self, version: str, files: Mapping[str, File], written: Mapping[str, str], digest: str) -> bool:
        with contextlib.ExitStack() as stack:
            try:
                staging = stack.enter_context(scratch_in(self.folder, f".{version}.", ".tmp"))
            except OSError as error:
                raise InputError(
                    f"{self.folder}: cannot write there: {error.strerror}; give --publish_uri another folder"
                ) from error
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


class StoredVersions(ModelBucket):
    """Versions as prefixes. The name is claimed by an atomic create before the first file is written."""

    def complete(self, ending: str = "") -> Iterable[str]:
        start = len(split_uri(self.store.uri)[1])
        for key, _ in list_keys(f"{self.store.uri}/"):
            version, _, name = key[start:].lstrip("/").partition("/")
            if name == DESCRIPTION and version.endswith(ending):
                yield version

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
            self.store.remove([claim])
            return False
        for name, file in files.items():
            upload_file(file.source, f"{self.locate(version)}/{name}")
        *texts, (last, description) = written.items()
        for name, text in texts:
            self.put(f"{version}/{name}", text)
        created = self.create(f"{version}/{last}", description)
        self.store.remove([claim])
        return created


def _content(description: dict[str, Any]) -> str:
    return str(description.get("content", ""))
