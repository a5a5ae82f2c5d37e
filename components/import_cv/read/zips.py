"""Releases in a .zip: read by its directory, in the order of the bytes, and never unpacked to disk."""

import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.import_cv.plan.reasons import Reason
from components.import_cv.read.archives import READ_BYTES, ArchiveSource, check_sha256, open_remote
from components.import_cv.read.release import Found
from speech.errors import InputError
from speech.storage import web
from speech.storage.corpus_uri import is_web
from speech.storage.files import sha256
from speech.storage.objects import download_file, is_stored

ENCRYPTED = 1  # a bit of a member's flags


@dataclass(frozen=True)
class ZipMember:
    """A member as tarfile has them."""

    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        return self.info.orig_filename if "\0" in self.info.orig_filename else self.info.filename

    @property
    def size(self) -> int:
        return self.info.file_size

    def isfile(self) -> bool:
        return not (self.info.is_dir() or self.issym() or self.isdev() or self.info.flag_bits & ENCRYPTED)

    def issym(self) -> bool:
        return stat.S_ISLNK(self._mode)

    def islnk(self) -> bool:
        return False

    def isdev(self) -> bool:
        return stat.S_IFMT(self._mode) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)

    @property
    def _mode(self) -> int:
        return self.info.external_attr >> 16


class ZipSource(ArchiveSource):
    """A release's .zip.

    Of a store, or of a web server that knows ranges, only the directory and what is needed is read. With a SHA-256 to
    check, and of other web servers, the whole file is fetched first.
    """

    kind = "zip"
    _stored: Path | None = None

    def _found(self, clip: int, member: Any, read: Callable[[Any], Any]) -> Found:
        try:
            return super()._found(clip, member, read)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):  # concerns this member only
            return Found(clip, None, Reason.NOT_AUDIO)

    @contextmanager
    def _members(self, scratch: Path | None) -> Iterator[Any]:
        if scratch is not None:
            self._stored = self._fetch(scratch)
        try:
            with self._file() as file, zipfile.ZipFile(file) as archive:
                infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
                yield iter([(ZipMember(info), lambda member: archive.open(member.info)) for info in infos])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise InputError(f"{self.shown}: not a whole .zip archive: {error}: download it again") from error

    def _file(self) -> Any:
        if self._stored is not None:
            return self._stored.open("rb")
        return io.BufferedReader(open_remote(self.given.uri), READ_BYTES)

    def _fetch(self, scratch: Path) -> Path | None:
        """The archive as a file, checked; None if it is read where it is."""
        uri, path = self.given.uri, scratch / "archive.zip"
        if is_web(uri):
            if not self.given.sha256:
                with web.WebStream(uri).look() as stream:
                    if stream.seekable():
                        return None
            web.download(uri, path)
        elif is_stored(uri):
            if not self.given.sha256:
                return None
            download_file(uri, path)
        else:
            path = Path(uri)
        if self.given.sha256:
            check_sha256(sha256(path), self.given.sha256, self.shown)
        return path
