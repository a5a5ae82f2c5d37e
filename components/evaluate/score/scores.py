"""The scores: rates with confidence intervals, in all, by set, and by group of speakers or clips."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from components.evaluate.score.samples import Sample
from components.evaluate.settings import EvaluateSettings
from speech.little_data import caution
from speech.metrics import ErrorCount, ErrorTable, bootstrap_interval

DURATIONS_S = (2.0, 4.0, 6.0, 10.0)  # limits between the groups by duration
MOST_GROUPS = 50  # of one sort, those with the most words: a release has thousands of speakers


def words(samples: Sequence[Sample]) -> ErrorTable:
    """Word errors by clip."""
    return _table([sample.words for sample in samples])


def characters(samples: Sequence[Sample]) -> ErrorTable:
    """Character errors by clip."""
    return _table([sample.characters for sample in samples])


def total_words(samples: Sequence[Sample]) -> ErrorCount:
    """Word errors of all clips."""
    return words(samples).total


def total_characters(samples: Sequence[Sample]) -> ErrorCount:
    """Character errors of all clips."""
    return characters(samples).total


def mean_loss(samples: Sequence[Sample]) -> float | None:
    """Mean CTC loss a clip, over the clips that have one."""
    losses = [sample.loss for sample in samples if sample.loss is not None]
    return float(np.mean(losses)) if losses else None


def measure(settings: EvaluateSettings, samples: Sequence[Sample]) -> dict[str, Any]:
    """The scores of some clips: `wer`, `cer`, `loss`, `test_clips`, and what they rest on."""
    table, letters = words(samples), characters(samples)
    interval = _interval(settings, samples, table)
    return {
        "wer": table.total.rate,
        "cer": letters.total.rate,
        "loss": mean_loss(samples),
        "test_clips": len(samples),
        "wer_interval": interval,
        "cer_interval": _interval(settings, samples, letters),
        "word_edits": table.total.edits,
        "words": table.total.reference_tokens,
        "character_edits": letters.total.edits,
        "characters": letters.total.reference_tokens,
        "clips_without_loss": sum(sample.loss is None for sample in samples),
        "exact_clips": sum(sample.reference == sample.hypothesis for sample in samples),
        "audio_s": round(sum(sample.duration_s for sample in samples), 3),
        "caution": caution(len(samples), interval),
    }


def scorer_effect(settings: EvaluateSettings, samples: Sequence[Sample]) -> dict[str, Any]:
    """The scores of the same clips without the scorer, and the paired difference that it makes; {} without one."""
    if any(sample.alone is None for sample in samples):
        return {}
    alone = [sample.without_scorer() for sample in samples]
    with_it, without = words(samples), words(alone)
    differences = resampled_differences(
        settings, samples, ErrorTable(with_it.edits - without.edits, with_it.reference_tokens)
    )
    return {
        **measure(settings, alone),
        "difference": with_it.total.rate - without.total.rate,
        "difference_interval": None if differences is None else list(limits(settings, differences)),
        "chance_better": None if differences is None else chance_below_zero(differences),
        "better_clips": int((with_it.edits < without.edits).sum()),
        "worse_clips": int((with_it.edits > without.edits).sum()),
    }


def resampled_differences(settings: EvaluateSettings, samples: Sequence[Sample], more: ErrorTable) -> np.ndarray | None:
    """The difference of two error rates in each paired resample of the clips or speakers (Bisani and Ney, 2004).

    `more` holds each clip's edits more than the other side's, and its reference tokens. None if there is nothing to
    draw from.
    """
    units = _units(settings, samples, more)
    count = len(units.edits)
    if count < 2 or not settings.bootstrap_samples:
        return None
    outcomes, times = np.unique(np.stack([units.edits, units.reference_tokens], axis=1), axis=0, return_counts=True)
    generator = np.random.default_rng(settings.random_seed)
    drawn = generator.multinomial(count, times / count, size=settings.bootstrap_samples).astype(np.float64)
    summed = drawn @ outcomes
    return summed[:, 0] / np.maximum(summed[:, 1], 1.0)


def limits(settings: EvaluateSettings, values: np.ndarray) -> tuple[float, float]:
    """The central interval of resampled values."""
    tail = (1.0 - settings.confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail]).tolist()
    return low, high


def chance_below_zero(values: np.ndarray) -> float:
    """The share of negative values, ties counted half."""
    return float((values < 0).mean() + (values == 0).mean() / 2)


def group_scores(settings: EvaluateSettings, samples: Sequence[Sample]) -> dict[str, list[dict[str, Any]]]:
    """Scores by speaker, gender, accent, age and duration: what is known of the clips; the largest groups."""
    sorts: dict[str, Callable[[Sample], str]] = {
        "speaker": lambda sample: sample.speaker,
        "gender": lambda sample: sample.traits.get("gender", ""),
        "accent": lambda sample: sample.traits.get("accent", ""),
        "age": lambda sample: sample.traits.get("age", ""),
        "duration": lambda sample: duration_group(sample.duration_s),
    }
    return {name: groups for name, key in sorts.items() if (groups := _groups(settings, samples, name, key))}


def _groups(
    settings: EvaluateSettings, samples: Sequence[Sample], sort: str, key: Callable[[Sample], str]
) -> list[dict[str, Any]]:
    members: dict[str, list[Sample]] = {}
    for sample in samples:
        members.setdefault(key(sample), []).append(sample)
    if set(members) == {""}:
        return []
    largest = sorted(members.items(), key=lambda group: -sum(sample.words.reference_tokens for sample in group[1]))
    groups = [{"name": name, **_group(settings, chosen)} for name, chosen in largest[:MOST_GROUPS]]
    return sorted(groups, key=lambda group: _first_number(group["name"])) if sort == "duration" else groups


def _group(settings: EvaluateSettings, samples: Sequence[Sample]) -> dict[str, Any]:
    scores = measure(settings, samples)
    return {
        name: scores[name] for name in ("test_clips", "words", "wer", "wer_interval", "cer", "cer_interval", "loss")
    }


def duration_group(duration_s: float) -> str:
    """The group of a duration: `2-4 s`."""
    limits = [f"{limit:g}" for limit in DURATIONS_S]
    position = int(np.searchsorted(DURATIONS_S, duration_s, side="right"))
    if position == 0:
        return f"under {limits[0]} s"
    return f"{limits[-1]} s and more" if position == len(limits) else f"{limits[position - 1]}-{limits[position]} s"


def _first_number(name: str) -> float:
    if name.startswith("under"):
        return 0.0
    return float(name.replace("-", " ").split()[0])


def _table(counts: Sequence[ErrorCount]) -> ErrorTable:
    pairs = np.array([(count.edits, count.reference_tokens) for count in counts], np.int64).reshape(-1, 2)
    return ErrorTable(pairs[:, 0], pairs[:, 1])


def _interval(settings: EvaluateSettings, samples: Sequence[Sample], table: ErrorTable) -> list[float] | None:
    interval = bootstrap_interval(
        _units(settings, samples, table),
        resamples=settings.bootstrap_samples,
        confidence=settings.confidence,
        seed=settings.random_seed,
    )
    return None if interval is None else list(interval)


def _units(settings: EvaluateSettings, samples: Sequence[Sample], table: ErrorTable) -> ErrorTable:
    """What is drawn: the clips as they are, or those of each speaker together."""
    return table.by_speaker([sample.speaker for sample in samples]) if settings.bootstrap_unit == "speaker" else table


def short_speaker(client_id: str) -> str:
    """A readable stand-in for Common Voice's 128 hexadecimal digits."""
    return client_id if len(client_id) <= 12 else hashlib.sha256(client_id.encode("utf-8")).hexdigest()[:8]
