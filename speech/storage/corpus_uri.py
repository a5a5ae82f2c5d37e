"""What `corpus_uri` says: one release or several with commas between, each maybe with facts behind a `#`.

s3://corpora/cv-corpus-17.0-2024-03-15-cy.tar.gz,https://host/own.zip#sha256=...&license=CC-BY-4.0
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from speech.errors import InputError

FACTS = ("sha256", "date", "license")
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
_FRAGMENT = re.compile(rf"#((?:{'|'.join(FACTS)})=[^#]*)$")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATED = re.compile(r"cv-corpus-\d+(?:\.\d+)*(?:-delta)?-(\d{4}-\d{2}-\d{2})")
_NAME = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass(frozen=True)
class CorpusUri:
    """One release: where it is, and what the user says of it."""

    uri: str
    sha256: str = ""  # of an archive
    date: str = ""  # of the release, where its name does not say it
    license: str = ""

    @property
    def path(self) -> str:
        """The URI without what a web server reads as a question, which may hold secrets."""
        return urlsplit(self.uri)._replace(query="", fragment="").geturl() if is_web(self.uri) else self.uri

    @property
    def name(self) -> str:
        """A folder's or archive's name, with that of the release in front if only the folder above has it."""
        parts = [unquote(part) for part in self.path.rstrip("/").split("/")]
        name = next((parts[-1].removesuffix(ending) for ending in ARCHIVES if parts[-1].endswith(ending)), parts[-1])
        if "cv-corpus" not in name and len(parts) > 1 and "cv-corpus" in parts[-2]:
            name = f"{parts[-2]}-{name}"
        return _NAME.sub("_", name).strip("._-") or "corpus"


def is_web(uri: str) -> bool:
    """Whether it is an `https://` or `http://` address."""
    return uri.startswith(("https://", "http://"))


def is_source(uri: str) -> bool:
    """Whether it is reached over the network."""
    return is_web(uri) or uri.startswith(("s3://", "gs://"))


def split_corpora(text: str) -> list[str]:
    """The releases that `corpus_uri` names; a local path that exists may itself have commas."""
    if "," not in text or Path(text).exists():
        return [text] if text else []
    return [one for one in (part.strip() for part in text.split(",")) if one]


def parse_corpus(text: str) -> CorpusUri:
    """One of them with its facts; raises InputError for a fact that cannot be."""
    match = _FRAGMENT.search(text)
    if match is None or (not is_web(text) and Path(text).exists()):
        return CorpusUri(text)
    uri, facts = text[: match.start()], dict(part.partition("=")[::2] for part in match[1].split("&"))
    unknown = [name for name in facts if name not in FACTS]
    if unknown:
        raise InputError(f"{uri}: unknown fact #{unknown[0]}: expected {', '.join(f'#{name}=' for name in FACTS)}")
    if "sha256" in facts and not re.fullmatch(r"[0-9a-fA-F]{64}", facts["sha256"]):
        raise InputError(f"{uri}: #sha256={facts['sha256']}: expected 64 hexadecimal digits")
    if "date" in facts and not _DATE.fullmatch(facts["date"]):
        raise InputError(f"{uri}: #date={facts['date']}: expected YYYY-MM-DD")
    return CorpusUri(uri, facts.get("sha256", "").lower(), facts.get("date", ""), unquote(facts.get("license", "")))


def joined_revision(revisions: Sequence[str]) -> str:
    """The revision of several releases: that of one is its own; "" if nothing is at one of them."""
    if len(revisions) == 1:
        return revisions[0]
    if not revisions or not all(revisions):
        return ""
    return hashlib.sha256("\n".join(revisions).encode()).hexdigest()[:16]


def release_date(*names: str) -> str:
    """The date in the first name that has one, such as cv-corpus-17.0-2024-03-15; "" without."""
    return next((match[1] for name in names if (match := _DATED.search(name))), "")
