"""Archives that were made to take memory, or are damaged where tarfile does not expect it: one line, few bytes."""

import gzip
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from components.import_cv.read.opening import open_sources
from speech.clips.tar_headers import HEADER_BYTES, BoundedTarInfo, open_tar
from speech.clips.webdataset import read_webdataset
from speech.errors import InputError

LIMIT_BYTES = 700 << 20  # of address space above what Python itself has mapped: tarfile alone would take gigabytes


def header(kind: bytes, size: int, name: str = "member") -> bytes:
    """One header block with any type and size."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(*records: str) -> bytes:
    """An extended header with these records, as they are."""
    data = "".join(f"{len(record) + 4:03d} {record}" for record in records).encode()
    return header(tarfile.XHDTYPE, len(data)) + padded(data)


END = bytes(1024)
CASES: dict[str, Callable[[], bytes]] = {
    "long name of 1 GB": lambda: header(tarfile.GNUTYPE_LONGNAME, 1 << 30) + b"a" * 512,
    "pax header of 1 GB": lambda: header(tarfile.XHDTYPE, 1 << 30) + b"a" * 512,
    "global pax header of 1 GB": lambda: header(tarfile.XGLTYPE, 1 << 30) + b"a" * 512,
    "a size that is no number": lambda: pax("GNU.sparse.map=a,b\n") + header(tarfile.REGTYPE, 0) + END,
    "headers of headers": lambda: header(tarfile.GNUTYPE_LONGNAME, 512) + b"".join(
        bytes(512) + header(tarfile.GNUTYPE_LONGNAME, 512) for _ in range(3000)
    ) + END,
    "sparse": lambda: header(tarfile.GNUTYPE_SPARSE, 512) + bytes(512) + END,
    "a sparse map without an end": lambda: pax("GNU.sparse.major=1\n", "GNU.sparse.minor=0\n")
    + header(tarfile.REGTYPE, 1 << 30) + b"1" * 4096 + END,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_header_takes_no_memory_and_ends_in_one_line(name: str, tmp_path: Path) -> None:
    """The same of a release's archive and of a WebDataset."""
    path = tmp_path / "release.tar"
    path.write_bytes(CASES[name]())
    with pytest.raises(InputError, match=r"release\.tar: not a whole .tar"):
        open_sources(str(path), "").tables(("train",), (), tmp_path)
    with pytest.raises(InputError, match=r"release\.tar"):
        read_webdataset(path)


def test_the_bound_does_not_rest_on_frombuf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer Pythons, and Debian's older ones with the same fix, read a header block by another method."""
    monkeypatch.setattr(BoundedTarInfo, "frombuf", classmethod(tarfile.TarInfo.frombuf.__func__))  # type: ignore[attr-defined]
    path = tmp_path / "release.tar"
    path.write_bytes(CASES["long name of 1 GB"]())
    with pytest.raises(tarfile.ReadError, match=f"a header of {1 << 30} bytes"):
        open_tar(name=str(path))


def test_two_megabytes_stay_two_megabytes(tmp_path: Path) -> None:
    """A compressed long name of 1.5 GB is refused by its size, before it is unpacked."""
    size = 3 << 29
    path = tmp_path / "release.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header(tarfile.GNUTYPE_LONGNAME, size))
        for _ in range(size >> 26):
            file.write(bytes(1 << 26))
    program = (
        "import resource, sys, pathlib\n"
        "from components.import_cv.read.opening import open_sources\n"
        "from speech.errors import InputError\n"
        "import numpy, soundfile\n"
        "mapped = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (mapped + {LIMIT_BYTES},) * 2)\n"
        "try:\n"
        "    open_sources(sys.argv[1], '').tables(('train',), (), pathlib.Path(sys.argv[2]))\n"
        "except InputError as error:\n"
        "    sys.exit(str(error))\n"
    )
    result = subprocess.run([sys.executable, "-c", program, str(path), str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 1, result.stderr[-2000:]
    assert f"a header of {size} bytes: expected at most {HEADER_BYTES}" in result.stderr, result.stderr[-2000:]
