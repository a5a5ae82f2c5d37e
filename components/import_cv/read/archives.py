"""Releases in a .tar.gz or .tar, read as a stream and never unpacked to disk."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from components.import_cv.plan.reasons import Reason, Refused
from components.import_cv.read.layouts import TEXT_SUFFIXES, Listing, chosen, is_audio, write_tables
from components.import_cv.read.release import CLIPS, DURATIONS, Found, Loader, Release, Wanted, missing_tables
from components.import_cv.read.remote import RemoteStream
from speech.artifacts import SPLITS
from speech.clips.tar_headers import next_member, open_tar
from speech.errors import InputError
from speech.storage.corpus_uri import CorpusUri, is_source, is_web
from speech.storage.objects import is_stored
from speech.storage.streams import ResumedStream
from speech.storage.web import WebStream

READ_BYTES = 1 << 20
MAX_TSV_BYTES = 1 << 33


Members = Iterator[tuple[Any, Callable[[Any], Any]]]  # with what opens each, before the next one is asked for


class NoLoader:
    """For sources whose clips come with their data."""

    def load(self, sources: Sequence[str], max_bytes: int) -> Iterator[bytes | Refused]:
        yield from ()


class ArchiveSource:
    """A release's .tar.gz or .tar, read as a stream: for the tables, and for the clips.

    If the tables come first, one reading does for both; else the archive is read twice.
    """

    kind = "archive"

    def __init__(self, given: CorpusUri) -> None:
        self.given = given
        self.shown = given.path
        self._prefix = ""  # of the clips
        self.strange_members = 0
        self._facts: tuple[int, str] | None = None
        self._ahead: tuple[ExitStack, Members] | None = None  # an archive that was read up to its first clip

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
        if self._facts is None:
            if is_stored(self.given.uri) or is_web(self.given.uri):
                with open_remote(self.given.uri) as stream:
                    self._facts = (stream.size, stream.mark)
            else:
                status = Path(self.given.uri).stat()
                self._facts = (status.st_size, str(status.st_mtime_ns))
        return self._facts

    def tables(self, sets: Sequence[str], optional: Sequence[str], scratch: Path) -> Release:
        names = {f"{name}.tsv" for name in (*sets, *optional)}
        needed = {f"{name}.tsv" for name in (*sets, *SPLITS)}
        wanted = {*names, DURATIONS}
        files: dict[str, Path] = {}
        roots: dict[str, set[str]] = {}
        listing = Listing(self.given.name)  # while no table is found
        passed = False  # a clip that has to be read yet
        self.strange_members = 0
        with ExitStack() as stack:
            members = stack.enter_context(self._members(scratch))
            for member, read in members:
                name = self._inside(member)
                if name is None:
                    continue
                path = PurePosixPath(name)
                if path.name not in wanted or not member.isfile() or path.parent.name == CLIPS:
                    # Tables lie together: whoever has all three splits before the first clip has no more behind it.
                    if names.issubset(files) or (CLIPS in path.parts and needed.issubset(files)):
                        if not passed:
                            self.strange_members -= member.islnk() or member.issym() or member.isdev()
                            self._ahead = (stack.pop_all(), chain([(member, read)], members))
                        break
                    passed = passed or CLIPS in path.parts
                    if not roots and member.isfile():
                        _note(listing, name, member.size, partial(read, member), scratch / "texts")
                    continue
                roots.setdefault(str(path.parent), set()).add(path.name)
                if len(roots) > 1:
                    found = ", ".join(sorted(roots)[:5])
                    raise InputError(f"{self.shown}: more than one release in it ({found}): expected one language")
                if member.size > MAX_TSV_BYTES:
                    raise InputError(f"{self.shown}: {name} has {member.size} bytes: expected at most {MAX_TSV_BYTES}")
                files[path.name] = scratch / path.name
                _save(read(member), files[path.name])
        if not roots:
            return chosen(write_tables(listing, self.shown, scratch), sets, optional)
        missing = [name for name in sets if f"{name}.tsv" not in files]
        if missing:
            raise missing_tables(self.shown, missing, list(files))
        (root,) = roots
        self._prefix = f"{CLIPS}/" if root == "." else f"{root}/{CLIPS}/"
        tables = {name: files[f"{name}.tsv"] for name in (*sets, *optional) if f"{name}.tsv" in files}
        return Release("" if root == "." else root, tables, files.get(DURATIONS))

    def clips(self, plan: Wanted, max_bytes: int) -> Iterator[Found]:
        prefix = self._prefix
        numbers = {source: clip for clip, source in enumerate(plan.sources)}
        with ExitStack() as stack:
            for member, read in self._from_the_first_clip(stack):
                name = self._inside(member)
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
                    yield self._found(clip, member, read)
                if not numbers and not self.given.sha256:
                    break
        for clip in sorted(numbers.values()):
            yield Found(clip, None, Reason.MISSING)

    def _found(self, clip: int, member: Any, read: Callable[[Any], Any]) -> Found:
        return Found(clip, read(member).read(), Reason.ACCEPTED)

    def _inside(self, member: Any) -> str | None:
        name = _inside(member.name)
        self.strange_members += name is None or member.islnk() or member.issym() or member.isdev()
        return name

    def _from_the_first_clip(self, stack: ExitStack) -> Members:
        if self._ahead is None and not is_source(self.given.uri) and Path(self.given.uri).is_fifo():
            raise InputError(
                f"{self.shown}: a stream is read once, and this has its tables behind its clips, or lacks one that is "
                "asked for: save it as a file"
            )
        if self._ahead is None:
            self.strange_members = 0
            return stack.enter_context(self._members(None))  # type: ignore[no-any-return]
        opened, members = self._ahead
        self._ahead = None
        stack.enter_context(opened)
        return members

    @contextmanager
    def _members(self, scratch: Path | None) -> Iterator[Any]:
        """Every member with what opens it, in the archive's order; `scratch` is the place for what has to be stored."""
        raw = _Hashed(self._open(), self.given.sha256, self.shown)
        with io.BufferedReader(raw, READ_BYTES) as buffered:
            stream: BinaryIO = buffered  # type: ignore[assignment]
            if buffered.peek(2)[:2] == b"\x1f\x8b":
                stream = io.BufferedReader(gzip.GzipFile(fileobj=buffered), READ_BYTES)  # type: ignore[arg-type]
            try:
                with open_tar(fileobj=stream, mode="r|", bufsize=READ_BYTES) as tar:
                    yield self._walk(tar, buffered, raw)
            except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InputError(
                    f"{self.shown}: not a whole .tar or .tar.gz archive: {error}: download it again"
                ) from error

    def _open(self) -> Any:
        if is_stored(self.given.uri) or is_web(self.given.uri):
            return open_remote(self.given.uri)
        return Path(self.given.uri).open("rb", buffering=0)

    @staticmethod
    def _walk(tar: tarfile.TarFile, buffered: Any, raw: "_Hashed") -> Members:
        while (member := next_member(tar)) is not None:
            yield member, tar.extractfile
            tar.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them otherwise
        end = tar.fileobj.read(tarfile.BLOCKSIZE)  # type: ignore[union-attr]
        if end != b"\0" * tarfile.BLOCKSIZE:  # the second of the two empty blocks that end an archive
            raise tarfile.ReadError("it breaks off, or a header in it is damaged")
        raw.finish(buffered)


def open_remote(uri: str) -> ResumedStream:
    """An archive in an object store or on a web server, as a stream whose size is known."""
    return WebStream(uri).look() if is_web(uri) else RemoteStream(uri)


class _Hashed(io.RawIOBase):
    """Passes a stream on and, if a SHA-256 is expected, adds it up."""

    def __init__(self, stream: Any, expected: str, shown: str) -> None:
        super().__init__()
        self._stream, self._expected, self._shown = stream, expected, shown
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._stream.readinto(buffer)
        if self._expected:
            self._digest.update(memoryview(buffer)[:count])
        return count

    def finish(self, buffered: Any) -> None:
        """Read the rest and compare; raises InputError for another file than the one expected."""
        if not self._expected:
            return
        while buffered.read(READ_BYTES):
            pass
        check_sha256(self._digest.hexdigest(), self._expected, self._shown)

    def close(self) -> None:
        self._stream.close()
        super().close()


def check_sha256(found: str, expected: str, shown: str) -> None:
    """Raise InputError for another file than the one expected."""
    if found != expected:
        raise InputError(
            f"{shown}: its SHA-256 is {found}, expected {expected}: it is another file, or damaged: check the source"
        )


def _note(listing: Listing, name: str, size: int, read: Callable[[], Any], folder: Path) -> None:
    """Add a file to what a corpus of another layout would consist of."""
    if is_audio(name):
        listing.add_audio(name)
    elif name.endswith(TEXT_SUFFIXES) and size <= MAX_TSV_BYTES:
        listing.texts[name] = folder / f"{len(listing.texts)}.txt"
        _save(read(), listing.texts[name])


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
