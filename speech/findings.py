"""What can be known before the work: findings are collected, and all of them said at once."""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from speech.errors import InputError, RetryError
from speech.extras import lacking
from speech.storage.objects import client, encryption, is_remote, split_uri, storage_errors


class Findings:
    """What stands in the way of a command."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._retry: RetryError | None = None

    def add(self, line: str) -> None:
        """Note something that the user has to mend; the same is said once."""
        if line and line not in self.lines:
            self.lines.append(line)

    @contextlib.contextmanager
    def noting(self, flag: str = "") -> Iterator[None]:
        """Note an InputError instead of raising it; a line names the `flag` unless its message does."""
        try:
            yield
        except InputError as error:
            self.add(f"--{flag} {error}" if flag and not str(error).startswith("--") else str(error))
        except RetryError as error:
            self._retry = error

    def raise_found(self) -> None:
        """Raise InputError with a line for each finding, if there are any; RetryError for a store that is away."""
        if len(self.lines) == 1:
            raise InputError(self.lines[0])
        if self.lines:
            lines = "".join(f"\n  {number}. {line}" for number, line in enumerate(self.lines, 1))
            raise InputError(f"{len(self.lines)} things have to be mended before the work can begin:{lines}")
        if self._retry is not None:
            raise self._retry

    def exists(self, flag: str, path: str) -> bool:
        """Whether there is something at a path or URI that a command reads; notes what is not."""
        before = len(self.lines)
        if is_remote(path):
            with self.noting(flag):
                bucket, key = split_uri(path)
                with storage_errors(path):
                    listing = client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
                if not listing.get("KeyCount", len(listing.get("Contents", ()))):
                    raise InputError(f"{path}: no such object, and none under it")
        elif not Path(path).exists():
            self.add(f"--{flag} {path}: no such file")
        return len(self.lines) == before

    def takes_files(self, flag: str, folder: str) -> None:
        """Note a folder or prefix into which nothing can be written; nothing is left there by the attempt."""
        if is_remote(folder):
            with self.noting(flag):
                bucket, key = split_uri(folder)
                name = f"{key.rstrip('/')}/.speechmill-{uuid.uuid4().hex}".lstrip("/")
                with storage_errors(folder):  # an upload that is never completed is no object
                    place = {"Bucket": bucket, "Key": name}
                    begun = client().create_multipart_upload(**place, **encryption())
                    client().abort_multipart_upload(**place, UploadId=begun["UploadId"])
            return
        place_found = _nearest(Path(folder))
        if not place_found.is_dir():
            what = "it" if place_found == Path(folder) else str(place_found)
            self.add(f"--{flag} {folder}: {what} is a file: give a folder")
            return
        try:
            with tempfile.TemporaryFile(dir=place_found) as file:
                file.write(b"x")
        except OSError as error:
            self.add(
                f"--{flag} {folder}: {place_found} cannot be written: {error.strerror}: choose another folder, or "
                "give this user the right to write"
            )

    def takes_file(self, flag: str, path: str) -> None:
        """Note a file that cannot be written."""
        if not is_remote(path) and Path(path).is_dir():
            self.add(f"--{flag} {path}: it is a folder: give a file's name")
            return
        self.takes_files(flag, path.rpartition("/")[0] if is_remote(path) else str(Path(path).parent))

    def has_room(self, flag: str, folder: str, n_bytes: int, what: str) -> None:
        """Note a disk that is too full for `n_bytes` more."""
        if is_remote(folder):
            return
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(_nearest(Path(folder))).free
            if free < n_bytes:
                self.add(
                    f"--{flag} {folder}: {_gigabytes(free)} are free there, and {what} take {_gigabytes(n_bytes)}: "
                    "make room or choose another disk"
                )

    def has_packages(self, extra: str, modules: tuple[str, ...] = ()) -> None:
        """Note modules of the extra (or just `modules` of it) that are not installed; they are not imported."""
        self.add(lacking(extra, modules=modules))


def _nearest(path: Path) -> Path:
    """The path itself or the nearest folder above it that exists."""
    path = path.absolute()
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            if place.exists():
                return place
    return path


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
