"""How emissions become text."""

from collections.abc import Callable, Sequence

import numpy as np

from components.evaluate.settings import EvaluateSettings
from speech.alphabet import Alphabet
from speech.decoding.greedy import best_path

# Probabilities [T, C] of each clip, blank last -> the transcripts; a batch, so that a decoder can use all processors.
Decoder = Callable[[Sequence[np.ndarray]], list[str]]


def open_decoder(settings: EvaluateSettings, alphabet: Alphabet) -> Decoder:
    """The decoder that the settings name."""

    def greedy(batch: Sequence[np.ndarray]) -> list[str]:
        return [best_path(emissions, alphabet) for emissions in batch]

    decoders: dict[str, Decoder] = {"greedy": greedy}
    return decoders[settings.decoder]
