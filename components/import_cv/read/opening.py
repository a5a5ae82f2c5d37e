"""Which source a path or URI names."""

from pathlib import Path

from components.import_cv.read.archives import ArchiveSource
from components.import_cv.read.folders import Folder
from components.import_cv.read.release import Source
from components.import_cv.read.remote import RemoteFolder
from speech.errors import InputError
from speech.storage.objects import is_remote


def open_source(uri: str, audio_dir: str) -> Source:
    """The source that a path or URI names; raises InputError if nothing is there."""
    if is_remote(uri):
        archive = uri.endswith((".tar", ".tar.gz", ".tgz"))
        if archive:
            return ArchiveSource(uri)
        return RemoteFolder(uri.rstrip("/"), audio_dir)
    path = Path(uri)
    if path.is_dir():
        return Folder(path, Path(audio_dir) if audio_dir else None)
    if path.is_file():
        return ArchiveSource(uri)
    raise InputError(f"{uri}: no such folder or archive: expected the folder of a Common Voice release, or its .tar.gz")
