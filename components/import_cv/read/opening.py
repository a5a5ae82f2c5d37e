"""Which source a path or URI names."""

from pathlib import Path

from components.import_cv.read.archives import ArchiveSource
from components.import_cv.read.folders import Folder
from components.import_cv.read.release import Source
from components.import_cv.read.remote import RemoteFolder
from components.import_cv.read.several import SeveralSources
from speech.corpus_uri import CorpusUri, parse_corpus, split_corpora
from speech.errors import InputError
from speech.storage.objects import is_remote


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
