"""Whose file is it: in a folder or under a prefix of an object store, a step replaces and removes only what a record
of its own there lists.

A record is the JSON file that completes an artifact. Its `files` (name -> size and sha256) and `also` (names that it
does without) say what the step wrote; an entry with `found` lay there before, with the same content, and is somebody
else's.
While a step writes, a claim (`.model.json.claim` for `model.json`) says what was foreign when it began, so that a rerun
after a kill knows its own unfinished files.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from speech.errors import InputError
from speech.storage.objects import is_remote, upload_folder
from speech.storage.stores import Store, store_at

_Claim = tuple[set[str], set[str]]  # the folders that were looked at, and what was foreign in them
Names = Callable[[Mapping[str, Any]], Iterable[str]]  # what a record lists; nothing for a record of somebody else


def listed(record: Mapping[str, Any]) -> list[str]:
    """The files that a record has as written by its step."""
    files, also = record.get("files"), record.get("also")
    names = [name for name, about in files.items() if not _is_found(about)] if isinstance(files, dict) else []
    return [*names, *(also if isinstance(also, list) else ())]


def _is_found(about: Any) -> bool:
    return isinstance(about, dict) and about.get("found") is True


class Place:
    """A folder in which a step writes, whatever else lies there.

    `records` maps the file names of the step's records there to what such a record lists. `flag` is how the user names
    the folder, `never` the endings of files that the step only reads.
    """

    def __init__(
        self,
        folder: Path,
        records: Mapping[str, Names],
        flag: str,
        never: tuple[str, ...] = (),
        store: Store | None = None,
    ) -> None:
        self.folder, self.records, self.flag, self.never = folder, records, flag, never
        self.store = store or store_at(folder)
        self._claim = f".{next(iter(records))}.claim"

    @cached_property
    def own(self) -> frozenset[str]:
        """What the records in the folder listed when this was first asked, and those records."""
        own: set[str] = set()
        for record, names in self.records.items():
            there = [name for name in names(_parse(self.read(record))) if _is_inside(name)]
            own.update(there, [record] if there else [])
        return frozenset(own)

    def check(self, names: Iterable[str]) -> None:
        """Raise InputError if writing `names` (relative) would replace a file that is not the step's own."""
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.flag} {self.folder}: it is a file, expected a folder")
        self._check(names)

    def foreign(self, name: str) -> Path | None:
        """The file `name` if there is one and it is somebody else's."""
        return self.folder / name if self._is_foreign(name, self._claimed()) else None

    @contextlib.contextmanager
    def writing(self, names: Iterable[str]) -> Iterator[None]:
        """Write `names` inside, the record last; raises InputError as `check` does, before anything is written."""
        names = list(names)
        self.check(names)
        is_new = not self.folder.exists()
        try:
            with self._claiming(names):
                yield
        except InputError:
            with contextlib.suppress(OSError):  # it is not empty
                if is_new:
                    self.folder.rmdir()
            raise

    def remove(self, names: Iterable[str]) -> None:
        """Remove those of `names` that are the step's own."""
        self.store.remove([name for name in names if name in self.own])

    def _check(self, names: Iterable[str]) -> None:
        claim = self._claimed()
        for name in names:
            if self._is_foreign(name, claim):
                raise InputError(
                    f"{self.store.locate(name)} would be replaced, but no record there says that this step wrote it: "
                    f"give another {self.flag}, or move the file away"
                )

    @contextlib.contextmanager
    def _claiming(self, names: Iterable[str]) -> Iterator[None]:
        began = self.read(self._claim) is None
        if began:
            folders = sorted({_folder_of(name) for name in names})
            claim = {"folders": folders, "foreign": sorted(self._others(folders))}
            self.store.write(self._claim, json.dumps(claim).encode("utf-8"))
        try:
            yield
        except InputError:
            if began:
                self.store.remove([self._claim])
            raise
        self.store.remove([self._claim])

    def _is_foreign(self, name: str, claim: _Claim | None) -> bool:
        known = name in self.own or (claim is not None and _folder_of(name) in claim[0] and name not in claim[1])
        return not known and self._exists(name)

    def _others(self, folders: Iterable[str]) -> Iterator[str]:
        """What lies in `folders` and is not the step's own."""
        for folder in folders:
            for entry in self._list(folder):
                name = f"{folder}/{entry}" if folder else entry
                if name not in self.own and not name.endswith(self.never):
                    yield name

    def _claimed(self) -> _Claim | None:
        """What was foreign when unfinished work began; None without such."""
        claim = _parse(self.read(self._claim))
        folders, foreign = claim.get("folders"), claim.get("foreign")
        return (set(folders), set(foreign)) if isinstance(folders, list) and isinstance(foreign, list) else None

    def read(self, name: str) -> bytes | None:
        """The content of a small file, whosesoever it is; None without one."""
        with contextlib.suppress(OSError):
            return self.store.read(name)
        return None

    def _exists(self, name: str) -> bool:
        return self.store.exists(name)

    def _list(self, folder: str) -> Collection[str]:
        return self.store.names(folder)


class RemotePlace(Place):
    """The same under a prefix of an object store, whose objects are looked at when they are first asked for."""

    def __init__(self, uri: str, records: Mapping[str, Names], flag: str) -> None:
        super().__init__(Path(), records, flag, store=store_at(uri))
        self._listed: dict[str, frozenset[str]] = {}

    def check(self, names: Iterable[str]) -> None:
        """As a folder's."""
        self._check(names)

    def foreign(self, name: str) -> Path | None:
        """None: nothing of others serves an upload."""
        return None

    @contextlib.contextmanager
    def writing(self, names: Iterable[str]) -> Iterator[None]:
        """As into a folder."""
        names = list(names)
        self.check(names)
        with self._claiming(names):
            yield

    def upload(self, folder: Path, record: str) -> None:
        """Put the files below `folder` there, the `record` last; those of earlier work that have no successor go."""
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        with self.writing(names):
            self.remove([record, *sorted(self.own - {*names})])
            upload_folder(folder, self.store.uri, last=record)

    def _exists(self, name: str) -> bool:
        return name.rpartition("/")[2] in self._list(_folder_of(name))

    def _list(self, folder: str) -> Collection[str]:
        if folder not in self._listed:
            self._listed[folder] = frozenset(self.store.names(folder))
        return self._listed[folder]


def place_at(where: str | Path, records: Mapping[str, Names], flag: str) -> Place:
    """The place at a path or an `s3://` URI."""
    return RemotePlace(str(where), records, flag) if is_remote(where) else Place(Path(where), records, flag)


@contextlib.contextmanager
def written(place: Place, names: Iterable[str], record: str) -> Iterator[Path]:
    """The folder to write into: the place itself, or one whose files are uploaded there in the end, `record` last.

    Raises InputError before that if an object of others has one of the `names`.
    """
    if not isinstance(place, RemotePlace):
        yield place.folder
        return
    place.check(names)
    with tempfile.TemporaryDirectory(prefix="speechmill-") as scratch:
        yield Path(scratch)
        place.upload(Path(scratch), record)


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]  # pathlib would keep every name that it has seen


def _parse(text: bytes | None) -> dict[str, Any]:
    try:
        value = json.loads(text or b"")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_inside(name: object) -> bool:
    """Whether an entry of a record is the path of a file below the folder."""
    return isinstance(name, str) and all(part not in ("", ".", "..") and "\0" not in part for part in name.split("/"))
