"""Revisions of inputs: a short text that changes when what lies at a path or URI changes.

A cache of Kubeflow Pipelines, local or on a cluster, knows a step's inputs by the text of its parameters. With the
revision among them, a corpus that was changed in place is imported again.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from speech.storage.corpus_uri import is_web, joined_revision, parse_corpus, split_corpora
from speech.storage.objects import is_stored, list_objects, split_uri
from speech.storage.web import WebStream


def revision(text: str) -> str:
    """16 hexadecimal digits over names, sizes and change times (of an object store's objects, ETags as well).

    `text` is what `corpus_uri` says: of several releases, all count. Empty for an empty one and where nothing is: the
    step that reads it says so.
    """
    return joined_revision([_revision(parse_corpus(one).uri) for one in split_corpora(text)])


def _revision(uri: str) -> str:
    total, count = hashlib.sha256(), 0
    for line in _web(uri) if is_web(uri) else _objects(uri) if is_stored(uri) else _files(Path(uri)):
        total.update(line.encode("utf-8", errors="surrogateescape") + b"\n")
        count += 1
    return total.hexdigest()[:16] if count else ""


def _files(path: Path) -> Iterator[str]:
    if path.is_file():
        yield _describe(path.name, path.stat())
        return
    folders, seen = [path] if path.is_dir() else [], set()
    while folders:
        folder = folders.pop()
        if (identity := folder.resolve()) in seen:  # links may form a circle
            continue
        seen.add(identity)
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir():
                    folders.append(Path(entry.path))
                elif entry.is_file():
                    yield _describe(os.path.relpath(entry.path, path), entry.stat())


def _describe(name: str, stat: os.stat_result) -> str:
    return f"{name}\t{stat.st_size}\t{stat.st_mtime_ns}"


def _web(uri: str) -> Iterator[str]:
    with WebStream(uri).look() as stream:
        yield f"{stream.shown}\t{stream.size}\t{stream.mark}"


def _objects(uri: str) -> Iterator[str]:
    """The object of that name, or if there is none those below it, as a folder; neighbours do not count."""
    key = split_uri(uri)[1]
    folder = f"{key.rstrip('/')}/" if key else ""
    below = []
    for name, listed in list_objects(uri).items():
        line = f"{name}\t{listed.size}\t{listed.etag}\t{listed.modified.isoformat()}"
        if name == key:
            yield line
            return
        if name.startswith(folder):
            below.append(line)
    yield from below
