"""Where clips come from: a CSV, one of DeepSpeech's sample databases, a WebDataset tar, or a Corpus folder."""

import weakref
from pathlib import Path

from speech.artifacts import ALPHABET, Corpus
from speech.clips import sample_database, webdataset
from speech.clips.manifest import Manifest, read_manifest
from speech.errors import InputError
from speech.storage.objects import download_folder, is_remote, local_folder
from speech.storage.stores import fetched

# What somebody still holds is not read again: a check before the work, and the work, read the same lists.
_held: weakref.WeakValueDictionary[tuple[str, int, int], Manifest] = weakref.WeakValueDictionary()
KINDS = "a CSV, an .sdb file, a .tar file or a corpus folder"


def is_csv(path: Path) -> bool:
    """Whether `read_source` takes the file for a CSV: any that is not named as one of the others."""
    return path.suffix.lower() not in (sample_database.SUFFIX, webdataset.SUFFIX)


def read_source(path: str | Path, split: str = "train") -> Manifest:
    """The labelled clips of a source; of a Corpus folder the set `split`. Raises InputError for anything else."""
    path = Path(path)
    if path.is_dir():
        return read_corpus(Corpus.open(path), split)
    if not path.is_file():
        if is_csv(path):
            return read_manifest(path)  # which says what is expected there
        raise InputError(f"{path}: no such file: expected {KINDS}")
    facts = path.stat()
    key = (str(path.resolve()), facts.st_mtime_ns, facts.st_size)
    manifest = _held.get(key)
    if manifest is None or manifest.path != path:
        _held[key] = manifest = _read(path)
    return manifest


def read_corpus(corpus: Corpus, split: str) -> Manifest:
    """The clips of a set of a corpus, whose table and shards are those that the import wrote: InputError if not."""
    corpus.check((f"{split}.csv", ALPHABET))
    manifest = read_source(corpus.csv(split))
    corpus.check({clip.shard for clip in manifest})
    return manifest


def alphabet_beside(source: Path) -> Path | None:
    """The alphabet.txt that lies beside a source, or in a Corpus folder; None if there is none."""
    path = (source if source.is_dir() else source.parent) / ALPHABET
    return path if path.is_file() else None


def _read(path: Path) -> Manifest:
    if path.suffix.lower() == sample_database.SUFFIX:
        return sample_database.read_sample_database(path)
    if path.suffix.lower() == webdataset.SUFFIX:
        return webdataset.read_webdataset(path)
    return read_manifest(path)


def fetch_source(uri: str, scratch: Path) -> Path:
    """The local path of a source that may be an `s3://` URI; with a CSV comes its folder, where its clips are."""
    if not is_remote(uri):
        return Path(uri)
    folder, _, name = uri.rstrip("/").rpartition("/")
    suffix = Path(name).suffix.lower()
    if suffix in (sample_database.SUFFIX, webdataset.SUFFIX):
        return fetched(uri, scratch)
    if suffix != ".csv":
        return local_folder(uri, scratch)
    download_folder(folder, scratch)
    if not (scratch / name).is_file():
        raise InputError(f"{uri}: no such object")
    return scratch / name
