"""Where transcripts differ from references: aligned words, the most frequent errors, characters taken for others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from components.evaluate.score.samples import Sample

NOTHING = ""  # what stands beside a deleted or an inserted token


@dataclass(frozen=True)
class Pair:
    """One position of an alignment; one side is empty in a deletion or an insertion."""

    reference: str
    hypothesis: str

    @property
    def kind(self) -> str:
        """same, substituted, deleted or inserted."""
        if self.reference == self.hypothesis:
            return "same"
        if not self.hypothesis:
            return "deleted"
        return "substituted" if self.reference else "inserted"


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """The tokens side by side, with as few edits as possible."""
    from rapidfuzz.distance import Levenshtein

    pairs = []
    for step in Levenshtein.opcodes(reference, hypothesis):
        tokens = reference[step.src_start : step.src_end]
        heard = hypothesis[step.dest_start : step.dest_end]
        pairs += [Pair(*pair) for pair in zip_longest(tokens, heard, fillvalue=NOTHING)]  # one is empty, or none
    return pairs


def aligned_words(sample: Sample) -> list[Pair]:
    """The words of a clip's reference and transcript side by side."""
    return align(sample.reference.split(), sample.hypothesis.split())


@dataclass
class Differences:
    """How often what was taken for what."""

    words: Counter[tuple[str, str]] = field(default_factory=Counter)  # edits only
    characters: Counter[tuple[str, str]] = field(default_factory=Counter)  # with the matches

    def most_frequent(self, kind: str, count: int) -> list[tuple[Pair, int]]:
        """The most frequent words `substituted`, `deleted` or `inserted`."""
        pairs = ((Pair(*pair), times) for pair, times in self.words.items())
        chosen = [(pair, times) for pair, times in pairs if pair.kind == kind]
        return sorted(chosen, key=lambda counted: (-counted[1], counted[0].reference, counted[0].hypothesis))[:count]


def count_differences(samples: Sequence[Sample]) -> Differences:
    """Count the edits of all samples, of words and of characters."""
    differences = Differences()
    for sample in samples:
        if sample.words.edits:
            edits = (pair for pair in aligned_words(sample) if pair.kind != "same")
            differences.words.update((pair.reference, pair.hypothesis) for pair in edits)
        if sample.characters.edits:
            pairs = align(sample.reference, sample.hypothesis)
            differences.characters.update((pair.reference, pair.hypothesis) for pair in pairs)
        else:
            differences.characters.update(zip(sample.reference, sample.reference, strict=True))
    return differences


@dataclass(frozen=True)
class Confusions:
    """What was heard (columns) where a character was said (rows); `NOTHING` stands for a deletion or an insertion."""

    tokens: list[str]  # of the rows and of the columns
    counts: list[list[int]]
    totals: list[int]  # how often each row's character was said, whatever was heard

    @property
    def strongest(self) -> float:
        """The largest share of a character that was heard as a certain other one, or not at all."""
        shares = (
            times / self.totals[row]
            for row, counts in enumerate(self.counts)
            for column, times in enumerate(counts)
            if row != column and self.tokens[row] != NOTHING and times
        )
        return max(shares, default=1.0)


def confusions(differences: Differences, most: int) -> Confusions:
    """The table of the `most` characters that were mistaken most often, in the characters' order."""
    mistakes: Counter[str] = Counter()
    for (reference, heard), times in differences.characters.items():
        if reference != heard:
            mistakes[reference] += times
            mistakes[heard] += times
    chosen = sorted(token for token, _ in mistakes.most_common(most + 1) if token != NOTHING)[:most]
    tokens = [*chosen, NOTHING]
    counts = [[differences.characters[row, column] for column in tokens] for row in tokens]
    totals: Counter[str] = Counter()
    for (row, _), times in differences.characters.items():
        totals[row] += times
    return Confusions(tokens, counts, [totals[row] for row in tokens])
