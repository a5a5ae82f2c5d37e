"""What became of each clip: reference, transcript, edits and loss, and the JSON form that the peers' tools read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.evaluate.decode.decoders import Hypothesis
from components.evaluate.score.sets import EvaluationClip
from speech.metrics import ErrorCount


@dataclass(frozen=True)
class Reading:
    """A transcript, normalised, and its edits."""

    hypothesis: str
    words: ErrorCount
    characters: ErrorCount


@dataclass(frozen=True)
class Sample:
    """One clip, measured. The texts are normalised, as they were compared."""

    set_name: str
    wav_filename: str
    speaker: str
    traits: dict[str, str]
    duration_s: float
    reference: str
    hypothesis: str
    words: ErrorCount
    characters: ErrorCount
    loss: float | None  # nats; None where the model cannot write the reference at all
    item: EvaluationClip | None = None  # where the audio is; None in an evaluation read back
    alone: Reading | None = None  # what is heard without the scorer; None if there is none
    candidates: Sequence[Hypothesis] = ()  # as they were decoded, best first; the best one alone is not listed

    def without_scorer(self) -> "Sample":
        """The same clip, as it was heard without the scorer."""
        if self.alone is None:
            return self
        return replace(
            self,
            hypothesis=self.alone.hypothesis,
            words=self.alone.words,
            characters=self.alone.characters,
            alone=None,
            candidates=(),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: the keys of DeepSpeech's `--test_output_file` first."""
        return {
            "wav_filename": self.wav_filename,
            "src": self.reference,
            "res": self.hypothesis,
            "loss": self.loss,
            "char_distance": self.characters.edits,
            "char_length": self.characters.reference_tokens,
            "word_distance": self.words.edits,
            "word_length": self.words.reference_tokens,
            "cer": self.characters.rate,
            "wer": self.words.rate,
            "set": self.set_name,
            "duration_s": round(self.duration_s, 4),
            "client_id": self.speaker,
            **self.traits,
            **self._of_scorer(),
            **({"candidates": [candidate._asdict() for candidate in self.candidates]} if self.candidates else {}),
        }

    def _of_scorer(self) -> dict[str, Any]:
        if self.alone is None:
            return {}
        return {
            "res_without_scorer": self.alone.hypothesis,
            "wer_without_scorer": self.alone.words.rate,
            "cer_without_scorer": self.alone.characters.rate,
        }


def ranked(samples: Sequence[Sample]) -> list[Sample]:
    """Best first, as the peers' report orders them: by word error rate, then by loss."""
    return sorted(samples, key=lambda sample: (sample.words.rate, math.inf if sample.loss is None else sample.loss))
