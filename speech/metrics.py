"""Word and character error rates as the field counts them: all edits over all reference tokens.

An empty reference counts no tokens; what is heard there counts as insertions. The rate without any reference token is
0 without edits and 1 with any. White space separates words; characters are code points, spaces included.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

WORDS, CHARACTERS = "wer", "cer"  # the two rates, by their names in an evaluation
# Thai, Lao, Myanmar, Khmer, kana, Han: scripts without a space between words
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# On average, with the space behind: where there are more, spaces part sentences and no words. In unspaced scripts,
# whose sentences are short, a text has fewer only where somebody has parted it into words or characters.
MOST_CHARACTERS_A_WORD, MOST_IN_UNSPACED = 20, 6
RESAMPLES_AT_ONCE = 4_000_000  # numbers drawn in one go
_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True)
class ErrorCount:
    """Edits and reference tokens, summed over clips."""

    edits: int
    reference_tokens: int

    @property
    def rate(self) -> float:
        """Edits a reference token; with no reference at all 0 without edits and 1 with any."""
        if self.reference_tokens:
            return self.edits / self.reference_tokens
        return float(self.edits > 0)

    def __add__(self, other: "ErrorCount") -> "ErrorCount":
        return ErrorCount(self.edits + other.edits, self.reference_tokens + other.reference_tokens)


def unspaced_characters(text: str) -> int:
    """How many characters of a text are of scripts without a space between words."""
    return len(_UNSPACED.findall(text))


def words_are_parted(has_space: bool, words: int, characters: int, unspaced: int = 0) -> bool:
    """Whether white space parts the words of a text (Thai has spaces, but few); `has_space` is the alphabet's.

    `unspaced` of its `characters` are of scripts without a space between words.
    """
    most = MOST_IN_UNSPACED if 2 * unspaced > characters else MOST_CHARACTERS_A_WORD
    return has_space and characters <= most * max(words, 1)


def headline_rate(has_space: bool, words: int, characters: int, unspaced: int = 0) -> str:
    """The rate to read first, WORDS or CHARACTERS: where words are not parted, a WER counts wrong sentences.

    `has_space` is the alphabet's; the numbers are of the references, as `words_are_parted` takes them.
    """
    return WORDS if words_are_parted(has_space, words, characters, unspaced) else CHARACTERS


def word_errors(reference: str, hypothesis: str) -> ErrorCount:
    """Substituted, deleted and inserted words; words are what white space separates."""
    return _count(reference.split(), hypothesis.split())


def character_errors(reference: str, hypothesis: str) -> ErrorCount:
    """Substituted, deleted and inserted characters (code points), spaces included."""
    return _count(reference, hypothesis)


def _count(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCount:
    from rapidfuzz.distance import Levenshtein

    return ErrorCount(Levenshtein.distance(reference, hypothesis), len(reference))


def _unchanged(text: str) -> str:
    return text


def _spaces(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _lower(text: str) -> str:
    return _spaces(text.lower())


class _Letters(dict[int, str]):
    """For `str.translate`: letters, marks, digits and the apostrophe stay, anything else becomes a space."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = character == "'" or unicodedata.category(character)[0] in "LMN"
        self[code] = character if kept else " "
        return self[code]


_LETTERS = _Letters()


def _letters(text: str) -> str:
    return _spaces(unicodedata.normalize("NFC", text.lower()).translate(_LETTERS))


NORMALIZATIONS: dict[str, Callable[[str], str]] = {
    "none": _unchanged,
    "spaces": _spaces,  # NFC; runs of white space are one space, none at the ends
    "lower": _lower,  # and lower case
    "letters": _letters,  # and only letters, digits and apostrophes, anything else separates words
}


@dataclass(frozen=True)
class ErrorTable:
    """Edits and reference tokens of many clips, `[N]` each."""

    edits: np.ndarray
    reference_tokens: np.ndarray

    @property
    def total(self) -> ErrorCount:
        """Summed over the clips."""
        return ErrorCount(int(self.edits.sum()), int(self.reference_tokens.sum()))

    def select(self, chosen: np.ndarray) -> "ErrorTable":
        """The clips that an index array or a mask names."""
        return ErrorTable(self.edits[chosen], self.reference_tokens[chosen])

    def sums(self, units: np.ndarray) -> "ErrorTable":
        """Summed over the clips with the same number in `units` `[N]`, numbered from 0 without gaps."""
        return ErrorTable(
            np.bincount(units, self.edits).astype(np.int64), np.bincount(units, self.reference_tokens).astype(np.int64)
        )

    def by_speaker(self, speakers: Sequence[str]) -> "ErrorTable":
        """Summed over the clips of each speaker; a clip of an unknown one ("") stands for itself."""
        units: dict[str | int, int] = {}
        numbers = [units.setdefault(speaker or clip, len(units)) for clip, speaker in enumerate(speakers)]
        return self.sums(np.array(numbers, np.int64))


def word_error_table(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorTable:
    """`word_errors` of many pairs."""
    return _table(map(str.split, references), map(str.split, hypotheses), len(references))


def character_error_table(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorTable:
    """`character_errors` of many pairs."""
    return _table(references, hypotheses, len(references))


def _table(references: Iterable[Sequence[str]], hypotheses: Iterable[Sequence[str]], count: int) -> ErrorTable:
    from rapidfuzz.distance import Levenshtein

    edits, tokens = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for row, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        edits[row] = Levenshtein.distance(reference, hypothesis)
        tokens[row] = len(reference)
    return ErrorTable(edits, tokens)


def bootstrap_interval(
    table: ErrorTable, *, resamples: int, confidence: float, seed: int
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the error rate: units (the table's rows) are drawn with replacement.

    Rows should be what is independent: clips, or speakers (`ErrorTable.sums`). None for fewer than two rows, which say
    nothing about the spread. Source: Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
    evaluation", 2004.
    """
    count = len(table.edits)
    if count < 2 or resamples < 1:
        return None
    # Rows with the same numbers are the same outcome: one multinomial draw over the distinct ones is the same
    # experiment as drawing row by row, and there are only some hundreds of them in the largest test set.
    base = int(table.reference_tokens.max()) + 1
    outcomes, times = np.unique(table.edits * base + table.reference_tokens, return_counts=True)
    numbers = np.stack(np.divmod(outcomes, base), axis=1).astype(np.float64)  # [outcomes, 2]
    generator = np.random.default_rng(seed)
    rates = []
    for start in range(0, resamples, step := max(1, RESAMPLES_AT_ONCE // len(outcomes))):
        drawn = generator.multinomial(count, times / count, size=min(step, resamples - start))  # [R, outcomes]
        edits, tokens = (drawn.astype(np.float64) @ numbers).T
        rates.append(np.where(tokens > 0, edits / np.maximum(tokens, 1.0), edits > 0))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.concatenate(rates), [tail, 1.0 - tail])
    return float(low), float(high)


def paired_interval(
    differences: np.ndarray, reference_tokens: np.ndarray, *, resamples: int, confidence: float, seed: int
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the difference of two error rates on the same units.

    `differences` `[N]` are the edits of one model minus those of the other on each unit (clip or speaker). Units are
    drawn with both models' edits, so what makes a clip hard for both does not widen the interval. None for fewer than
    two units. Source: Bisani and Ney, 2004.
    """
    count = len(differences)
    if count < 2 or resamples < 1:
        return None
    outcomes, times = np.unique(np.stack([differences, reference_tokens], axis=1), axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    rates = []
    for start in range(0, resamples, step := max(1, RESAMPLES_AT_ONCE // len(outcomes))):
        drawn = generator.multinomial(count, times / count, size=min(step, resamples - start))  # [R, outcomes]
        summed = drawn.astype(np.float64) @ outcomes  # [R, 2]
        rates.append(summed[:, 0] / np.maximum(summed[:, 1], 1.0))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.concatenate(rates), [tail, 1.0 - tail])
    return float(low), float(high)
