"""Which release a scheduled run works on: the newest one under a prefix, unless it has been trained on already."""

import fnmatch
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from components.publish.champion import RELEASES, Champions
from components.publish.contents import CHECKPOINT
from components.publish.model_bucket import open_target
from speech.artifacts import Corpus
from speech.errors import InputError
from speech.storage.corpus_uri import ARCHIVES, is_web, joined_revision, parse_corpus, split_corpora
from speech.storage.objects import is_remote, is_stored, list_keys, list_objects, of_artifact_store, split_uri

TABLES = frozenset(("train.tsv", "validated.tsv"))  # an unpacked release has one; a delta the second alone
WILDCARDS = re.compile(r"[*?\[]")
VERSION = re.compile(r"^cv-corpus-(\d+(?:\.\d+)*)(-delta)?(?:-(\d{4}-\d{2}-\d{2}))?(?:-(.+))?$")


def is_watched(corpus_uri: str) -> bool:
    """Whether it names where releases appear (`.../`, or a name with wildcards) rather than a release.

    Of several with commas between, one is enough.
    """
    return any(map(_is_watched, split_corpora(corpus_uri)))


def _is_watched(corpus_uri: str) -> bool:
    if is_web(corpus_uri):
        return False
    folder, _, name = corpus_uri.rpartition("/")
    if is_stored(corpus_uri):
        return not name or bool(WILDCARDS.search(name))
    if not name:
        return bool(corpus_uri) and not any((Path(folder or "/") / name).is_file() for name in TABLES)
    return bool(WILDCARDS.search(name)) and not Path(corpus_uri).exists()


@dataclass(frozen=True)
class WatchedRelease:
    """A release, and what is known of it."""

    uri: str
    revision: str  # changes with its content
    size_bytes: int

    @property
    def name(self) -> str:
        """The file name without its ending."""
        name = self.uri.rstrip("/").rsplit("/", 1)[-1]
        return next((name[: -len(ending)] for ending in ARCHIVES if name.endswith(ending)), name)


@dataclass(frozen=True)
class News:
    """What a scheduled run has to do; `release` is None if it is nothing."""

    message: str
    release: WatchedRelease | None = None
    previous: str = ""  # corpus of an earlier import
    base_checkpoint_uri: str = ""


def look(corpus_uri: str, publish_uri: str, base_checkpoint_uri: str = "") -> News:
    """Find the newest release, and what its training starts from: the champion's checkpoint and corpus.

    `corpus_uri` is a folder or s3:// prefix that ends with `/`, or a name with wildcards such as
    `s3://corpora/cv-corpus-*-cy.tar.gz`, or several of them, or of releases, with commas between. Raises InputError if
    nothing is there, or releases of several languages.
    """
    if not publish_uri:
        raise InputError("--publish_uri is missing: it keeps which releases have been trained on")
    release = newest(corpus_uri)
    place = open_target(publish_uri)
    trained = place.get(f"{RELEASES}/{release.revision}.json")
    if trained is not None and not (
        isinstance(trained, dict) and all(isinstance(trained.get(name), str) for name in ("trained", "version"))
    ):
        raise InputError(f"{place.locate(f'{RELEASES}/{release.revision}.json')}: damaged: remove it to train again")
    if trained is not None:
        return News(
            f"nothing to do: {release.uri} is the newest release and has not changed since {trained['trained'][:10]}, "
            f"when {trained['version']} was trained on it"
        )
    champion = Champions(place).current()
    news = News(
        f"new: {release.uri.replace(',', ' and ')} ({release.size_bytes / 1e9:.2f} GB)",
        release,
        "",
        base_checkpoint_uri,
    )
    if champion is None:
        return news
    description = place.read(champion["version"]) or {}
    if not base_checkpoint_uri and any(name.startswith(f"{CHECKPOINT}/") for name in description.get("files", {})):
        news = replace(news, base_checkpoint_uri=f"{champion['uri']}/{CHECKPOINT}")
    imported = of_artifact_store(description.get("source", {}).get("imported_uri", ""))
    return replace(news, previous=imported) if _is_corpus(imported) else news


def newest(corpus_uri: str) -> WatchedRelease:
    """The release with the highest number and date, and the deltas that came after it; raises InputError without one.

    Several are one release whose URI has commas. What `corpus_uri` names besides places counts as it is.
    """
    found = [
        release
        for one in split_corpora(corpus_uri)
        for release in (_newest(one) if _is_watched(one) or one == corpus_uri else [_fixed(one)])
    ]
    return WatchedRelease(
        ",".join(release.uri for release in found),
        joined_revision([release.revision for release in found]),
        sum(release.size_bytes for release in found),
    )


def _fixed(uri: str) -> WatchedRelease:
    """A release that was named: of an archive, its facts count, of anything else the name."""
    folder, _, name = parse_corpus(uri).uri.rpartition("/")
    files = () if is_web(uri) else (_objects if is_stored(uri) else _files)(folder)
    found = next((release for release in files if release.uri.rpartition("/")[2] == name), None)
    return WatchedRelease(uri, found.revision, found.size_bytes) if found else WatchedRelease(uri, _digest(uri), 0)


def _newest(corpus_uri: str) -> list[WatchedRelease]:
    """The newest whole release of one place, and the deltas since."""
    folder, _, pattern = corpus_uri.rpartition("/")
    if WILDCARDS.search(folder):
        raise InputError(f"{corpus_uri}: wildcards stand in the last part of the name only")
    files = list((_objects if is_stored(corpus_uri) else _files)(folder))
    names = [release.uri.rsplit("/", 1)[-1] for release in files]
    if not pattern and TABLES.intersection(names):  # an unpacked release, and not a place for several
        facts = "\n".join(f"{release.revision}" for release in files)
        return [WatchedRelease(folder, _digest(facts), sum(release.size_bytes for release in files))]
    found = [
        release
        for release, name in zip(files, names, strict=True)
        if name.endswith(ARCHIVES) and fnmatch.fnmatchcase(name, pattern or "*")
    ]
    numbered = [(match, release) for release in found if (match := VERSION.match(release.name))]
    if not numbered:
        raise InputError(
            f"{corpus_uri}: no release there: expected archives such as cv-corpus-17.0-2024-03-15-cy.tar.gz"
        )
    languages = sorted({match[4] or "" for match, _ in numbered})
    if len(languages) > 1:
        raise InputError(
            f"{corpus_uri}: releases of several languages ({', '.join(languages)}): name one, such as "
            f"{folder}/cv-corpus-*-{languages[0]}.tar.gz"
        )
    ordered = sorted(numbered, key=lambda pair: (*_age(pair[0]), pair[1].uri))
    whole = [pair for pair in ordered if not pair[0][2]]
    deltas = [pair for pair in ordered if pair[0][2] and (not whole or _age(pair[0]) > _age(whole[-1][0]))]
    return [release for _, release in (*whole[-1:], *deltas)]


def _age(match: re.Match[str]) -> tuple[tuple[int, ...], str]:
    """Number and date of a release, in whose order they came."""
    return _number(match[1]), match[3] or ""


def _number(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _objects(folder: str) -> Iterable[WatchedRelease]:
    bucket, _ = split_uri(f"{folder}/")
    for key, listed in list_objects(f"{folder}/", "/").items():
        facts = f"{key}\t{listed.size}\t{listed.etag}\t{listed.modified.isoformat()}"
        yield WatchedRelease(f"{folder.partition(':')[0]}://{bucket}/{key}", _digest(facts), listed.size)


def _files(folder: str) -> Iterable[WatchedRelease]:
    if not Path(folder or "/").is_dir():
        raise InputError(f"{folder}: no such folder: expected one with archives of Common Voice releases")
    for path in sorted(Path(folder or "/").iterdir()):
        if path.is_file():
            stat = path.stat()
            yield WatchedRelease(str(path), _digest(f"{path.name}\t{stat.st_size}\t{stat.st_mtime_ns}"), stat.st_size)


def _digest(facts: str) -> str:
    """The same text as `speechmill run` makes of an archive that it is given by name."""
    return hashlib.sha256(facts.encode("utf-8", errors="surrogateescape") + b"\n").hexdigest()[:16]


def _is_corpus(uri: str) -> bool:
    """Whether an earlier run's corpus is still there and readable; without it every clip is converted again."""
    if not uri:
        return False
    if not is_remote(uri):
        return (Path(uri) / Corpus.REPORT).is_file()
    try:
        return bool(list_keys(f"{uri.rstrip('/')}/{Corpus.REPORT}"))
    except InputError:
        return False
