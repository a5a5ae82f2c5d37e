"""Which source a path or URI names."""

from pathlib import Path
from typing import Any

from components.import_cv.read.archives import ArchiveSource, open_remote
from components.import_cv.read.folders import Folder, has_tables
from components.import_cv.read.foreign import DatabaseSource, ForeignFolder
from components.import_cv.read.release import Source
from components.import_cv.read.remote import RemoteFolder
from components.import_cv.read.several import SeveralSources
from components.import_cv.read.zips import ZipSource
from speech.clips import sample_database
from speech.errors import InputError
from speech.storage.corpus_uri import ARCHIVES, CorpusUri, is_source, is_web, parse_corpus, split_corpora
from speech.storage.objects import is_stored, list_folder, list_keys

ZIP = b"PK\x03\x04"


def open_sources(text: str, audio_dir: str) -> Source:
    """The release that `corpus_uri` names, or several with commas between as one; raises InputError."""
    given = [parse_corpus(one) for one in split_corpora(text)]
    if len(given) == 1:
        return _open(given[0], audio_dir)
    if audio_dir:
        raise InputError("--audio_dir names the audio of one release: with several, put each one's in its `clips`")
    return SeveralSources([(one, _open(one, "")) for one in given])


def _open(given: CorpusUri, audio_dir: str) -> Source:
    uri = given.uri
    if given.path.endswith(".zip") and not Path(uri).is_dir():
        _require_file(uri)
        return ZipSource(given)
    if is_web(uri):
        is_zip = not given.path.endswith(ARCHIVES) and _is_zip(open_remote(uri))
        return ZipSource(given) if is_zip else ArchiveSource(given)
    if is_stored(uri) and uri.endswith(ARCHIVES):
        return ArchiveSource(given)
    if given.sha256 and not Path(uri).is_file():
        raise InputError(f"{uri}: #sha256= is that of an archive, and this is a folder")
    if is_stored(uri):
        uri = uri.rstrip("/")
        found = list_folder(uri)
        foreign = not any(name.endswith(".tsv") for name in found) and bool(found or list_keys(f"{uri}/"))
        return ForeignFolder(uri, stored=True) if foreign else RemoteFolder(uri, audio_dir)
    path = Path(uri)
    if path.is_dir() and not audio_dir and not has_tables(path) and any(path.iterdir()):
        return ForeignFolder(uri, stored=False)
    if path.is_dir():
        return Folder(path, Path(audio_dir) if audio_dir else None)
    if path.suffix == sample_database.SUFFIX and path.is_file():
        return DatabaseSource(path)
    if path.is_fifo():
        return ArchiveSource(given)
    if path.is_file():
        return ZipSource(given) if _is_zip(path.open("rb")) else ArchiveSource(given)
    raise _nothing(uri)


def _is_zip(file: Any) -> bool:
    with file:
        return bytes(file.read(len(ZIP))) == ZIP


def _require_file(uri: str) -> None:
    if not is_source(uri) and not Path(uri).is_file():
        raise _nothing(uri)


def _nothing(uri: str) -> InputError:
    return InputError(
        f"{uri}: no such folder or archive: expected the folder of a Common Voice release, or its .tar.gz"
    )
