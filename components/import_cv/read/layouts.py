"""Corpora that are not laid out as Common Voice is: what their text files say, as Common Voice's tables.

| layout | known by |
|---|---|
| DeepSpeech's and Coqui STT's CSVs | `*.csv` with the columns wav_filename and transcript |
| LibriSpeech | `*.trans.txt`: name and sentence, beside the clips |
| Multilingual LibriSpeech | `transcripts.txt`: name and sentence, the clips in audio/SPEAKER/BOOK |
| pairs | a `.txt` beside each clip, of the same name |

Text that is not UTF-8 passes as it is, and is refused when planning.
"""

import csv
import io
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from components.import_cv.plan.planning import AUDIO_SUFFIXES
from components.import_cv.plan.table import DistinctTexts
from components.import_cv.read.release import Origin, Release
from speech.artifacts import SPLITS
from speech.errors import InputError

TEXT_SUFFIXES = (".csv", ".txt", ".TXT")
MAX_TEXT_BYTES = 1 << 33
MAX_SENTENCE_BYTES = 1 << 16
COLUMNS = ("client_id", "path", "sentence")
NO_SET = "validated"
_SETS = {**{name: name for name in SPLITS}, "valid": "dev", "validation": "dev", "eval": "test"}
_LICENSE = re.compile(r"(?i)(.*/)?licen[cs]e\.txt")


class Labelled(NamedTuple):
    """One clip."""

    set_name: str
    path: str
    sentence: str
    client_id: str


@dataclass
class Listing:
    """The files of a corpus: the names of the audio, and the text files on this disk."""

    name: str
    audio: DistinctTexts = field(default_factory=DistinctTexts)
    texts: dict[str, Path] = field(default_factory=dict)

    def add_audio(self, name: str) -> None:
        """Note a clip."""
        if self.audio.find(name) < 0:
            self.audio.append(name)

    def clip(self, stem: str) -> str:
        """The clip of that name, whatever its suffix; the name itself if there is none."""
        return next((stem + suffix for suffix in sorted(AUDIO_SUFFIXES) if self.audio.find(stem + suffix) >= 0), stem)


def is_audio(name: str) -> bool:
    """Whether a name is a clip's."""
    return posixpath.splitext(name)[1].lower() in AUDIO_SUFFIXES


def set_of(name: str) -> str:
    """The set that a path says: `train-clean-100/x` -> `train`; validated if it says none."""
    for part in name.split("/"):
        for word in re.split(r"[-_.]", part.lower()):
            if word in _SETS:
                return _SETS[word]
    return NO_SET


def write_tables(listing: Listing, shown: str, folder: Path) -> Release:
    """Common Voice's tables of a corpus, in `folder`; raises InputError for a layout that is not known."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    with _Writers(folder, files) as write:
        for row in _read(listing, shown)(listing):
            write(row)
    if not files:
        raise InputError(f"{shown}: no transcript in it: expected a sentence for each clip")
    return Release(listing.name, files, None, [Origin(listing.name, "", _license(listing))], own_names=True)


def chosen(release: Release, sets: Sequence[str], optional: Sequence[str]) -> Release:
    """The same with the tables asked for; raises InputError if one of `sets` is missing."""
    missing = [name for name in sets if name not in release.tsv_files]
    if missing:
        raise InputError(
            f"{release.name}: it has no {', '.join(missing)}, only {', '.join(release.tsv_files)}: name folders or "
            "files after the sets, or have them made (--splits)"
        )
    release.tsv_files = {name: path for name, path in release.tsv_files.items() if name in (*sets, *optional)}
    return release


class _Writers:
    def __init__(self, folder: Path, files: dict[str, Path]) -> None:
        self._folder, self._files = folder, files
        self._open: dict[str, io.TextIOWrapper] = {}

    def __enter__(self) -> "Callable[[Labelled], None]":
        return self._write

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def _write(self, row: Labelled) -> None:
        cells = (row.client_id, row.path, " ".join(row.sentence.split()))
        for name in {row.set_name, NO_SET}:  # validated has all, as Common Voice's has
            if name not in self._open:
                path = self._files[name] = self._folder / f"{name}.tsv"
                self._open[name] = path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n")
                self._open[name].write("\t".join(COLUMNS) + "\n")
            self._open[name].write("\t".join(cells) + "\n")


def _read(listing: Listing, shown: str) -> Callable[[Listing], Iterator[Labelled]]:
    names = listing.texts
    if any(name.endswith(".csv") and "wav_filename" in _header(path) for name, path in names.items()):
        return _csvs
    if any(name.endswith(".trans.txt") for name in names):
        return _librispeech
    if any(posixpath.basename(name) == "transcripts.txt" for name in names):
        return _multilingual
    if any(_pair(listing, name) for name in names):
        return _pairs
    raise InputError(
        f"{shown}: no TSV files of a Common Voice release, and no other layout that is known: expected CSVs with "
        "wav_filename and transcript, *.trans.txt as in LibriSpeech, transcripts.txt as in MLS, or a .txt beside each "
        "clip"
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="surrogateescape")


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        return next(csv.reader(file), [])


def _csvs(listing: Listing) -> Iterator[Labelled]:
    for name, path in sorted(listing.texts.items()):
        if not name.endswith(".csv"):
            continue
        header = _header(path)
        if not {"wav_filename", "transcript"}.issubset(header):
            continue
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("shard"):
                    raise InputError(f"{path}: its clips are in shards: import its release, or unpack shards/*.tar")
                clip = _inside(listing, posixpath.dirname(name), path.parent, row["wav_filename"] or "")
                yield Labelled(set_of(name), clip, row["transcript"] or "", row.get("client_id") or "")


def _inside(listing: Listing, folder: str, place: Path, wav: str) -> str:
    """The name of a CSV's clip in the corpus: its path is relative to the CSV, or that of the machine that wrote it."""
    if not wav.startswith("/"):
        return posixpath.normpath(posixpath.join(folder, wav))
    if wav.startswith(f"{place.as_posix()}/"):
        return posixpath.join(folder, wav.removeprefix(f"{place.as_posix()}/"))
    parts = wav.split("/")[1:]
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((tail for tail in tails if listing.audio.find(tail) >= 0), parts[-1])


def _librispeech(listing: Listing) -> Iterator[Labelled]:
    for name, path in sorted(listing.texts.items()):
        if name.endswith(".trans.txt"):
            for line in _text(path).splitlines():
                clip, _, sentence = line.partition(" ")
                found = listing.clip(posixpath.join(posixpath.dirname(name), clip))
                yield Labelled(set_of(name), found, sentence, f"librispeech-{clip.partition('-')[0]}")


def _multilingual(listing: Listing) -> Iterator[Labelled]:
    for name, path in sorted(listing.texts.items()):
        if posixpath.basename(name) != "transcripts.txt":
            continue
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for line in file:
                clip, _, sentence = line.rstrip("\n").partition("\t")
                speaker, _, rest = clip.partition("_")
                place = posixpath.join(posixpath.dirname(name), "audio", speaker, rest.partition("_")[0], clip)
                yield Labelled(set_of(name), listing.clip(place), sentence, f"mls-{speaker}")


def _pairs(listing: Listing) -> Iterator[Labelled]:
    for name, path in sorted(listing.texts.items()):
        if clip := _pair(listing, name):
            sentence = "" if path.stat().st_size > MAX_SENTENCE_BYTES else _text(path)
            folders = [part for part in posixpath.dirname(name).split("/") if part and set_of(part) == NO_SET]
            speaker = "/".join([listing.name, *folders]) if folders else ""
            yield Labelled(set_of(posixpath.dirname(name)), clip, sentence, speaker)


def _pair(listing: Listing, name: str) -> str:
    """The clip beside a text file; "" if there is none."""
    stem, suffix = posixpath.splitext(name)
    found = listing.clip(stem)
    return found if suffix.lower() == ".txt" and found != stem else ""


def _license(listing: Listing) -> str:
    """The first line of the licence that came along."""
    names = sorted(name for name in listing.texts if _LICENSE.fullmatch(name))
    lines = _text(listing.texts[names[0]]).splitlines() if names else []
    return next((" ".join(line.split())[:80] for line in lines if line.strip()), "")
