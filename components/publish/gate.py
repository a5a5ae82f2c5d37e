"""The gate: a version becomes the champion only if it is better than the one in use, and not by chance."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from components.publish.champion import MOVE_ATTEMPTS, PROMOTED, Champions, now
from components.publish.contents import to_json
from components.publish.evidence import check_samples, headline
from components.publish.model_bucket import DamagedRecord, ModelBucket
from components.publish.settings import PublishSettings
from speech.artifacts import Evaluation
from speech.errors import InputError
from speech.metrics import CHARACTERS, WORDS, ErrorTable, paired_interval

DECISION = "decision.json"  # in the version's folder
KEPT, UNCHANGED = "kept", "unchanged"
NO_RESULTS = "its transcripts of the test set are not published with it"


@dataclass(frozen=True)
class GateComparison:
    """Two models on the test clips that both evaluations hold with the same reference."""

    clips: int
    candidate_clips: int  # in all
    champion_clips: int
    rate: str  # "wer", or "cer" where the candidate's evaluation says that words mean nothing
    candidate_rate: float
    champion_rate: float
    difference: float  # candidate - champion: negative is better
    interval: list[float] | None  # of the difference
    confidence: float
    bootstrap_samples: int
    bootstrap_unit: str


def decide(settings: PublishSettings, place: ModelBucket, version: str, run: str = "") -> dict[str, Any]:
    """Move the champion to `version` if it deserves it; what was compared is left in the version's `decision.json`.

    `run` is the URI of the run's own artifact, by which a message at its end finds the decision again.

    Of runs that decide at once each is compared with the champion that it replaces: who comes second is compared with
    the first.
    """
    champions = Champions(place)
    for _ in range(MOVE_ATTEMPTS):
        current = champions.current()
        decision = {**_judge(settings, champions, version, current), "run": run}
        facts = {key: value for key, value in decision.items() if key != "version"}
        if decision["decision"] != PROMOTED or champions.move(version, current, decision=facts) is not None:
            champions.settle()  # also after a run that died between its record and the copy
            _write(place, version, decision)
            return decision
    raise InputError(f"{place.locate('champion.json')} keeps being moved by other runs: try again")


def _judge(
    settings: PublishSettings, champions: Champions, version: str, current: dict[str, Any] | None
) -> dict[str, Any]:
    place = champions.place
    if current is not None and current["version"] == version:
        return _decision(version, UNCHANGED, "it is the champion already", current, None, forced=False)
    scores = place.get(f"{version}/{Evaluation.SCORES}") or {}
    rate = headline(scores, place.locate(f"{version}/{Evaluation.SCORES}"))
    samples = _samples(place, version, rate)
    try:
        theirs = _samples(place, current["version"], rate) if current and samples else None
    except DamagedSamples as error:
        theirs, damage = None, str(error)
    else:
        damage = ""
    comparison = compare(settings, samples, theirs, rate) if samples and theirs else None
    better, reason = _better(settings, current, samples, theirs, comparison)
    reason += f" ({damage})" if damage else ""
    if taken_back := champions.rolled_back(version):
        reason = f"{reason} (it was rolled back on {taken_back[:10]})"
    if settings.force and not better:
        better, reason = True, f"forced, although {reason}"
    decision = _decision(version, PROMOTED if better else KEPT, reason, current, comparison, forced=settings.force)
    return decision | {"scores": _scores(place, version, current)}


def _scores(place: ModelBucket, version: str, current: dict[str, Any] | None) -> dict[str, Any]:
    """What both sides scored, each on its own test set; None for what is not known."""
    own = place.get(f"{version}/{Evaluation.SCORES}") or {}
    champion = (place.get(f"{current['version']}/{Evaluation.SCORES}") if current else None) or {}
    names = [f"{rate}{part}" for rate in (WORDS, CHARACTERS) for part in ("", "_interval")]
    sides = {name: own.get(name) for name in names} | {f"champion_{name}": champion.get(name) for name in names}
    return {"headline": own.get("headline", WORDS), **sides}


class DamagedSamples(InputError):
    """The transcripts of a version are there, and are none."""


def _samples(place: ModelBucket, version: str, rate: str) -> list[dict[str, Any]] | None:
    name = f"{version}/{Evaluation.SAMPLES}"
    try:
        rows = place.get(name)
    except DamagedRecord as error:
        raise DamagedSamples(str(error)) from error
    try:
        return None if rows is None else check_samples(rows, place.locate(name), rate)
    except InputError as error:
        raise DamagedSamples(str(error)) from error


def _better(
    settings: PublishSettings,
    current: dict[str, Any] | None,
    samples: list[dict[str, Any]] | None,
    theirs: list[dict[str, Any]] | None,
    comparison: GateComparison | None,
) -> tuple[bool, str]:
    """Whether the version may become the champion, and why (not)."""
    if not samples:
        return False, NO_RESULTS
    if len(samples) < settings.min_test_clips:
        return False, (
            f"it was measured on {len(samples)} test clips, which says too little: --min_test_clips "
            f"{settings.min_test_clips} (a larger test set, a lower --min_test_clips, or --force)"
        )
    if current is None:
        return True, "it is the first"
    if not theirs or comparison is None:
        return False, f"it cannot be compared with {current['version']}: " + (
            "their test sets have no clip in common" if theirs else f"of the latter, {NO_RESULTS}"
        )
    common = comparison.clips / comparison.champion_clips
    if common < settings.min_common:
        return False, f"the two test sets have only {common:.0%} of the champion's clips in common"
    rates = f"{comparison.rate.upper()} {comparison.candidate_rate:.2%}, champion {comparison.champion_rate:.2%}"
    if comparison.interval is None:
        return False, f"{rates}: one test clip says nothing about chance"
    low, high = comparison.interval
    measured = f"{rates}, difference between {low:+.2%} and {high:+.2%}"
    if high < 0:
        return True, f"it is better: {measured}"
    if low > 0:
        return False, f"it is worse: {measured}"
    return False, f"the difference may be chance: {measured}"


def compare(
    settings: PublishSettings,
    samples: Sequence[dict[str, Any]],
    champion: Sequence[dict[str, Any]],
    rate: str = WORDS,
) -> GateComparison | None:
    """Both models' WER, or CER, on the clips with the same file name and reference; None if there is none.

    The samples are rows of an evaluation's samples.json.
    """
    pairs = pair_samples(samples, champion)
    if not pairs:
        return None
    kind = "word" if rate == WORDS else "char"
    edits, champion_edits, tokens = (
        np.array([pair[side][name] for pair in pairs], np.int64)
        for side, name in ((0, f"{kind}_distance"), (1, f"{kind}_distance"), (0, f"{kind}_length"))
    )
    table = ErrorTable(edits - champion_edits, tokens)
    if settings.bootstrap_unit == "speaker":
        table = table.by_speaker([row.get("client_id") or "" for row, _ in pairs])
    interval = paired_interval(
        table.edits,
        table.reference_tokens,
        resamples=settings.bootstrap_samples,
        confidence=settings.confidence,
        seed=settings.random_seed,
    )
    total = max(int(tokens.sum()), 1)
    return GateComparison(
        clips=len(pairs),
        candidate_clips=len(samples),
        champion_clips=len({_key(row) for row in champion}),
        rate=rate,
        candidate_rate=int(edits.sum()) / total,
        champion_rate=int(champion_edits.sum()) / total,
        difference=int((edits - champion_edits).sum()) / total,
        interval=None if interval is None else list(interval),
        confidence=settings.confidence,
        bootstrap_samples=settings.bootstrap_samples,
        bootstrap_unit=settings.bootstrap_unit,
    )


def pair_samples(
    samples: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of two evaluations side by side, for each clip with the same file name and reference in both."""
    theirs = {_key(row): row for row in others}
    return [(row, theirs[_key(row)]) for row in {_key(row): row for row in samples}.values() if _key(row) in theirs]


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return PurePosixPath(row["wav_filename"]).name, row["src"]


def _decision(
    version: str,
    outcome: str,
    reason: str,
    current: dict[str, Any] | None,
    comparison: GateComparison | None,
    *,
    forced: bool,
) -> dict[str, Any]:
    return {
        "version": version,
        "decision": outcome,
        "reason": reason,
        "champion": current["version"] if current else "",
        "champion_number": current["number"] if current else 0,
        "forced": forced,
        "comparison": _described(comparison) if comparison else None,
    }


def _described(comparison: GateComparison) -> dict[str, Any]:
    """The comparison for the record; the rates under the name of what they are, such as `champion_wer`."""
    facts = asdict(comparison)
    for whose in ("candidate", "champion"):
        facts[f"{whose}_{comparison.rate}"] = facts.pop(f"{whose}_rate")
    return facts


def _write(place: ModelBucket, version: str, decision: dict[str, Any]) -> None:
    """Leave the decision with the version; a repetition that decides the same leaves what is there."""
    name = f"{version}/{DECISION}"
    before: dict[str, Any] = {}
    with contextlib.suppress(DamagedRecord):  # of another run; this decision takes its place
        found = place.get(name)
        before = found if isinstance(found, dict) else {}
    if decision["decision"] == UNCHANGED and before:
        return
    if {**before, "decided": ""} != {**decision, "decided": ""}:
        place.put(name, to_json({**decision, "decided": now()}))
