"""Releases in a .tar.gz or .tar, read as a stream and never unpacked to disk."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from components.import_cv.plan.reasons import Reason, Refused
from components.import_cv.read.release import CLIPS, DURATIONS, Found, Loader, Release, Wanted, missing_tables
from components.import_cv.read.remote import RemoteStream
from speech.errors import InputError
from speech.storage.objects import is_remote

READ_BYTES = 1 << 20
MAX_TSV_BYTES = 1 << 33


class NoLoader:
    """For sources whose clips come with their data."""

    def load(self, sources: Sequence[str], max_bytes: int) -> Iterator[bytes | Refused]:
        yield from ()


class ArchiveSource:
    """A release's .tar.gz or .tar, read as a stream: once for the tables, once for the clips.

    If the tables come first, the first reading ends behind them.
    """

    kind = "archive"

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._root = ""
        self.strange_members = 0

    def loader(self) -> Loader:
        return NoLoader()

    def is_folder(self, folder: Path) -> bool:
        return False

    def identity(self) -> str:
        size, _ = self._described()
        return f"{self.kind} {size}"

    def revision(self) -> str:
        return self._described()[1]

    def _described(self) -> tuple[int, str]:
        """Size in bytes, and the store's or the file system's mark of a version."""
        if is_remote(self.uri):
            stream = RemoteStream(self.uri)
            return stream.size, stream.etag
        status = Path(self.uri).stat()
        return status.st_size, str(status.st_mtime_ns)

    def tables(self, sets: Sequence[str], optional: Sequence[str], scratch: Path) -> Release:
        wanted = {*(f"{name}.tsv" for name in (*sets, *optional)), DURATIONS}
        files: dict[str, Path] = {}
        roots: dict[str, set[str]] = {}
        with self._members() as members:
            for member, read in members:
                name = _inside(member.name)
                if name is None:
                    continue
                path = PurePosixPath(name)
                if path.name not in wanted or not member.isfile() or path.parent.name == CLIPS:
                    if all(f"{name}.tsv" in files for name in (*sets, *optional)):
                        break
                    continue
                roots.setdefault(str(path.parent), set()).add(path.name)
                if len(roots) > 1:
                    found = ", ".join(sorted(roots)[:5])
                    raise InputError(f"{self.uri}: more than one release in it ({found}): expected one language")
                if member.size > MAX_TSV_BYTES:
                    raise InputError(f"{self.uri}: {name} has {member.size} bytes: expected at most {MAX_TSV_BYTES}")
                files[path.name] = scratch / path.name
                _save(read(member), files[path.name])
        missing = [name for name in sets if f"{name}.tsv" not in files]
        if missing:
            raise missing_tables(self.uri, missing, list(files))
        (self._root,) = roots
        tables = {name: files[f"{name}.tsv"] for name in (*sets, *optional) if f"{name}.tsv" in files}
        return Release("" if self._root == "." else self._root, tables, files.get(DURATIONS))

    def clips(self, plan: Wanted, max_bytes: int) -> Iterator[Found]:
        prefix = f"{CLIPS}/" if self._root in ("", ".") else f"{self._root}/{CLIPS}/"
        numbers = {source: clip for clip, source in enumerate(plan.sources)}
        self.strange_members = 0
        with self._members() as members:
            for member, read in members:
                name = _inside(member.name)
                self.strange_members += name is None or member.islnk() or member.issym() or member.isdev()
                if name is None or not name.startswith(prefix):
                    continue
                clip = numbers.pop(name[len(prefix) :], None)
                if clip is None:
                    continue
                if not member.isfile():
                    yield Found(clip, None, Reason.NOT_A_FILE)
                elif member.size > max_bytes:
                    yield Found(clip, None, Reason.TOO_BIG)
                else:
                    yield Found(clip, read(member).read(), Reason.ACCEPTED)
                if not numbers:
                    break
        for clip in sorted(numbers.values()):
            yield Found(clip, None, Reason.MISSING)

    @contextmanager
    def _members(self) -> Iterator[Any]:
        raw: Any = io.BufferedReader(RemoteStream(self.uri), READ_BYTES) if is_remote(self.uri) else self._open_file()
        with raw:
            stream: BinaryIO = raw
            if raw.peek(2)[:2] == b"\x1f\x8b":
                stream = io.BufferedReader(gzip.GzipFile(fileobj=raw), READ_BYTES)  # type: ignore[arg-type]
            try:
                with tarfile.open(fileobj=stream, mode="r|", bufsize=READ_BYTES) as tar:
                    yield self._walk(tar)
            except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InputError(
                    f"{self.uri}: not a whole .tar or .tar.gz archive: {error}: download it again"
                ) from error

    def _open_file(self) -> BinaryIO:
        return Path(self.uri).open("rb", buffering=READ_BYTES)  # type: ignore[return-value]

    @staticmethod
    def _walk(tar: tarfile.TarFile) -> Iterator[Any]:
        while (member := tar.next()) is not None:
            yield member, tar.extractfile
            tar.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them otherwise
        end = tar.fileobj.read(tarfile.BLOCKSIZE)  # type: ignore[union-attr]
        if end != b"\0" * tarfile.BLOCKSIZE:  # the second of the two empty blocks that end an archive
            raise tarfile.ReadError("it breaks off, or a header in it is damaged")


def _inside(name: str) -> str | None:
    """A member's name without `./`, or None if it leaves the archive's folder."""
    while name.startswith("./"):
        name = name[2:]
    parts = name.split("/")
    return None if name.startswith("/") or ".." in parts else name


def _save(file: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        while block := file.read(READ_BYTES):
            target.write(block)
