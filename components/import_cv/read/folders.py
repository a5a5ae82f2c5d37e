"""Releases in a folder."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.import_cv.plan.reasons import Reason, Refused
from components.import_cv.read.release import CLIPS, DURATIONS, Found, Loader, Release, Wanted, missing_tables
from speech.errors import InputError


class Folder:
    """An extracted release: TSV files, and clips in `clips/` or in `audio_dir`."""

    kind = "folder"
    strange_members = 0

    def __init__(self, path: Path, audio_dir: Path | None = None) -> None:
        self.path = _folder_with_tables(path)
        self.audio_dir = audio_dir if audio_dir is not None else self.path / CLIPS
        if not self.audio_dir.is_dir():
            raise InputError(f"{self.audio_dir}: no such folder: expected the clips of the release (--audio_dir)")

    def tables(self, sets: Sequence[str], optional: Sequence[str], scratch: Path) -> Release:
        files = {name: self.path / f"{name}.tsv" for name in (*sets, *optional)}
        files = {name: path for name, path in files.items() if path.is_file()}
        missing = [name for name in sets if name not in files]
        if missing:
            raise missing_tables(str(self.path), missing, [path.name for path in self.path.glob("*.tsv")])
        durations = self.path / DURATIONS
        resolved = self.path.resolve()
        return Release(f"{resolved.parent.name}/{resolved.name}", files, durations if durations.is_file() else None)

    def clips(self, plan: Wanted, max_bytes: int) -> Iterator[Found]:
        return (Found(clip, None, Reason.ACCEPTED) for clip in range(plan.clip_count))

    def loader(self) -> Loader:
        return FileLoader(self.audio_dir)

    def is_folder(self, folder: Path) -> bool:
        return folder.is_dir() and folder.samefile(self.audio_dir)

    def identity(self) -> str:
        return self.kind

    def revision(self) -> str:
        return ""  # the plan tells: it changes with the tables


def has_tables(path: Path) -> bool:
    """Whether there are TSV files in a folder, or one or two folders below."""
    return any(any(path.glob(pattern)) for pattern in ("*.tsv", "*/*.tsv", "*/*/*.tsv"))


def _folder_with_tables(path: Path) -> Path:
    """The folder itself, or the only one below it that holds TSV files (release/language)."""
    if any(path.glob("*.tsv")):
        return path
    below = sorted({file.parent for pattern in ("*/*.tsv", "*/*/*.tsv") for file in path.glob(pattern)})
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(str(folder.relative_to(path)) for folder in below[:5])
        raise InputError(f"{path}: more than one release in it ({names}): name the folder of one")
    raise InputError(f"{path}: no TSV files in it: expected train.tsv, dev.tsv, test.tsv of a Common Voice release")


@dataclass
class FileLoader:
    """Reads files below a folder, and nothing outside it."""

    folder: Path

    def load(self, sources: Sequence[str], max_bytes: int) -> Iterator[bytes | Refused]:
        prefix = os.fspath(self.folder)
        for source in sources:
            try:
                yield _read_regular_file(prefix, source, max_bytes)
            except Refused as refused:
                yield refused


def _read_regular_file(folder: str, source: str, max_bytes: int) -> bytes:
    path = f"{folder}/{source}"
    try:
        # O_NONBLOCK: opening a named pipe would wait for its writer
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(Reason.NOT_A_FILE, "a link") from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise Refused(Reason.MISSING) from error
        raise Refused(Reason.MISSING, error.strerror or "") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(Reason.NOT_A_FILE)
        if status.st_size > max_bytes:
            raise Refused(Reason.TOO_BIG, f"{status.st_size / 1e6:.1f} MB")
        if "/" in source and not os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep):
            raise Refused(Reason.NOT_A_FILE, "a link that leaves the folder")
        return _read_all(descriptor, status.st_size)
    except OSError as error:
        raise Refused(Reason.MISSING, error.strerror or "") from error
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data
