"""Tuning finds weights with fewer errors, the same ones each time."""

import xml.etree.ElementTree

import numpy as np
import pytest

from speech.decoding import tuning
from speech.decoding.scorer import Scorer
from speech.decoding.tuning import Trial, Tuning, tune
from speech.errors import InputError
from speech.metrics import ErrorCount
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.cases import CASES

CASE = CASES["hard"]


def test_better_than_poor_weights() -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    emissions, transcripts = CASE.emissions(25), CASE.transcripts()[:25]
    scorer = Scorer(4.5, 0.0, cases.WORDS, cases.ALPHABET)
    found = tune(emissions, transcripts, scorer, n_trials=12, beam_width=25, seed=1)
    assert (found.trials[0].alpha, found.trials[0].beta) == (4.5, 0.0)
    assert found.best.rate < 0.9 * found.trials[0].rate
    assert found.best.rate == min(trial.rate for trial in found.trials)
    assert (scorer.alpha, scorer.beta) == (4.5, 0.0)
    assert tune(emissions, transcripts, scorer, n_trials=12, beam_width=25, seed=1) == found
    assert found.to_dict()["alpha"] == found.best.alpha


def test_bytes_mode_counts_characters() -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    case = CASES["bytes"]
    scorer = Scorer(None, None, cases.BYTES, cases.BYTES_ALPHABET)
    found = tune(case.emissions(4), case.transcripts()[:4], scorer, n_trials=2, beam_width=10)
    assert found.unit == "characters"
    assert found.best.errors.reference_tokens == sum(map(len, case.transcripts()[:4]))


def test_transcripts_are_normalized_on_both_sides() -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    scorer = Scorer(None, None, cases.WORDS, cases.ALPHABET)
    emissions, transcripts = CASE.emissions(3), CASE.transcripts()[:3]
    settings = {"n_trials": 1, "beam_width": 25}
    plain = tune(emissions, transcripts, scorer, **settings)
    upper = tune(emissions, [text.upper() for text in transcripts], scorer, normalize=str.lower, **settings)
    assert upper == plain


@pytest.mark.parametrize(
    ("emissions", "transcripts", "settings", "message"),
    [
        (2, ["a"], {}, "2 emissions for 1 transcripts"),
        (1, [" "], {}, "nothing to tune on"),
        (1, ["a"], {"n_trials": 0}, "n_trials is 0"),
        (1, ["a"], {"lm_alpha_max": 0.0}, "lm_alpha_max 0.0"),
    ],
)
def test_refused(emissions: int, transcripts: list[str], settings: dict[str, float], message: str) -> None:
    scorer = Scorer(None, None, cases.WORDS, cases.ALPHABET)
    with pytest.raises(InputError, match=message):
        tune([np.full((2, 29), 1 / 29)] * emissions, transcripts, scorer, **settings)  # type: ignore[arg-type]


def test_plot() -> None:
    """A well-formed picture of all trials that names the best one."""
    trials = tuple(Trial(alpha, 2.0, ErrorCount(edits, 100)) for alpha, edits in ((0.5, 30), (1.0, 12), (2.0, 20)))
    made = tuning.plot(Tuning(trials, "words", 100))
    root = xml.etree.ElementTree.fromstring(made)
    assert len(root.findall(".//{*}circle")) == 3
    assert "alpha 1.000, beta 2.000: WER 12.00% on dev, 3 trials" in made
    one = tuning.plot(Tuning(trials[:1], "characters", 100))
    assert "CER 30.00%" in one
    xml.etree.ElementTree.fromstring(one)
