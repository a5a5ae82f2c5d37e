"""Several releases as one: a clip counts once, its newest row says what it is, and no held-out clip is trained on.

Tables are read twice and written once, with compact columns by clip between, as planning has them.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from components.import_cv.plan.labels import REMOVED, TO_SPACES
from components.import_cv.plan.planning import NEEDED, OPTIONAL, source_name
from components.import_cv.plan.reasons import Reason
from components.import_cv.plan.table import DistinctTexts
from components.import_cv.read.tsv import read_tsv
from speech.artifacts import SPLITS
from speech.errors import InputError

TRAIN, DEV, TEST = SPLITS
TABLES = (*SPLITS, "validated", "other")
MORE = (("up_votes",), ("down_votes",), ("locale",))
COLUMNS = ("client_id", "path", "sentence", "age", "gender", "accents", "up_votes", "down_votes", "locale", "source")
MOST_CORPORA = 63  # bits of a mask, one for each
_NONE, _OTHER, _VALIDATED = range(3)
_HOMES = ("", DEV, TEST)
_SEVERAL_SPACES = str.maketrans("\t\r\n", "   ")


@dataclass(frozen=True)
class PartTables:
    """The tables of one of several releases."""

    name: str  # the folder of its clips in the merged release
    tsv_files: Mapping[str, Path]
    durations: Path | None = None
    own_names: bool = False  # another release's clip of the same name is another clip


@dataclass
class PartFacts:
    """What the merge made of one release."""

    name: str
    clips: int = 0  # listed
    repeated: int = 0  # listed by a newer release as well, which counts
    changed_sentences: int = 0  # that it has newer than an earlier release
    held_out: int = 0  # not trained on: the speaker or the sentence is in dev or test of another release
    to_train: int = 0  # validated clips of a release without train.tsv

    def describe(self) -> dict[str, Any]:
        """The report's form."""
        return asdict(self)


@dataclass
class _Clips:
    """Columns by clip."""

    ids: DistinctTexts = field(default_factory=DistinctTexts)
    newest: array = field(default_factory=lambda: array("B"))  # which part's row counts
    homes: array = field(default_factory=lambda: array("B"))  # index in _HOMES
    status: array = field(default_factory=lambda: array("B"))
    in_train: array = field(default_factory=lambda: array("Q"))  # the parts that train on it, a bit each
    sentences: array = field(default_factory=lambda: array("q"))  # a hash of the newest
    done: bytearray = field(default_factory=bytearray)

    def number(self, clip_id: str) -> int:
        found = self.ids.find(clip_id)
        if found >= 0:
            return found
        for column in (self.newest, self.homes, self.status, self.in_train, self.sentences, self.done):
            column.append(0)
        return self.ids.append(clip_id)


class Merge:
    """Merges the tables of releases, the oldest first."""

    def __init__(self, parts: Sequence[PartTables]) -> None:
        if len(parts) > MOST_CORPORA:
            raise InputError(f"{len(parts)} releases at once: expected at most {MOST_CORPORA}")
        self.parts = parts
        self.facts = [PartFacts(part.name) for part in parts]
        self._clips = _Clips()
        self._speakers: dict[str, int] = {}  # of dev and test: the parts that hold them out, a bit each
        self._sentences: set[str] = set()  # of dev and test
        trained = any(TRAIN in part.tsv_files for part in parts)
        self._to_train = [trained and TRAIN not in part.tsv_files for part in parts]

    def write(self, folder: Path) -> tuple[dict[str, Path], Path | None]:
        """Write the merged tables into `folder`; returns them by set, and the listed durations if there are any."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(len(self.parts)):
            self._read(number)
        names = [name for name in TABLES if any(name in part.tsv_files for part in self.parts)]
        files = {name: folder / f"{name}.tsv" for name in names}
        opened = {name: path.open("wb") for name, path in files.items()}
        try:
            for file in opened.values():
                file.write(("\t".join(COLUMNS) + "\n").encode())
            for number in range(len(self.parts)):
                self._write_part(number, opened)
        finally:
            for file in opened.values():
                file.close()
        return files, self._durations(folder / "clip_durations.tsv")

    def _clip(self, part: int, path: str, client_id: str) -> int:
        """The number of a clip, by what it is known by in every release."""
        name = path.rpartition("/")[2]
        if name.startswith("common_voice_"):
            return self._clips.number(name.partition(".")[0])
        place = self.parts[part].name if self.parts[part].own_names else ""
        return self._clips.number(f"{place}\t{source_name(path) or path}\t{client_id}")

    def _rows(self, part: int) -> Iterator[tuple[str, Reason, Sequence[str]]]:
        tables = self.parts[part].tsv_files
        for name in (name for name in TABLES if name in tables):
            for _, reason, values in read_tsv(tables[name], NEEDED, (*OPTIONAL, *MORE)):
                yield name, reason, values

    def _read(self, part: int) -> None:
        """Pass one: what each clip is, after this part."""
        clips, bit = self._clips, 1 << part
        for table, reason, (path, sentence, client_id, *_) in self._rows(part):
            if reason is not Reason.ACCEPTED:
                continue
            known = len(clips.ids)
            clip = self._clip(part, path, client_id)
            text = hash(sentence)
            if clip == known:
                self.facts[part].clips += 1
            elif clips.newest[clip] != part:
                self.facts[part].clips += 1
                self.facts[clips.newest[clip]].repeated += 1
                self.facts[part].changed_sentences += text != clips.sentences[clip]
            if clips.newest[clip] != part or clip == known:
                clips.newest[clip], clips.sentences[clip], clips.status[clip] = part, text, _NONE
            if table in (DEV, TEST):
                clips.homes[clip] = clips.homes[clip] or _HOMES.index(table)
                if client_id:
                    self._speakers[client_id] = self._speakers.get(client_id, 0) | bit
                self._sentences.add(_comparable(sentence))
            elif table == TRAIN:
                clips.in_train[clip] |= bit
            else:
                clips.status[clip] = max(clips.status[clip], _VALIDATED if table == "validated" else _OTHER)

    def _write_part(self, part: int, files: Mapping[str, BinaryIO]) -> None:
        """Pass two: the rows that count, each into every set that it belongs to."""
        clips, name = self._clips, self.parts[part].name
        for table, reason, (path, sentence, client_id, *more) in self._rows(part):
            if reason is not Reason.ACCEPTED:  # refused again when planning, and counted there
                files[table].write(b"\xff\n" if reason is Reason.NOT_UTF8 else f"\t{name}/{path}\n".encode())
                continue
            clip = self._clip(part, path, client_id)
            if clips.newest[clip] != part or clips.done[clip]:
                continue
            clips.done[clip] = 1
            values = (client_id, f"{name}/{source_name(path) or path}", sentence, *more, name)
            line = ("\t".join(value.translate(_SEVERAL_SPACES) for value in values) + "\n").encode()
            for target in self._sets(part, clip, client_id, sentence):
                if target in files:
                    files[target].write(line)

    def _sets(self, part: int, clip: int, client_id: str, sentence: str) -> Iterator[str]:
        clips, facts = self._clips, self.facts[part]
        status, trains = clips.status[clip], clips.in_train[clip]
        promoted = not trains and status == _VALIDATED and self._to_train[part]
        if clips.homes[clip]:
            yield _HOMES[clips.homes[clip]]
        elif trains or promoted:
            held = self._speakers.get(client_id, 0) & ~trains
            if held or (promoted and _comparable(sentence) in self._sentences):
                facts.held_out += 1
            else:
                facts.to_train += promoted
                yield TRAIN
        if status == _VALIDATED or (status == _NONE and (trains or clips.homes[clip])):
            yield "validated"  # what is in a set was validated, also where that table was not there to be read
        elif status == _OTHER:
            yield "other"

    def _durations(self, path: Path) -> Path | None:
        listed = [part for part in self.parts if part.durations is not None]
        if not listed:
            return None
        with path.open("w", encoding="utf-8") as file:
            file.write("clip\tduration[ms]\n")
            for part in listed:
                try:
                    for _, reason, (clip, duration) in read_tsv(part.durations, ("clip", "duration[ms]")):  # type: ignore[arg-type]
                        if reason is Reason.ACCEPTED:
                            file.write(f"{part.name}/{clip}\t{duration}\n")
                except InputError:  # a damaged list is no reason not to import
                    continue
        return path


def _comparable(sentence: str) -> str:
    """A sentence so that differences of case, punctuation and spaces do not hide that it is the same."""
    return " ".join(sentence.translate(TO_SPACES).translate(REMOVED).casefold().split())
