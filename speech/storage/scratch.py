"""Temporary folders beside where their content goes, and those that a killed attempt left there."""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

YOUNG_S = 10.0  # a folder that is younger may have an owner that has not locked it yet


@contextlib.contextmanager
def scratch_in(folder: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """A temporary folder in `folder`, on the same disk; removed at the end, if it is still there.

    Folders of the same prefix and suffix that attempts left which were killed are removed first. Each has a lock as
    long as its process lives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{glob.escape(prefix)}????????{glob.escape(suffix)}"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(suffix, prefix, folder))
    try:
        with _locked(made):
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether no other process has the folder locked; never, where the file system knows no locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _is_left(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    if not folder.is_dir() or folder.is_symlink() or status.st_uid != os.getuid():
        return False
    if abs(time.time() - status.st_mtime) < YOUNG_S:
        return False
    with _locked(folder) as free:
        return free
