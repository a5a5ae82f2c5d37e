"""What became of each clip: reference, transcript, edits and loss, and the JSON form that the peers' tools read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluate.sets import Item
from speech.metrics import ErrorCount


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
    item: Item | None = None  # where the audio is; None in an evaluation read back

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
        }


def ranked(samples: Sequence[Sample]) -> list[Sample]:
    """Best first, as the peers' report orders them: by word error rate, then by loss."""
    return sorted(samples, key=lambda sample: (sample.words.rate, math.inf if sample.loss is None else sample.loss))
