"""Comparison with an earlier evaluation: which clips got better, which got worse, and whether that can be chance."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate.samples import Sample
from components.evaluate.settings import EvaluateSettings
from speech.artifacts import Evaluation
from speech.errors import InputError
from speech.metrics import NORMALIZATIONS, ErrorCount, word_error_table
from speech.storage import download_file, is_remote


@dataclass(frozen=True)
class Change:
    """A clip that both models heard, and the champion's transcript of it."""

    sample: Sample
    champion_hypothesis: str
    champion_words: ErrorCount

    @property
    def edits(self) -> int:
        """Word edits more than the champion's; negative is better."""
        return self.sample.words.edits - self.champion_words.edits


@dataclass(frozen=True)
class Comparison:
    """This model against the champion, on the clips that both evaluations hold with the same reference."""

    changes: Sequence[Change]
    wer: float
    champion_wer: float
    interval: tuple[float, float] | None  # of wer - champion_wer
    chance_better: float | None  # share of the resamples in which this model has the lower WER

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
            "wer": self.wer,
            "champion_wer": self.champion_wer,
            "difference_interval": None if self.interval is None else list(self.interval),
            "chance_better": self.chance_better,
            "better_clips": sum(change.edits < 0 for change in self.changes),
            "worse_clips": sum(change.edits > 0 for change in self.changes),
        }


def read_champion(uri: str) -> list[dict[str, Any]]:
    """The samples of an evaluation in a folder or under an s3:// prefix; raises InputError if it has none."""
    if is_remote(uri):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / Evaluation.SAMPLES
            download_file(f"{uri.rstrip('/')}/{Evaluation.SAMPLES}", path)
            return _read(path, uri)
    path = Path(uri) / Evaluation.SAMPLES
    if not path.is_file():
        raise InputError(
            f"--champion {uri}: no {Evaluation.SAMPLES} there: expected an evaluation or a published version"
        )
    return _read(path, uri)


def _read(path: Path, uri: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        for row in rows:
            _ = str(row["wav_filename"]), str(row["src"]), str(row["res"])
        return rows
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"--champion {uri}: its {Evaluation.SAMPLES} holds no samples of an evaluation") from error


def compare(settings: EvaluateSettings, samples: Sequence[Sample], champion: Sequence[dict[str, Any]]) -> Comparison:
    """Both models on the clips with the same file name and reference."""
    normalize = NORMALIZATIONS[settings.text_normalization]
    theirs = {(Path(row["wav_filename"]).name, normalize(row["src"])): normalize(row["res"]) for row in champion}
    common = [sample for sample in samples if _key(sample) in theirs]
    if not common:
        raise InputError(
            f"--champion {settings.champion}: not one clip in common with the test sets of this evaluation"
        )
    heard = [theirs[_key(sample)] for sample in common]
    table = word_error_table([sample.reference for sample in common], heard)
    changes = [
        Change(sample, text, ErrorCount(int(edits), int(tokens)))
        for sample, text, edits, tokens in zip(common, heard, table.edits, table.reference_tokens, strict=True)
    ]
    edits = np.array([change.edits for change in changes])
    differences = _resampled(edits, table.reference_tokens, settings)
    tail = (1.0 - settings.confidence) / 2.0
    return Comparison(
        changes=changes,
        wer=sum((change.sample.words for change in changes), ErrorCount(0, 0)).rate,
        champion_wer=table.total.rate,
        interval=None if differences is None else tuple(np.quantile(differences, [tail, 1.0 - tail]).tolist()),
        chance_better=None if differences is None else float((differences < 0).mean() + (differences == 0).mean() / 2),
    )


def _key(sample: Sample) -> tuple[str, str]:
    return Path(sample.wav_filename).name, sample.reference


def _resampled(edits: np.ndarray, tokens: np.ndarray, settings: EvaluateSettings) -> np.ndarray | None:
    """The difference of the two error rates in each paired resample of the clips (Bisani and Ney, 2004)."""
    if len(edits) < 2 or not settings.bootstrap_samples:
        return None
    outcomes, times = np.unique(np.stack([edits, tokens], axis=1), axis=0, return_counts=True)
    generator = np.random.default_rng(settings.random_seed)
    drawn = generator.multinomial(len(edits), times / len(edits), size=settings.bootstrap_samples).astype(np.float64)
    summed = drawn @ outcomes
    return summed[:, 0] / np.maximum(summed[:, 1], 1.0)
