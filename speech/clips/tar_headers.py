"""Tar archives of strangers: headers whose size is limited.

tarfile reads the extended headers (pax records, GNU long names, sparse maps) of an archive into memory, as large as
they say they are, so that 2 MB of compressed zeros take gigabytes.
"""

import contextlib
import tarfile
from collections.abc import Iterator
from typing import Any

HEADER_BYTES = 1 << 16  # of one extended header: names and times need some hundred
GLOBAL_RECORDS = 1000  # pax records that hold for all members
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class BoundedTarInfo(tarfile.TarInfo):
    """A member whose headers take little memory; tarfile.ReadError for any other."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Of tarfile: what every version calls behind each header block, and before it reads what that announces.

        `frombuf`, which is public, is not called by Pythons with the fix of 2025 for folders in archives.
        """
        if self.type in _EXTENDED and not 0 <= self.size <= HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes: expected at most {HEADER_BYTES}")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse file in it: pack it again without --sparse")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member

    def _proc_gnusparse_10(self, *_: Any) -> None:  # of tarfile, which reads such a map until it ends
        raise tarfile.ReadError("a sparse file in it: pack it again without --sparse")


def open_tar(**arguments: Any) -> tarfile.TarFile:
    """`tarfile.open`, which reads the first header; tarfile.ReadError for any damage to it."""
    with _damage():
        return tarfile.open(tarinfo=BoundedTarInfo, **arguments)


def next_member(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member, None behind the last one; tarfile.ReadError for any damage to a header."""
    with _damage():
        member = archive.next()
    if len(archive.pax_headers) > GLOBAL_RECORDS:
        raise tarfile.ReadError(f"more than {GLOBAL_RECORDS} records in its global headers")
    return member


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError, RecursionError) as error:  # numbers that are none; a header of a header of a ...
        raise tarfile.ReadError(f"a header in it is damaged ({type(error).__name__}: {str(error)[:80]})") from error
