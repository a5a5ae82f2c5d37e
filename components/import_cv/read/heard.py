"""What a model heard in clips without enough votes: those that it hears otherwise than they are written are doubtful.

Read from the `samples.json` of an evaluation of these clips, ours or one in the form of the peers' test output.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.import_cv.plan.reasons import Reason
from speech.errors import InputError
from speech.metrics import NORMALIZATIONS

_comparable = NORMALIZATIONS["letters"]
_KEYS = ("wav_filename", "src", "cer", "loss")
_EXPECTED = "expected the samples.json that `python -m components.evaluate` writes"


@dataclass(frozen=True)
class Hearing:
    """How well a model heard a clip."""

    transcript: str  # letters alone, as it was compared
    cer: float
    loss: float  # nats a character of the transcript; infinite where the model cannot write it


class Hearings:
    """The clips that a model was asked about, by the names of their files without folder and suffix."""

    def __init__(self, hearings: Mapping[str, Hearing], max_cer: float, max_loss: float) -> None:
        """`max_cer` and `max_loss` (nats a character; 0: any) are the most that a clip may have."""
        self.hearings = hearings
        self.max_cer = max_cer
        self.max_loss = max_loss

    @classmethod
    def read(cls, path: Path, where: str, max_cer: float, max_loss: float) -> "Hearings":
        """Raises InputError, with `where` as the name of the file, unless it is a list of measured clips."""
        if not path.is_file():
            raise InputError(f"{where}: no such file: {_EXPECTED}")
        try:
            samples = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{where}: not readable as JSON: {error}: {_EXPECTED}") from error
        hearings: dict[str, Hearing] = {}
        for number, sample in enumerate(samples if isinstance(samples, list) else [samples]):
            try:
                name, hearing = _hearing(sample)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{where}: sample {number}: without a usable {', '.join(_KEYS)} ({error}): {_EXPECTED}"
                ) from error
            if name in hearings:  # two files of one name: what holds for the worse one holds for both
                hearing = max(hearing, hearings[name], key=lambda one: (one.cer, one.loss))
            hearings[name] = hearing
        return cls(hearings, max_cer, max_loss)

    def reason(self, source: str, transcript: str) -> Reason:
        """Whether a clip may be trained on; not one that the model was not asked about with this transcript."""
        hearing = self.hearings.get(_name(source))
        if hearing is None or hearing.transcript != _comparable(transcript):
            return Reason.UNHEARD
        if hearing.cer > self.max_cer or (self.max_loss and hearing.loss > self.max_loss):
            return Reason.MISHEARD
        return Reason.ACCEPTED


def _hearing(sample: Any) -> tuple[str, Hearing]:
    transcript = str(sample["src"])
    cer = float(sample["cer"])
    loss = math.inf if sample["loss"] is None else float(sample["loss"])
    if math.isnan(cer) or math.isnan(loss):
        raise ValueError("not a number")
    return _name(sample["wav_filename"]), Hearing(_comparable(transcript), cer, loss / max(len(transcript), 1))


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]
