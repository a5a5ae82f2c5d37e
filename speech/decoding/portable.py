"""The beam search in pure Python, for machines without a compiler, and as a second opinion in the tests.

It follows the definition of ds_ctcdecoder 0.9.3 directly: float32 in the language model, doubles elsewhere, so scores
differ from the compiled decoder's in the last digits, and near-ties may fall the other way.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from speech.alphabet import Alphabet
from speech.decoding.query import LanguageModelReader, State
from speech.decoding.scorer import CHARACTERS, WORDS, Scorer

Hypothesis = tuple[float, list[int], list[int]]  # confidence, tokens, frames
_DEAD = -math.inf
_TINY = float(np.finfo(np.float32).tiny)
_LOG10_OF_E = float(np.float32(0.4342944819))
_OUT_OF_VOCABULARY = -1000.0


@dataclass(frozen=True)
class SearchSettings:
    """What the search is limited to."""

    beam_size: int
    cutoff_prob: float
    cutoff_top_n: int
    num_results: int


@dataclass(frozen=True)
class _Context:
    """What the scorer knows of a prefix up to its last complete word (code point, character)."""

    state: State
    known: int = 0  # words since the last unknown one, at most the order
    boosts: tuple[float, ...] = ()  # of the last words, oldest first


@dataclass(eq=False)
class _Prefix:
    """A sequence of labels."""

    labels: tuple[int, ...]
    parent: "_Prefix | None"
    state: int  # of the dictionary
    unit: bytes  # the word so far
    context: _Context | None
    unit_score: float = 0.0  # what the scorer added when the last label completed a word
    completes: bool = False
    frames: tuple[int, ...] = ()
    blank: float = _DEAD  # ln p at the end of the last frame: with a blank,
    label: float = _DEAD  # and with the last label
    score: float = _DEAD
    blank_now: float = _DEAD
    label_now: float = _DEAD
    frames_now: tuple[int, ...] | None = None
    in_beam: bool = False
    children: "dict[int, _Prefix]" = field(default_factory=dict)  # those in the beam, and ancestors of such


def _add_logs(x: float, y: float) -> float:
    high, low = (x, y) if x >= y else (y, x)
    return high if low == _DEAD else high + math.log1p(math.exp(low - high))


class _Guide:
    """What a scorer allows and says, without the weights' sums."""

    def __init__(self, scorer: Scorer, boosts: Mapping[bytes, float]) -> None:
        self.scorer = scorer
        self.boosts = boosts
        self.reader = LanguageModelReader(scorer.data, scorer.layout)
        self.arcs: dict[int, dict[int, int]] = {}
        self.symbols = [
            bytes([label + 1]) if scorer.bytes_mode else symbol.encode("utf-8")
            for label, symbol in enumerate(scorer.alphabet.symbols)
        ]
        self.space = scorer.alphabet.labels[" "] if scorer.units == WORDS else -1

    def root(self) -> _Prefix:
        return _Prefix((), None, self.scorer.dictionary.start, b"", _Context(self.reader.begin_state()))

    def extend(self, prefix: _Prefix, label: int) -> _Prefix | None:
        """The prefix with one more label, or None if no word goes on so."""
        dictionary = self.scorer.dictionary
        if prefix.state not in self.arcs:
            arcs = slice(int(dictionary.first_arc[prefix.state]), int(dictionary.first_arc[prefix.state + 1]))
            self.arcs[prefix.state] = {
                int(arc_label) - 1: dictionary.start if dictionary.final[target] else int(target)
                for arc_label, target in zip(dictionary.labels[arcs], dictionary.targets[arcs], strict=True)
            }
        target = self.arcs[prefix.state].get(label)
        if target is None:
            return None
        labels = (*prefix.labels, label)
        if self.scorer.units == CHARACTERS:
            return self._complete(_Prefix(labels, prefix, target, b"", prefix.context), self.symbols[label])
        if self.scorer.units == WORDS:
            if label != self.space:
                return _Prefix(labels, prefix, target, prefix.unit + self.symbols[label], prefix.context)
            return self._complete(_Prefix(labels, prefix, target, b"", prefix.context), prefix.unit)
        # The bytes of a finished code point stay until the next one begins.
        begins = (label + 1) & 0xC0 != 0x80
        unit = self.symbols[label] if begins else prefix.unit + self.symbols[label]
        longer = _Prefix(labels, prefix, target, unit, prefix.context)
        return self._complete(longer, unit) if len(unit) == _announced_bytes(unit[0]) else longer

    def _complete(self, prefix: _Prefix, unit: bytes) -> _Prefix:
        assert prefix.context is not None
        before, order = prefix.context, self.scorer.order
        index = self.reader.index(unit)
        boost = self.boosts.get(unit, 0.0)
        log_prob, state = self._log_probability(before, index)
        prefix.unit_score = (log_prob + sum(before.boosts) + boost) * self.scorer.alpha + self.scorer.beta
        known = min(before.known + 1, order) if index else 0
        prefix.context = _Context(state, known, (*before.boosts, boost)[-(order - 1) :])
        prefix.completes = True
        return prefix

    def _log_probability(self, context: _Context, index: int) -> tuple[float, State]:
        if index == 0:
            return _OUT_OF_VOCABULARY, self.reader.null_state()
        log10_prob, state = self.reader.score(context.state, index)
        if context.known < len(context.boosts):  # one of the last words is unknown
            return _OUT_OF_VOCABULARY, state
        return log10_prob / _LOG10_OF_E, state

    def highest_unit_score(self) -> float:
        """At least what the scorer can add when a word is complete."""
        if self.scorer.alpha < 0:
            return math.inf
        boost = max(0.0, *self.boosts.values()) if self.boosts else 0.0
        return max(0.0, self.scorer.alpha * boost * self.scorer.order + self.scorer.beta)

    def final(self, prefix: _Prefix) -> float:
        """What the last, unfinished word adds."""
        if prefix.completes or (not prefix.labels and self.scorer.units == WORDS):
            return 0.0
        if not prefix.labels:
            return self.scorer.beta
        assert prefix.context is not None
        log_prob, _ = self._log_probability(prefix.context, self.reader.index(prefix.unit))
        return log_prob * self.scorer.alpha + self.scorer.beta


def _announced_bytes(first: int) -> int:
    """How many bytes a UTF-8 code point has, by its first one; 0 if none begins so."""
    if first < 0x80:
        return 1
    return {0x06: 2}.get(first >> 5) or {0x0E: 3}.get(first >> 4) or {0x1E: 4}.get(first >> 3) or 0


def _kept_labels(row: np.ndarray, settings: SearchSettings) -> list[int]:
    """The labels of a frame that are followed, in the order in which they are."""
    if settings.cutoff_prob >= 1.0 and settings.cutoff_top_n >= len(row):
        return list(range(len(row)))
    order = [int(label) for label in np.argsort(-row, kind="stable")]
    if settings.cutoff_prob >= 1.0:
        return order
    enough = int(np.searchsorted(np.cumsum(row[order]), settings.cutoff_prob)) + 1
    return order[: max(1, min(enough, settings.cutoff_top_n))]


def decode(
    probs: np.ndarray,
    alphabet: Alphabet,
    settings: SearchSettings,
    scorer: Scorer | None,
    boosts: Mapping[bytes, float],
) -> list[Hypothesis]:
    """The best hypotheses of one clip `[T, labels + 1]`, best first."""
    guide = _Guide(scorer, boosts) if scorer is not None else None
    root = guide.root() if guide else _Prefix((), None, 0, b"", None)
    root.blank = root.score = 0.0
    beam = [root]
    blank = len(alphabet)
    started = False
    rows: np.ndarray = probs.astype(np.float64)
    for frame, row in enumerate(rows):
        started = started or row[blank] < 0.999
        if not started:
            continue
        kept = _kept_labels(row, settings)
        touched = _follow(beam, row, kept, frame, guide, settings)
        if not touched:
            touched = _follow(beam, row, list(range(len(row))), frame, guide, settings)
        beam = _best(beam, touched, settings.beam_size)
    ranked = sorted(
        ((prefix.score + (guide.final(prefix) if guide else 0.0), prefix) for prefix in beam),
        key=lambda item: (-item[0], item[1].labels[-1:] or (blank,)),
    )
    return [(score, list(prefix.labels), list(prefix.frames)) for score, prefix in ranked[: settings.num_results]]


def _follow(
    beam: list[_Prefix], row: np.ndarray, kept: list[int], frame: int, guide: _Guide | None, settings: SearchSettings
) -> list[_Prefix]:
    """Score every prefix and every extension of it by one frame; returns those with a probability above 0."""
    blank = len(row) - 1
    log_probs = np.log(row + _TINY)
    cutoff = _DEAD
    if guide is not None and len(beam) == settings.beam_size and row[blank] > 0:
        worst = min(prefix.score for prefix in beam)
        cutoff = worst + math.log(row[blank]) - max(0.0, guide.scorer.beta) - 1e-3  # room for rounding
    bound = _bound(beam, log_probs, set(kept), guide, settings)
    touched: dict[_Prefix, None] = {}
    for label in kept:
        log_prob = float(log_probs[label])
        for prefix in beam:
            if log_prob + prefix.score < cutoff:
                break  # the beam is in descending order
            if label == blank:
                prefix.blank_now = log_prob + prefix.score
                if prefix.label_now < prefix.blank_now:
                    prefix.frames_now = None
                touched[prefix] = None
                continue
            last = prefix.labels[-1] if prefix.labels else -1
            if label == last and prefix.label > _DEAD:
                _gain(prefix, log_prob + prefix.label, None)
                touched[prefix] = None
            score = log_prob + (prefix.blank if label == last else prefix.score)
            child = prefix.children.get(label)
            if score < bound and (child is None or not child.in_beam):
                continue
            if child is None:
                child = guide.extend(prefix, label) if guide else _Prefix((*prefix.labels, label), prefix, 0, b"", None)
                if child is None:
                    continue
                prefix.children[label] = child
            if score > _DEAD and not math.isnan(child.unit_score):
                _gain(child, score + child.unit_score, (*prefix.frames, frame))
                touched[child] = None
    return list(touched)


def _bound(
    beam: list[_Prefix], log_probs: np.ndarray, kept: set[int], guide: _Guide | None, settings: SearchSettings
) -> float:
    """What a new prefix has to reach, before the scorer: the worst of a full beam without any new label."""
    if len(beam) < settings.beam_size:
        return _DEAD
    bonus = guide.highest_unit_score() if guide else 0.0
    blank = len(log_probs) - 1
    worst = math.inf
    for prefix in beam:
        stays = prefix.score + float(log_probs[blank]) if blank in kept else _DEAD
        if prefix.labels and prefix.labels[-1] in kept:
            stays = _add_logs(stays, prefix.label + float(log_probs[prefix.labels[-1]]))
        worst = min(worst, stays)
    return worst - bonus - 1e-3  # room for rounding


def _gain(prefix: _Prefix, score: float, frames: tuple[int, ...] | None) -> None:
    if prefix.label_now < score:
        prefix.frames_now = frames
    prefix.label_now = _add_logs(prefix.label_now, score)


def _best(before: list[_Prefix], touched: list[_Prefix], beam_size: int) -> list[_Prefix]:
    for prefix in touched:
        prefix.blank, prefix.label = prefix.blank_now, prefix.label_now
        prefix.score = _add_logs(prefix.blank, prefix.label)
        prefix.blank_now = prefix.label_now = _DEAD
        if prefix.frames_now is not None:
            prefix.frames = prefix.frames_now
        prefix.frames_now = None
    beyond = math.inf  # the empty prefix sorts behind every label
    touched.sort(key=lambda prefix: (-prefix.score, prefix.labels[-1] if prefix.labels else beyond))
    for prefix in before:
        prefix.in_beam = False
    for prefix in touched[:beam_size]:
        prefix.in_beam = True
    for prefix in (*before, *touched[beam_size:]):
        _prune(prefix)
    return touched[:beam_size]


def _prune(prefix: _Prefix) -> None:
    """Forget a prefix that neither is in the beam nor leads there, and then its ancestors likewise."""
    while not prefix.in_beam and not prefix.children and prefix.parent is not None:
        if prefix.parent.children.pop(prefix.labels[-1], None) is None:
            return
        prefix = prefix.parent
