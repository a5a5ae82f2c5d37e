"""What a conversion costs in accuracy: the IR's WER on the dev set against that of the float32 network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech import model_files
from speech.clips.audio import ClipReader
from speech.clips.manifest import read_manifest
from speech.decoding.greedy import best_path
from speech.errors import InputError
from speech.ir.runner import IrRunner
from speech.metrics import ErrorCount, word_errors
from speech.progress import Progress


@dataclass(frozen=True)
class DevSet:
    """Clips with their transcripts."""

    clips: Sequence[np.ndarray]  # int16 samples [N] of each
    transcripts: Sequence[str]


def read_dev_set(csvs: Sequence[str], limit: int, sample_rate: int) -> DevSet:
    """The clips of the CSVs, or `limit` of them evenly spread (0: all). Raises InputError if there are none."""
    readers = [ClipReader(read_manifest(path), sample_rate) for path in csvs]
    clips = [(reader, clip) for reader in readers for clip in reader.manifest]
    if not clips:
        raise InputError(f"{', '.join(csvs)}: no clips: the accuracy of an IR cannot be measured on an empty dev set")
    if limit and len(clips) > limit:
        clips = [clips[position] for position in np.linspace(0, len(clips) - 1, limit).round().astype(int)]
    return DevSet([reader.samples(clip) for reader, clip in clips], [clip.transcript for _, clip in clips])


def word_error_rate(ir: Path, dev: DevSet, *, precision: str = "") -> float:
    """WER of an IR on the dev set, decoded greedily; computed in `precision`, or in what the CPU prefers."""
    model = model_files.open(ir)
    runner = IrRunner(model, precision=precision)
    errors = ErrorCount(0, 0)
    with Progress(f"WER of {ir.stem}", len(dev.clips), "clips") as progress:
        for samples, transcript in zip(dev.clips, dev.transcripts, strict=True):
            (emissions,) = runner.emissions([samples])
            errors += word_errors(transcript, best_path(emissions, model.alphabet))
            progress.update()
    return errors.rate


def check(name: str, rate: float, reference: float, allowed_points: float) -> None:
    """Raise InputError if the IR's WER is worse than the float32 network's by more than `allowed_points`."""
    increase = 100 * (rate - reference)
    if increase > allowed_points:
        raise InputError(
            f"{name} is not written: its WER on the dev set is {rate:.2%}, {increase:.2f} points above float32's "
            f"{reference:.2%}, and --max_wer_increase allows {allowed_points:g}: take --precision f16, or allow more"
        )
