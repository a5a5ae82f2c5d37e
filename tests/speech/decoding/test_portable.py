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
