"""Comparison with an earlier evaluation: which clips got better, which got worse, and whether that can be chance."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate.score.samples import Sample
from components.evaluate.score.scores import chance_below_zero, limits, resampled_differences
from components.evaluate.settings import EvaluateSettings
from speech.artifacts import Evaluation
from speech.errors import InputError
from speech.metrics import NORMALIZATIONS, WORDS, ErrorCount, ErrorTable, character_error_table, word_error_table
from speech.storage.stores import store_at

POINTER = "champion.json"  # beside published versions


@dataclass(frozen=True)
class Change:
    """A clip that both models heard, and the champion's transcript of it."""

    sample: Sample
    champion_hypothesis: str
    errors: ErrorCount  # of this model, in words or characters
    champion_errors: ErrorCount

    @property
    def edits(self) -> int:
        """Edits more than the champion's; negative is better."""
        return self.errors.edits - self.champion_errors.edits


@dataclass(frozen=True)
class ChampionComparison:
    """This model against the champion, on the clips that both evaluations hold with the same reference."""

    changes: Sequence[Change]
    rate: str  # "wer" or "cer": what is compared
    own_rate: float
    champion_rate: float
    interval: tuple[float, float] | None  # of own_rate - champion_rate
    chance_better: float | None  # share of the resamples in which this model has the lower rate

    def better(self, count: int) -> list[Change]:
        """The clips with the most edits less."""
        return sorted((change for change in self.changes if change.edits < 0), key=lambda change: change.edits)[:count]

    def worse(self, count: int) -> list[Change]:
        """The clips with the most edits more."""
        return sorted((change for change in self.changes if change.edits > 0), key=lambda change: -change.edits)[:count]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, without the clips."""
        return {
            "clips": len(self.changes),
            self.rate: self.own_rate,
            f"champion_{self.rate}": self.champion_rate,
            "difference_interval": None if self.interval is None else list(self.interval),
            "chance_better": self.chance_better,
            "better_clips": sum(change.edits < 0 for change in self.changes),
            "worse_clips": sum(change.edits > 0 for change in self.changes),
        }


def find_champion(settings: EvaluateSettings) -> list[dict[str, Any]]:
    """The samples of the champion that the settings name; none without one.

    Raises InputError for `--champion` without samples. Under `--champion_of` there may be no champion (yet).
    """
    if settings.champion:
        return read_champion(settings.champion)
    if not settings.champion_of:
        return []
    try:
        return read_champion(_champion_in_force(settings.champion_of))
    except InputError as error:
        print(f"note: compared with no champion: {error}", file=sys.stderr)
        return []


def _champion_in_force(uri: str) -> str:
    """Where the version is that a place of published versions has for its champion."""
    try:
        return str(json.loads(store_at(uri).read(POINTER) or b"")["uri"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"--champion_of {uri}: no {POINTER} there that names a version") from error


def read_champion(uri: str) -> list[dict[str, Any]]:
    """The samples of an evaluation in a folder or under an s3:// prefix; raises InputError if it has none."""
    text = store_at(uri).read(Evaluation.SAMPLES)
    if text is None:
        raise InputError(
            f"--champion {uri}: no {Evaluation.SAMPLES} there: expected an evaluation or a published version"
        )
    try:
        rows = json.loads(text)
        for row in rows:
            _ = str(row["wav_filename"]), str(row["src"]), str(row["res"])
        return rows
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"--champion {uri}: its {Evaluation.SAMPLES} holds no samples of an evaluation") from error


def compare(
    settings: EvaluateSettings, samples: Sequence[Sample], champion: Sequence[dict[str, Any]], rate: str = WORDS
) -> ChampionComparison | None:
    """Both models' WER, or CER, on the clips with the same file name and reference.

    Without such clips it raises InputError for `--champion`, and is None for `--champion_of`.
    """
    if not champion:
        return None
    normalize = NORMALIZATIONS[settings.text_normalization]
    theirs = {(Path(row["wav_filename"]).name, normalize(row["src"])): normalize(row["res"]) for row in champion}
    common = [sample for sample in samples if _key(sample) in theirs]
    if not common and not settings.champion:
        print("note: compared with no champion: it was measured on other clips", file=sys.stderr)
        return None
    if not common:
        raise InputError(
            f"--champion {settings.champion}: not one clip in common with the test sets of this evaluation"
        )
    heard = [theirs[_key(sample)] for sample in common]
    count = word_error_table if rate == WORDS else character_error_table
    table = count([sample.reference for sample in common], heard)
    own = [sample.words if rate == WORDS else sample.characters for sample in common]
    changes = [
        Change(sample, text, errors, ErrorCount(int(edits), int(tokens)))
        for sample, text, errors, edits, tokens in zip(
            common, heard, own, table.edits, table.reference_tokens, strict=True
        )
    ]
    edits = np.array([change.edits for change in changes])
    differences = resampled_differences(settings, common, ErrorTable(edits, table.reference_tokens))
    return ChampionComparison(
        changes=changes,
        rate=rate,
        own_rate=sum(own, ErrorCount(0, 0)).rate,
        champion_rate=table.total.rate,
        interval=None if differences is None else limits(settings, differences),
        chance_better=None if differences is None else chance_below_zero(differences),
    )


def _key(sample: Sample) -> tuple[str, str]:
    return Path(sample.wav_filename).name, sample.reference
