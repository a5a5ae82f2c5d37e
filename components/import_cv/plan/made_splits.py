"""Which clips are train, dev and test where a release does not say so, or leaves too little for one of them.

Sizes: `--split_share` of the speakers each for dev and test, found by a hash of the client_id, and at most the sample
that Common Voice's own tool would draw (99 % confidence, `--split_margin`). A share of the speakers and not a number of
clips, because only what does not depend on the release's size stays where it is when the release grows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.import_cv.plan.candidates import Candidates, Identities, nothing
from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.zones import (
    AUTO,
    BY_SENTENCE,
    BY_SPEAKER,
    DEV,
    TEST,
    TRAIN,
    Zones,
    margin_of,
    sample_size,
)
from components.import_cv.settings import ImportSettings
from speech.artifacts import SPLITS
from speech.errors import InputError

VALIDATED = "validated"


@dataclass(frozen=True)
class ReleasedSplits:
    """What there is to make splits of."""

    sets: Mapping[str, Candidates]  # its own train, dev and test; empty ones for those that it lacks
    pool: Candidates
    pool_tables: tuple[str, ...]  # whose rows the pool's are
    tables: frozenset[str] = frozenset()  # that there are

    @classmethod
    def read(
        cls, settings: ImportSettings, tables: Mapping[str, Path], rules: LabelRules, identities: Identities
    ) -> "ReleasedSplits":
        """Read the tables that there are. The pool is empty without a usable row, and where no set is to be made."""
        sets = {name: Candidates.read([tables[name]] if name in tables else [], rules, identities) for name in SPLITS}
        if not _reasons_to_make(settings, sets):
            return cls(sets, nothing(), (), frozenset(tables))
        pool_tables = tuple(name for name in ((VALIDATED,) if VALIDATED in tables else SPLITS) if name in tables)
        pool = Candidates.read([tables[name] for name in pool_tables], rules, identities)
        if not len(pool) and pool_tables == (VALIDATED,):
            pool_tables = tuple(name for name in SPLITS if name in tables)
            pool = Candidates.read([tables[name] for name in pool_tables], rules, identities)
        return cls(sets, pool, pool_tables, frozenset(tables))


@dataclass(frozen=True)
class MadeSplits:
    """The three sets as they will be, and what must be left out of train for them."""

    made: tuple[str, ...]
    sets: Mapping[str, Candidates]  # train: as far as it comes of its own table, or of the pool
    speaker_zones: Zones | None  # None: speakers are in several sets
    sentence_zones: Zones | None
    held_sentences: Candidates  # of made dev and test, also beyond the sample
    by_sentence: tuple[str, ...] = ()  # made sets that have clips of speakers of train
    shared_sentences: tuple[str, ...] = ()  # sets that share sentences with a set before them: test, dev, train
    why: Mapping[str, str] = field(default_factory=dict)


def decide(settings: ImportSettings, release: ReleasedSplits) -> MadeSplits:
    """Which sets to make, and of what; raises InputError for a set that the release lacks and that cannot be made."""
    why = _reasons_to_make(settings, release.sets) if len(release.pool) else {}
    made = split(settings, release, tuple(why))
    if settings.splits == AUTO:
        made, why = _only_larger(settings, release, made, why)
        if TRAIN in made.made and len(made.sets[TRAIN]) < settings.split_floor_clips and len(made.made) < len(SPLITS):
            anew = split(settings, release, SPLITS)
            if len(anew.sets[TRAIN]) >= settings.split_floor_clips and len(anew.sets[TEST]):
                left = f"train would have {len(made.sets[TRAIN])} clips beside the release's own dev and test"
                made, why = anew, {name: why.get(name, left) for name in SPLITS}
    for name in (name for name in (TEST, TRAIN) if name in settings.sets and len(release.pool)):
        if not len(made.sets[name]) and (name in made.made or name not in release.tables):
            raise InputError(
                f"no {name} set can be made of {len(release.pool):,} usable clips of {_tables(release)} with "
                f"--split_share {settings.split_share:g} --split_by {settings.split_by}: give another share (up to "
                "0.4), or another --split_salt"
            )
    return replace(made, why=why)


def _only_larger(
    settings: ImportSettings, release: ReleasedSplits, made: MadeSplits, why: dict[str, str]
) -> tuple[MadeSplits, dict[str, str]]:
    """The same without the sets that would not be better than the release's own: larger, and above the floor."""

    def is_better(name: str) -> bool:
        own, new = len(release.sets[name]), len(made.sets[name])
        return new > own and (not own or new >= settings.split_floor_clips)

    while not all(is_better(name) for name in made.made):
        why = {name: reason for name, reason in why.items() if is_better(name)}
        made = split(settings, release, tuple(why))
    return made, why


def _reasons_to_make(settings: ImportSettings, sets: Mapping[str, Candidates]) -> dict[str, str]:
    """Set -> why it is made."""
    if settings.splits != AUTO:
        return dict.fromkeys(SPLITS, "asked for") if settings.splits == "made" else {}
    speakers = len(np.unique(np.concatenate([one.known_speakers() for one in sets.values()])))
    found = {}
    for name, one in ((name, one) for name, one in sets.items() if name in settings.sets):
        own = len(one.known_speakers())
        if not len(one):
            found[name] = f"the release has no usable row in {name}.tsv"
        elif len(one) < settings.split_floor_clips:
            found[name] = f"the release has {len(one)} clips, --split_floor_clips {settings.split_floor_clips}"
        elif name != TRAIN and own < settings.split_floor_speakers * speakers:
            floor = f"--split_floor_speakers {settings.split_floor_speakers:g}"
            found[name] = f"the release has {own} of {speakers} speakers, {floor}"
    return found


def split(settings: ImportSettings, release: ReleasedSplits, made: tuple[str, ...]) -> MadeSplits:
    """The sets, with those of `made` made anew."""
    kept = {name: release.sets[name] for name in SPLITS if name not in made}
    held_made = tuple(name for name in (TEST, DEV) if name in made)
    zones = Zones(settings.split_share, held_made)
    pool = release.pool
    free = np.ones(len(pool), bool)
    for one in (kept[name] for name in (TEST, DEV) if name in kept):
        free &= ~(pool.shares_clip(one) | pool.shares_speaker(one) | pool.shares_sentence(one))
    pool = pool.select(free)
    rows = kept.get(TRAIN, pool)
    if not held_made:
        return MadeSplits(made, {**kept, TRAIN: rows}, None, None, nothing())

    aside = Zones(settings.split_share, held_made) if settings.split_by != BY_SPEAKER else None
    by_speakers = settings.split_by != BY_SENTENCE and (
        settings.split_by == BY_SPEAKER or _in_train(rows, zones, aside).sum() >= settings.split_floor_clips
    )
    sets, by_sentence, shared = dict(kept), [], []
    held = nothing()
    for name in held_made:
        chosen = zones.of(pool.speakers if by_speakers else pool.sentences) == name
        if not by_speakers or (settings.split_by == AUTO and chosen.sum() < settings.split_floor_clips):
            spoken = zones.of(pool.speakers) == TRAIN if by_speakers else True
            chosen |= spoken & (zones.of(pool.sentences) == name)
            by_sentence.append(name)
        found = pool.select(chosen)
        apart = ~found.shares_sentence(held)
        if 2 * apart.sum() < len(found):
            shared.append(name)
        else:
            found = found.select(apart)
        held = _joined(held, found)
        sets[name] = _sample(found, sample_size(len(release.pool), settings.split_margin))
    train = rows.select(_in_train(rows, zones if by_speakers else None, aside))
    apart = ~train.shares_sentence(held)
    if 2 * apart.sum() < len(train):
        shared.append(TRAIN)
        held = nothing()
    else:
        train = train.select(apart)
    sets[TRAIN] = train
    speaker_zones = zones if by_speakers else None
    return MadeSplits(made, sets, speaker_zones, aside, held, tuple(by_sentence), tuple(shared))


def _in_train(rows: Candidates, speaker_zones: Zones | None, sentence_zones: Zones | None) -> np.ndarray:
    chosen = np.ones(len(rows), bool)
    if speaker_zones is not None:
        chosen &= speaker_zones.of(rows.speakers) == TRAIN
    if sentence_zones is not None:
        chosen &= sentence_zones.of(rows.sentences) == TRAIN
    return chosen


def _joined(one: Candidates, other: Candidates) -> Candidates:
    return Candidates(
        np.concatenate([one.speakers, other.speakers]),
        np.concatenate([one.sentences, other.sentences]),
        np.concatenate([one.clips, other.clips]),
    )


def _sample(found: Candidates, size: int) -> Candidates:
    """At most `size` clips, those with the lowest numbers."""
    return found if len(found) <= size else found.select(np.sort(np.argsort(found.clips, kind="stable")[:size]))


def _tables(release: ReleasedSplits) -> str:
    return " and ".join(f"{name}.tsv" for name in release.pool_tables) or "its tables"


def describe(settings: ImportSettings, release: ReleasedSplits, made: MadeSplits) -> dict[str, Any]:
    """The report's facts: what was chosen, why, how far it carries, and what it cannot promise."""
    population = len(release.pool)
    facts: dict[str, Any] = {"asked": settings.splits, "made": list(made.made), "sets": {}}
    for name in SPLITS:
        one, own = made.sets[name], release.sets[name]
        facts["sets"][name] = {
            "of": list(release.pool_tables) if name in made.made else [name],
            "why": made.why.get(name, ""),
            "clips": len(one),
            "speakers": len(one.known_speakers()),
            "release_clips": len(own),
        }
        if name != TRAIN:
            facts["sets"][name]["margin"] = round(margin_of(len(one), population), 4)
    if made.made:
        facts |= {
            "by": "speaker" if made.speaker_zones else "sentence",
            "share": settings.split_share,
            "salt": settings.split_salt,
            "pool_clips": population,
            "pool_speakers": len(release.pool.known_speakers()),
            "common_voice_sample": sample_size(population, 0.01),
        }
        facts["promises"], facts["cannot_promise"] = _promises(made, release)
    return facts


def _promises(made: MadeSplits, release: ReleasedSplits) -> tuple[list[str], list[str]]:
    """Sentences on what holds of made sets, and on what does not."""
    holds, fails = [], []
    speakers = len(release.pool.known_speakers())
    who = "one speaker" if speakers == 1 else f"{speakers} speakers"
    held = [name for name in (TEST, DEV) if name in made.made]
    if made.by_sentence:
        fails.append(
            f"{' and '.join(made.by_sentence)}: clips of speakers who are trained on, because {who} are too few for "
            "sets of their own. Only the sentences are new to the model, so the error rates are those of voices that "
            "it knows: expect more errors on others"
        )
    if apart := [name for name in held if name not in made.by_sentence]:
        holds.append(f"no speaker of {' or '.join(apart)} is trained on")
    if made.shared_sentences:
        fails.append(
            f"{' and '.join(made.shared_sentences)}: sentences that other sets have as well, because most sentences "
            "are read by many speakers. What is measured is how well known sentences are heard"
        )
    elif held:
        holds.append(f"no sentence of {' or '.join(held)} is trained on")
    if held and made.sentence_zones:
        holds.append(
            "a clip of dev or test is trained on in no later release that is split with the same --split_share and "
            "--split_salt: both follow from the client_id and the sentence alone"
        )
    elif held:
        holds.append("a speaker of dev or test is trained on in no later release that is split with the same settings")
        fails.append("--split_by speaker: an earlier release that was split by sentences is not respected")
    for name in held:
        if len(made.sets[name]) and len(made.sets[name]) * 2 > len(release.pool):
            fails.append(
                f"{name} has {len(made.sets[name]):,} of {len(release.pool):,} clips, because a speaker with many is "
                "among its speakers: another --split_salt gives other ones"
            )
    if not len(made.sets[DEV]):
        fails.append("there is no dev set: the training cannot tell which of its checkpoints is the best")
    return holds, fails
