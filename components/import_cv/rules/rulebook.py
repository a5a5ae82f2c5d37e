"""Named rules that change a sentence, one after the other; each is counted, and shows examples of what it did."""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from components.import_cv.plan.reasons import Reason

EXAMPLES = 3  # of a rule
EXAMPLE_CHARACTERS = 120


@dataclass(frozen=True)
class Rule:
    """One change; `touches` says of a character whether a sentence that has it may need the rule."""

    name: str
    meaning: str
    touches: Callable[[str], bool]
    apply: Callable[[str], str]
    tidies: bool = False  # what other rules leave behind; counted where the sentence itself needs it


@dataclass(frozen=True)
class Refusal:
    """What no rule can make a transcript of: a reason, and the characters that give it."""

    reason: Reason
    touches: Callable[[str], bool]


class _Masks(dict[str, int]):
    """Character -> bits of what concerns it, found at its first appearance: most sentences need two or three rules."""

    def __init__(self, tests: Iterable[Callable[[str], bool]]) -> None:
        super().__init__()
        self._tests = tuple(tests)
        self._harmless: set[str] = set()  # what concerns nothing: most of the characters of a sentence

    def __missing__(self, character: str) -> int:
        mask = sum(1 << bit for bit, touches in enumerate(self._tests) if touches(character))
        self[character] = mask
        if not mask:
            self._harmless.add(character)
        return mask

    def of(self, characters: Set[str]) -> int:
        """The bits of all of them."""
        mask = 0
        for character in characters - self._harmless:
            mask |= self[character]
        return mask


class Rulebook:
    """Sentence -> transcript by rules in order, or the reason why there is none."""

    def __init__(
        self, rules: Sequence[Rule], refusals: Sequence[Refusal], note: str = "", letters: Set[str] = frozenset()
    ) -> None:
        """`note` says where the rules come from; `letters` are the locale's own, as far as they are known."""
        self.letters = letters
        self.rules = tuple(rules)
        self._tidied = next((rule.apply for rule in self.rules if rule.tidies), str)
        self.refusals = tuple(refusals)
        self.note = note
        self.reset()
        self._needed = _Masks(rule.touches for rule in self.rules)
        self._refused = _Masks(refusal.touches for refusal in self.refusals)

    def reset(self) -> None:
        """Begin to count."""
        self.rows = [0] * len(self.rules)
        self.examples: list[dict[str, str]] = [{} for _ in self.rules]

    def __call__(self, sentence: str, counted: bool = True) -> tuple[Reason, str]:
        """The reason (or ACCEPTED) and the transcript as far as it got; `counted` as one more row."""
        text, seen = sentence, set(sentence)
        mask = self._needed.of(seen)
        for number, rule in enumerate(self.rules):
            if not mask >> number & 1:
                continue
            before, text = text, rule.apply(text)
            if text == before:
                continue
            if new := set(text) - seen:  # a rule may bring characters that a later one is about
                mask |= self._needed.of(new)
                seen |= new
            if counted and not (rule.tidies and rule.apply(sentence) == sentence):
                self._count(number, before, text)
        if not text:
            return Reason.EMPTIED, sentence
        if refused := self._refused.of(set(text)):
            return self.refusals[(refused & -refused).bit_length() - 1].reason, text
        return Reason.ACCEPTED, text

    def _count(self, number: int, before: str, after: str) -> None:
        self.rows[number] += 1
        examples = self.examples[number]
        if len(examples) < EXAMPLES:
            shown = str if self.rules[number].tidies else self._tidied  # a gap is a space between some scripts' words
            examples.setdefault(shown(before)[:EXAMPLE_CHARACTERS], shown(after)[:EXAMPLE_CHARACTERS])

    def describe(self) -> dict[str, Any]:
        """What each rule did, in the order of the rules."""
        return {
            "note": self.note,
            "rules": [
                {"name": rule.name, "meaning": rule.meaning, "rows": rows, "examples": list(examples.items())}
                for rule, rows, examples in zip(self.rules, self.rows, self.examples, strict=True)
            ],
        }
