"""The words that a model gets wrong most often, and what it heard instead."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.evaluate.score.differences import NOTHING, aligned_words
from components.evaluate.score.samples import Sample

MOST_HEARD = 4  # different words that were heard instead of one


@dataclass
class WordErrors:
    """A word of the references: how often it was said, what was heard where it was not heard, and a clip of that."""

    word: str
    said: int = 0
    heard: Counter[str] = field(default_factory=Counter)
    example: Sample | None = None

    @property
    def wrong(self) -> int:
        """How often it was not heard."""
        return self.heard.total()

    @property
    def rate(self) -> float:
        """The same as a share."""
        return self.wrong / self.said

    @property
    def instead(self) -> list[tuple[str, int]]:
        """What was heard most often in its place, with counts; `NOTHING` where nothing was."""
        return sorted(self.heard.items(), key=lambda counted: (-counted[1], counted[0]))[:MOST_HEARD]


def worst_words(samples: Sequence[Sample], most: int) -> list[WordErrors]:
    """The `most` words with the most errors, the one with the most first; of equals the one that is said less often.

    The example is the shortest clip in which the word was heard as it was heard most often.
    """
    said = Counter(word for sample in samples for word in sample.reference.split())
    found: dict[str, WordErrors] = {}
    examples: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        for pair in aligned_words(sample) if sample.words.edits else ():
            if pair.kind in ("same", "inserted"):
                continue
            one = found.setdefault(pair.reference, WordErrors(pair.reference, said[pair.reference]))
            one.heard[pair.hypothesis or NOTHING] += 1
            known = examples.get((pair.reference, pair.hypothesis))
            if known is None or sample.duration_s < known.duration_s:
                examples[pair.reference, pair.hypothesis] = sample
    chosen = sorted(found.values(), key=lambda one: (-one.wrong, one.said, one.word))[:most]
    for one in chosen:
        one.example = examples[one.word, one.instead[0][0]]
    return chosen
