"""The search in Python: the definition, written once more, agrees with the compiled one."""

import itertools
import math

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.decoding import beam_search, portable
from speech.decoding.portable import SearchSettings
from speech.decoding.scorer import Scorer
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.cases import CASES, Case

SMALL = Alphabet(tuple(" ab"))


def decode_portably(case: Case, limit: int) -> list[list[portable.Hypothesis]]:
    scorer = Scorer(cases.ALPHA, cases.BETA, case.scorer, case.alphabet) if case.scorer else None
    settings = SearchSettings(case.beam_width, case.cutoff_prob, case.cutoff_top_n, case.num_results)
    boosts = {word.encode(): boost for word, boost in case.hot_words.items()}
    return [portable.decode(clip, case.alphabet, settings, scorer, boosts) for clip in case.emissions(limit)]


@pytest.mark.parametrize(
    ("name", "limit"), [("easy", 3), ("hard", 3), ("narrow", 10), ("hot words", 2), ("pruned", 3), ("no scorer", 1),
                        ("no scorer, pruned", 3), ("bytes", 1)]
)  # fmt: skip
def test_stored_answers(name: str, limit: int) -> None:
    """Best transcript, its confidence and timesteps are ds_ctcdecoder's; scores are doubles here, so nearly."""
    case = CASES[name]
    for found, expected in zip(decode_portably(case, limit), cases.answers()["decodings"][name], strict=False):
        text, confidence, timesteps = expected[0]
        assert case.alphabet.decode(found[0][1]) == text
        assert found[0][0] == pytest.approx(confidence, rel=1e-4)
        assert found[0][2] == timesteps
        assert len(found) == len(expected)


def test_a_wide_beam_adds_up_all_paths() -> None:
    probs = np.random.default_rng(2).dirichlet(np.ones(4), 5)  # [T, C]
    sums: dict[str, float] = {}
    for path in itertools.product(range(4), repeat=5):
        text = SMALL.decode([label for label, _ in itertools.groupby(path) if label != 3])
        sums[text] = sums.get(text, 0.0) + math.prod(probs[frame, label] for frame, label in enumerate(path))
    found = portable.decode(probs, SMALL, SearchSettings(5000, 1.0, 40, 5000), None, {})
    assert {SMALL.decode(tokens): math.exp(score) for score, tokens, _ in found} == pytest.approx(sums)


def test_random_emissions_as_compiled() -> None:
    """Structureless probabilities, where a search gets lost if anything is off."""
    if not beam_search.is_compiled():
        pytest.skip("the decoder cannot be compiled here")
    numbers = np.random.default_rng(5)
    scorer = Scorer(0.7, 0.5, cases.SMALL["trie"], cases.ALPHABET)
    for _ in range(8):
        probs = numbers.dirichlet(np.full(29, 0.1), 25)  # [T, C]
        ours = portable.decode(probs, cases.ALPHABET, SearchSettings(15, 1.0, 40, 3), scorer, {})
        compiled = beam_search.ctc_beam_search_decoder(probs, cases.ALPHABET, 15, scorer=scorer, num_results=3)
        assert [tokens for _, tokens, _ in ours] == [one.tokens for one in compiled]
        assert [score for score, _, _ in ours] == pytest.approx([one.confidence for one in compiled], rel=1e-4)


def test_few_labels_narrow_beams_and_zeros_as_compiled() -> None:
    """Where the compiled search leaves out what cannot survive, by counting: beams that never fill, dead prefixes."""
    if not beam_search.is_compiled():
        pytest.skip("the decoder cannot be compiled here")
    numbers = np.random.default_rng(11)
    for trial in range(400):
        labels, frames = int(numbers.integers(1, 6)), int(numbers.integers(1, 20))
        scores = np.exp(numbers.normal(0, numbers.choice([0.3, 1, 4, 10]), (frames, labels + 1)))  # [T, C]
        if numbers.random() < 0.3:
            scores[numbers.random(scores.shape) < 0.3] = 0
        probs = scores / np.maximum(scores.sum(1, keepdims=True), 1e-9)
        alphabet = Alphabet(tuple("abcdef"[:labels]))
        beam_size = int(numbers.choice([1, 3, 7, 20, 60]))
        cutoff_prob, num_results = float(numbers.choice([1.0, 0.99, 0.9])), int(numbers.choice([1, 3, beam_size]))
        ours = portable.decode(probs, alphabet, SearchSettings(beam_size, cutoff_prob, 40, num_results), None, {})
        compiled = beam_search.ctc_beam_search_decoder(probs, alphabet, beam_size, cutoff_prob, num_results=num_results)
        expected = pytest.approx([score for score, _, _ in ours], rel=1e-4, abs=1e-4)
        assert [one.confidence for one in compiled] == expected, trial
        assert [one.tokens for one in compiled][:1] == [tokens for _, tokens, _ in ours][:1], trial


def test_a_dead_prefix_that_comes_back_counts_once() -> None:
    """In the fifth frame only label 3 is kept, no blank: prefixes that do not end in it die, some get it anew."""
    if not beam_search.is_compiled():
        pytest.skip("the decoder cannot be compiled here")
    probs = np.array(
        [
            [9.98e-1, 1.3e-10, 2.6e-7, 1.6e-3, 2.9e-6],
            [1.2e-2, 6.4e-1, 1.0e-1, 1.4e-1, 1.0e-1],
            [8.0e-3, 2.5e-4, 5.5e-3, 6.9e-3, 9.8e-1],
            [7.2e-8, 2.9e-5, 7.4e-5, 6.6e-1, 3.4e-1],
            [1.8e-18, 1.2e-14, 7.4e-6, 9.9999e-1, 1.2e-6],
            [7.3e-3, 3.6e-11, 2.5e-3, 1.7e-5, 9.901e-1],
            [5.9e-1, 8.4e-2, 4.0e-2, 2.6e-3, 2.9e-1],
        ]
    )  # [T, C]
    alphabet = Alphabet(tuple("abcd"))
    ours = portable.decode(probs, alphabet, SearchSettings(20, 0.99, 40, 20), None, {})
    compiled = beam_search.ctc_beam_search_decoder(probs, alphabet, 20, 0.99, num_results=20)
    assert [one.tokens for one in compiled] == [tokens for _, tokens, _ in ours]
