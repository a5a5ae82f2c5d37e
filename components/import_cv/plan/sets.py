"""Which rows of which tables make train, dev and test: the release's own, made ones, and what else is trained on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.import_cv.plan.candidates import Candidates, Identities
from components.import_cv.plan.held_out import HeldOut, clips_of, sentences_of, speakers_of
from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.made_splits import MadeSplits, ReleasedSplits, decide, describe
from components.import_cv.plan.reasons import Reason
from components.import_cv.plan.zones import DEV, TEST, TRAIN
from components.import_cv.read.heard import Hearings
from components.import_cv.settings import TRAIN_TABLES, ImportSettings

OTHER = "other"
VOTES = (("up_votes",), ("down_votes",))
FOR, AGAINST = -2, -1  # where a row of `other` has them
OWN_TABLES_ALONE = "release"

Judge = Callable[[Sequence[str], str], Reason | None]  # columns of a row, transcript -> None: not of this set


@dataclass(frozen=True)
class TablePart:
    """Rows of one table, for one set."""

    table: str
    path: Path
    judge: Judge | None = None  # None: every row
    members: bool = False  # of a made dev or test set: rows without a transcript are counted elsewhere
    added: bool = False  # clips that the set has already are passed over
    more_columns: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class SetParts:
    """The parts of each of train, dev and test, and the report's facts on how they were chosen."""

    parts: Mapping[str, Sequence[TablePart]]
    facts: dict[str, Any]


def tables_of(settings: ImportSettings) -> tuple[list[str], list[str]]:
    """The tables that train, dev and test need, and those that they would be made of, if they are there."""
    more = [name for name in settings.train_sets if name != TRAIN]
    own = [name for name in (TRAIN, DEV, TEST) if name in settings.sets]
    if settings.splits == OWN_TABLES_ALONE:
        return [*own, *([*more, DEV, TEST] if more else [])], []
    wanted = own or more
    return [name for name in more if name == OTHER and wanted], [TRAIN, DEV, TEST, "validated"] if wanted else []


def compose(
    settings: ImportSettings, tables: Mapping[str, Path], rules: LabelRules, heard: Hearings | None = None
) -> SetParts | None:
    """The parts; None if every set is the release's own and nothing else. Raises InputError as `decide` does.

    `heard` is what a model heard in the clips of `other`.
    """
    if settings.splits == OWN_TABLES_ALONE and set(settings.train_sets) == {TRAIN}:
        return None
    identities = Identities(settings.split_salt)
    release = ReleasedSplits.read(settings, tables, rules, identities)
    made = decide(settings, release)
    lacks_dev = settings.splits != OWN_TABLES_ALONE and DEV not in tables and DEV not in made.made and len(release.pool)
    if not made.made and set(settings.train_sets) == {TRAIN} and not lacks_dev:
        return None
    parts: dict[str, list[TablePart]] = {}
    for name in (DEV, TEST):
        if name in made.made:
            judge = _member(made.sets[name], identities)
            parts[name] = [TablePart(table, tables[table], judge, members=True) for table in release.pool_tables]
        elif name in tables:
            parts[name] = [TablePart(name, tables[name])]
    if lacks_dev:
        parts[DEV] = []  # a training can do without
    held = _held_by_made(made, identities)
    kept = [made.sets[name] for name in (DEV, TEST) if name not in made.made]
    if TRAIN in made.made:
        own = _with_kept(held, kept, speakers=True, sentences=True)
        parts[TRAIN] = [TablePart(table, tables[table], _judge_pool(own)) for table in release.pool_tables]
    elif TRAIN in tables:
        parts[TRAIN] = [TablePart(TRAIN, tables[TRAIN], _judge(held) if made.made else None)]
    used = {part.table for part in parts.get(TRAIN, ())}
    more = _with_kept(held, kept, speakers=settings.held_out_speakers, sentences=settings.held_out_sentences)
    for table in (name for name in TRAIN_TABLES if name in settings.train_sets and name not in used):
        if table in tables:
            judge = _judge_votes(more, heard) if table == OTHER else _judge(more)
            columns = VOTES if table == OTHER else ()
            added = TablePart(table, tables[table], judge, added=True, more_columns=columns)
            parts[TRAIN] = [*parts.get(TRAIN, ()), added]
    return SetParts(parts, describe(settings, release, made))


def _held_by_made(made: MadeSplits, identities: Identities) -> HeldOut:
    sets = [made.sets[name] for name in (DEV, TEST) if name in made.made]
    return HeldOut(
        identities,
        clips=clips_of(sets),
        sentences=sentences_of([made.held_sentences]),
        speaker_zones=made.speaker_zones,
        sentence_zones=made.sentence_zones,
    )


def _with_kept(held: HeldOut, kept: Sequence[Candidates], *, speakers: bool, sentences: bool) -> HeldOut:
    """The same, and what the release's own dev and test hold."""
    return replace(
        held,
        clips=held.clips | clips_of(kept),
        speakers=held.speakers | (speakers_of(kept) if speakers else frozenset()),
        sentences=held.sentences | (sentences_of(kept) if sentences else frozenset()),
    )


def _member(members: Candidates, identities: Identities) -> Judge:
    clips = clips_of([members])
    return lambda row, text: Reason.ACCEPTED if identities.clip(row[0]) in clips else None


def _judge(held: HeldOut) -> Judge:
    return lambda row, text: held.reason(row[0], row[2], text)


def _judge_pool(held: HeldOut) -> Judge:
    """Of a table that all sets are made of: what is in dev or test is not left out of train, it is theirs."""

    def judge(row: Sequence[str], text: str) -> Reason | None:
        reason = held.reason(row[0], row[2], text)
        return None if reason is Reason.HELD_OUT_CLIP else reason

    return judge


def _judge_votes(held: HeldOut, heard: Hearings | None) -> Judge:
    def judge(row: Sequence[str], text: str) -> Reason:
        reason = held.reason(row[0], row[2], text)
        votes = [int(row[place]) if row[place].isdecimal() else 0 for place in (FOR, AGAINST)]
        if reason is Reason.ACCEPTED and votes[1] > votes[0]:
            return Reason.VOTED_DOWN
        return heard.reason(row[0], text) if reason is Reason.ACCEPTED and heard is not None else reason

    return judge
