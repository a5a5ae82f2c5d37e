"""The plan of an import: which rows of which sets become which clips, decided from the TSV files alone."""

import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.reasons import Reason
from components.import_cv.plan.sets import TablePart
from components.import_cv.plan.table import DistinctTexts, Numbered, Texts
from components.import_cv.read.tsv import read_tsv
from speech.artifacts import ALL_SETS
from speech.errors import InputError

NEEDED = ("path", "sentence", "client_id")
OPTIONAL = (("age",), ("gender",), ("accents", "accent"))
PERSON_COLUMNS = 1 + len(OPTIONAL)
AUDIO_SUFFIXES = frozenset(
    [
        ".mp3",
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".aac",
        ".m4a",
        ".mp4",
        ".webm",
        ".amr",
        ".wma",
        ".aiff",
        ".aif",
        ".au",
        ".caf",
        ".mp2",
    ]
)
HELD_OUT_SETS = ("dev", "test")


Person = tuple[str, ...]  # client_id, age, gender, accent


class Row(NamedTuple):
    """One row of one set, as the reports and the CSVs need it."""

    set_name: str
    line: int
    reason: Reason
    clip: int  # -1 without a clip
    source: str  # path of the clip in the release
    text: str  # the transcript, or of a refused row the sentence
    client_id: str
    age: str
    gender: str
    accent: str
    table: str = ""  # the TSV file that the line is in


@dataclass
class Plan:
    """Columns of rows, and of the clips that they need. Clips are numbered in the order of their first row."""

    sets: tuple[str, ...]
    set_codes: array = field(default_factory=lambda: array("B"))
    tables: array = field(default_factory=lambda: array("B"))  # the TSV file of a row, index in ALL_SETS
    lines: array = field(default_factory=lambda: array("I"))
    reasons: array = field(default_factory=lambda: array("B"))
    clips: array = field(default_factory=lambda: array("i"))
    texts: array = field(default_factory=lambda: array("I"))  # index in `sentences`
    paths: array = field(default_factory=lambda: array("i"))  # index in `refused_paths`, -1 with a clip
    people: array = field(default_factory=lambda: array("I"))  # number in `persons`
    persons: Numbered[Person] = field(default_factory=Numbered)
    sentences: Texts = field(default_factory=Texts)
    refused_paths: Texts = field(default_factory=Texts)
    # by clip
    sources: DistinctTexts = field(default_factory=DistinctTexts)
    homes: array = field(default_factory=lambda: array("B"))  # the set of its first row, index in `sets`
    shortest: array = field(default_factory=lambda: array("I"))  # characters of its shortest transcript
    listed_ms: array = field(default_factory=lambda: array("I"))  # duration by the release, 0 = not known

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def clip_count(self) -> int:
        """How many clips the rows need."""
        return len(self.shortest)

    def rows(self) -> Iterator[Row]:
        """Every row, by set and line."""
        persons = self.persons.all()
        for index in range(len(self)):
            clip = self.clips[index]
            source = self.sources[clip] if clip >= 0 else self.refused_paths[self.paths[index]]
            client_id, age, gender, accent = persons[self.people[index]]
            yield Row(
                self.sets[self.set_codes[index]],
                self.lines[index],
                Reason(self.reasons[index]),
                clip,
                source,
                self.sentences[self.texts[index]],
                client_id,
                age,
                gender,
                accent,
                ALL_SETS[self.tables[index]],
            )

    def digest(self) -> str:
        """A hash of everything that the conversion depends on: rows, clips and their order."""
        total = hashlib.sha256("\0".join(self.sets).encode())
        rows = (self.set_codes, self.tables, self.lines, self.reasons, self.clips)
        for column in (*rows, self.shortest, self.listed_ms):
            total.update(column)
        for texts in (self.sources, self.sentences):
            for buffer in texts.buffers():
                total.update(buffer)
        return total.hexdigest()


class Planner:
    """Builds a plan, set by set."""

    def __init__(self, sets: tuple[str, ...], rules: LabelRules, *, in_place: bool = False) -> None:
        """With `in_place`, the WAV files are written where the sources lie."""
        self.rules = rules
        self.in_place = in_place
        self.plan = Plan(sets)
        self._wav_names: dict[str, str] = {}  # only of sources that are not MP3, and of what they could collide with

    def build(
        self,
        tsv_files: dict[str, Path],
        durations: Path | None,
        parts: Mapping[str, Sequence[TablePart]] | None = None,
    ) -> Plan:
        """The plan; `tsv_files` maps set names to TSV files. train-all is made of validated, dev and test.

        The sets of `parts` are made of these instead of the file of their name.
        """
        wanted, parts = self.plan.sets, parts or {}
        for name in wanted:
            if name == "train-all":
                self._add_train_all(tsv_files, from_rows="validated" in wanted)
            else:
                for part in parts.get(name, ()) if name in parts else [TablePart(name, tsv_files[name])]:
                    self._add_part(name, part)
        if durations is not None:
            self._add_durations(durations)
        return self.plan

    def _add_part(self, name: str, part: TablePart) -> None:
        code, table, judge = self.plan.sets.index(name), ALL_SETS.index(part.table), part.judge
        refused = frozenset(self.plan.refused_paths) if part.added else frozenset()
        for line, reason, values in read_tsv(part.path, NEEDED, (*OPTIONAL, *part.more_columns)):
            source, text, *person = values
            if part.added and (source in refused or self._is_known(source)):
                continue
            if reason is Reason.ACCEPTED:
                reason, text = self.rules(text)
            if part.members and reason is not Reason.ACCEPTED:
                continue
            if judge is not None and reason is Reason.ACCEPTED:
                verdict = judge(values, text)
                if verdict is None:
                    continue
                reason = verdict
            self._add_row(code, table, line, reason, source, text, tuple(person[:PERSON_COLUMNS]))

    def _is_known(self, source: str) -> bool:
        """Whether a row before has the same clip."""
        name = source_name(source)
        return name is not None and self.plan.sources.find(name) >= 0

    def _add_row(
        self, code: int, table: int, line: int, reason: Reason, source: str, text: str, person: tuple[str, ...]
    ) -> None:
        plan, clip = self.plan, -1
        if reason is Reason.ACCEPTED:
            reason, clip = self._clip(code, source, len(text))
        plan.set_codes.append(code)
        plan.tables.append(table)
        plan.lines.append(line)
        plan.reasons.append(reason)
        plan.clips.append(clip)
        plan.paths.append(-1 if clip >= 0 else plan.refused_paths.append(source))
        plan.texts.append(plan.sentences.append(text))
        plan.people.append(plan.persons.number(person))

    def _clip(self, code: int, source: str, characters: int) -> tuple[Reason, int]:
        """The clip of an accepted row, a new one if no row before has it; or why the row is refused after all."""
        clip = self.plan.sources.find(source)
        if clip < 0:
            name = source_name(source)
            if name is None:
                return Reason.UNSAFE_PATH, -1
            clip = self.plan.sources.find(name)
            if clip < 0:
                if not self._take_wav_name(name):
                    return Reason.NAME_TAKEN, -1
                clip = self._add_clip(name, code, characters)
        if characters < self.plan.shortest[clip]:
            self.plan.shortest[clip] = characters
        return Reason.ACCEPTED, clip

    def _add_clip(self, name: str, code: int, characters: int) -> int:
        self.plan.homes.append(code)
        self.plan.shortest.append(characters)
        self.plan.listed_ms.append(0)
        return self.plan.sources.append(name)

    def _take_wav_name(self, name: str) -> bool:
        """Whether no other source has the same name up to its suffix.

        MP3s alone cannot collide (`a.MP3` apart), so what is remembered stays small.
        """
        wav = wav_name(name)
        if name.endswith(".mp3"):
            return self._wav_names.get(wav, name) == name
        if self.in_place and name == wav:
            return False
        if self.plan.sources.find(wav.removesuffix(".wav") + ".mp3") >= 0 or wav in self._wav_names:
            return False
        self._wav_names[wav] = name
        return True

    def _add_train_all(self, tsv_files: dict[str, Path], *, from_rows: bool) -> None:
        """Validated without the speakers and sentences of dev and test."""
        sentences, speakers = self._held_out(tsv_files)
        code, plan = self.plan.sets.index("train-all"), self.plan
        if not from_rows:
            for line, reason, (source, text, *person) in read_tsv(tsv_files["validated"], NEEDED, OPTIONAL):
                if reason is Reason.ACCEPTED:
                    reason, text = self.rules(text)
                    if reason is Reason.ACCEPTED and (text in sentences or person[0] in speakers):
                        reason = Reason.HELD_OUT
                self._add_row(code, ALL_SETS.index("validated"), line, reason, source, text, tuple(person))
            return
        validated, persons = plan.sets.index("validated"), plan.persons.all()
        for index in range(len(plan)):
            if plan.set_codes[index] != validated:
                continue
            reason, clip, path = Reason(plan.reasons[index]), plan.clips[index], plan.paths[index]
            if reason is Reason.ACCEPTED and (
                persons[plan.people[index]][0] in speakers or plan.sentences[plan.texts[index]] in sentences
            ):
                reason, clip, path = Reason.HELD_OUT, -1, plan.refused_paths.append(plan.sources[clip])
            plan.set_codes.append(code)
            plan.tables.append(plan.tables[index])
            plan.lines.append(plan.lines[index])
            plan.reasons.append(reason)
            plan.clips.append(clip)
            plan.paths.append(path)
            plan.texts.append(plan.texts[index])
            plan.people.append(plan.people[index])

    def _held_out(self, tsv_files: dict[str, Path]) -> tuple[set[str], set[str]]:
        sentences: set[str] = set()
        speakers: set[str] = set()
        for name in (name for name in HELD_OUT_SETS if name in tsv_files):
            for _, reason, (_, sentence, client_id, *_) in read_tsv(tsv_files[name], NEEDED, OPTIONAL):
                if reason is Reason.ACCEPTED:
                    speakers.add(client_id)
                    reason, text = self.rules(sentence, counted=False)
                    if reason is Reason.ACCEPTED:
                        sentences.add(text)
        return sentences, speakers

    def _add_durations(self, path: Path) -> None:
        """The durations that the release lists; a damaged list is no reason not to import."""
        try:
            for _, reason, (clip, duration) in read_tsv(path, ("clip", "duration[ms]")):
                number = self.plan.sources.find(clip)
                if reason is Reason.ACCEPTED and number >= 0 and duration.isdecimal():
                    # Ten digits are 115 days; int() refuses thousands of them.
                    self.plan.listed_ms[number] = min(int(duration[:11]), 2**32 - 1)
        except InputError:
            return


def source_name(path: str) -> str | None:
    """The file of a clip relative to the folder of the clips; None if the path leaves that folder.

    Early releases leave the suffix out: then it is `.mp3`, as the peers' importers take it.
    """
    parts = path.split("/")
    if not path or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        return None
    if any(len(part.encode("utf-8")) > 240 for part in parts) or len(parts) > 16:
        return None
    suffix = os.path.splitext(parts[-1])[1].lower()  # noqa: PTH122 - pathlib keeps every name that it has seen
    return path if suffix in AUDIO_SUFFIXES else f"{path}.mp3"


def wav_name(source: str) -> str:
    """The WAV file of a source: the same name with the suffix .wav."""
    return source[: source.rindex(".")] + ".wav"
