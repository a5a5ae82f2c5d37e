"""Finding a scorer's weights: alpha and beta with the fewest errors on a dev set, from emissions computed once.

The acoustic model runs once and not in every trial, so that a trial costs a decoding. Tune on dev and never on test.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from speech.decoding.beam_search import ctc_beam_search_decoder_batch
from speech.decoding.scorer import WORDS, Scorer
from speech.errors import InputError
from speech.metrics import ErrorCount, character_errors, word_errors
from speech.progress import Progress

USUAL_WEIGHTS = (0.931289039105002, 1.1834137581510284)  # DeepSpeech's, found on LibriSpeech


@dataclass(frozen=True)
class Trial:
    """One pair of weights and its errors."""

    alpha: float
    beta: float
    errors: ErrorCount

    @property
    def rate(self) -> float:
        """Edits a reference token."""
        return self.errors.rate


@dataclass(frozen=True)
class Tuning:
    """A finished search. `unit` is what was counted: words, or characters in bytes mode."""

    trials: tuple[Trial, ...]
    unit: str
    beam_width: int

    @property
    def best(self) -> Trial:
        """The fewest errors; of equals the first."""
        return min(self.trials, key=lambda trial: trial.errors.edits)

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "alpha": self.best.alpha,
            "beta": self.best.beta,
            "error_rate": self.best.rate,
            "unit": self.unit,
            "beam_width": self.beam_width,
            "trials": [{"alpha": trial.alpha, "beta": trial.beta, "error_rate": trial.rate} for trial in self.trials],
        }


def tune(
    emissions: Sequence[np.ndarray],
    transcripts: Sequence[str],
    scorer: Scorer,
    *,
    n_trials: int = 60,
    beam_width: int = 100,
    lm_alpha_max: float = 5.0,
    lm_beta_max: float = 5.0,
    cutoff_prob: float = 1.0,
    cutoff_top_n: int = 300,
    num_processes: int | None = None,
    normalize: Callable[[str], str] = str,
    seed: int = 4568,
) -> Tuning:
    """Search alpha in 0...lm_alpha_max and beta in 0...lm_beta_max (TPE, the scorer's own weights first).

    `emissions` are [T, C] probabilities of clips whose references are `transcripts`; `normalize` is applied to both
    sides before they are compared. The same seed gives the same search. The scorer keeps its weights.
    """
    _check(emissions, transcripts, n_trials, lm_alpha_max, lm_beta_max)
    references = [normalize(transcript) for transcript in transcripts]
    own = (scorer.alpha, scorer.beta)
    count = word_errors if scorer.units == WORDS else character_errors
    trials: list[Trial] = []

    def measure(alpha: float, beta: float) -> Trial:
        scorer.reset_params(alpha, beta)
        decoded = ctc_beam_search_decoder_batch(
            emissions, None, scorer.alphabet, beam_width, num_processes, cutoff_prob, cutoff_top_n, scorer
        )
        pairs = zip(references, (clip[0].transcript for clip in decoded), strict=True)
        errors = (count(reference, normalize(hypothesis)) for reference, hypothesis in pairs)
        return Trial(scorer.alpha, scorer.beta, sum(errors, ErrorCount(0, 0)))

    study = _study(seed)
    for alpha, beta in dict.fromkeys((own, USUAL_WEIGHTS)):
        study.enqueue_trial(
            {"lm_alpha": min(max(alpha, 0.0), lm_alpha_max), "lm_beta": min(max(beta, 0.0), lm_beta_max)}
        )
    try:
        with Progress("tune", n_trials, "trials") as progress:
            for _ in range(n_trials):
                asked = study.ask()
                alpha = asked.suggest_float("lm_alpha", 0.0, lm_alpha_max)
                beta = asked.suggest_float("lm_beta", 0.0, lm_beta_max)
                trials.append(measure(alpha, beta))
                study.tell(asked, trials[-1].rate)
                progress.update(1, best=f"{min(trial.rate for trial in trials):.4f}")
    finally:
        scorer.reset_params(*own)
    return Tuning(tuple(trials), "words" if scorer.units == WORDS else "characters", beam_width)


def _check(
    emissions: Sequence[np.ndarray], transcripts: Sequence[str], n_trials: int, alpha_max: float, beta_max: float
) -> None:
    if len(emissions) != len(transcripts):
        raise InputError(f"{len(emissions)} emissions for {len(transcripts)} transcripts: expected one each")
    if not any(transcript.split() for transcript in transcripts):
        raise InputError("nothing to tune on: the dev set has no transcripts")
    if n_trials < 1:
        raise InputError(f"n_trials is {n_trials}: expected at least 1")
    if not (alpha_max > 0 and beta_max > 0):
        raise InputError(f"lm_alpha_max {alpha_max} and lm_beta_max {beta_max}: expected more than 0")


def _study(seed: int):  # type: ignore[no-untyped-def]
    try:
        import optuna
    except ImportError as error:
        raise InputError("tuning a scorer needs optuna: pip install 'speechmill[evaluate]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))


# ---- the plot ----

_WIDTH, _HEIGHT, _MARGIN = 640, 300, 44
_PANEL = (_WIDTH - 4 * _MARGIN) / 2
_FLOOR = _HEIGHT - _MARGIN


def plot(tuning: Tuning) -> str:
    """An SVG of the search: every trial by its weights, the darker the better, and the best rate so far."""
    rates = [trial.rate for trial in tuning.trials]
    low, high = min(rates), max(rates)
    alphas, betas = [trial.alpha for trial in tuning.trials], [trial.beta for trial in tuning.trials]
    alpha_max, beta_max = _round_up(max(alphas)), _round_up(max(betas))
    error = "CER" if tuning.unit == "characters" else "WER"
    best = tuning.best
    parts = [_axes(_MARGIN, "alpha", "beta", ("0", f"{alpha_max:g}"), ("0", f"{beta_max:g}"))]
    for trial in tuning.trials:
        share = (trial.rate - low) / (high - low) if high > low else 0.0
        title = f"alpha {trial.alpha:.3f}, beta {trial.beta:.3f}: {error} {trial.rate:.2%}"
        parts.append(
            f'<circle cx="{_MARGIN + trial.alpha / alpha_max * _PANEL:.1f}" '
            f'cy="{_FLOOR - trial.beta / beta_max * (_FLOOR - _MARGIN):.1f}" r="{6 if trial is best else 4}" '
            f'fill="hsl(215,70%,{25 + 60 * share:.0f}%)" stroke="{"#d33" if trial is best else "none"}" '
            f'stroke-width="2"><title>{escape(title)}</title></circle>'
        )
    left = 3 * _MARGIN + _PANEL
    parts.append(_axes(left, "trial", f"best {error}", ("1", str(len(rates))), (f"{low:.2%}", f"{high:.2%}")))
    points, so_far = [], math.inf
    for number, rate in enumerate(rates):
        so_far = min(so_far, rate)
        share = (so_far - low) / (high - low) if high > low else 0.0
        x = left + (number / (len(rates) - 1) if len(rates) > 1 else 0.0) * _PANEL
        points.append(f"{x:.1f},{_FLOOR - share * (_FLOOR - _MARGIN):.1f}")
    parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="hsl(215,70%,35%)" stroke-width="2"/>')
    label = f"alpha {best.alpha:.3f}, beta {best.beta:.3f}: {error} {best.rate:.2%} on dev, {len(rates)} trials"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}" font-family="system-ui, sans-serif" font-size="12">'
        f'<text x="{_MARGIN}" y="20" font-weight="600">{escape(label)}</text>{"".join(parts)}</svg>'
    )


def _round_up(value: float) -> float:
    return max(1.0, float(math.ceil(value)))


def _axes(left: float, x_name: str, y_name: str, x_ends: tuple[str, str], y_ends: tuple[str, str]) -> str:
    right = left + _PANEL
    texts = [
        (left, _FLOOR + 16, "start", x_ends[0]),
        (right, _FLOOR + 16, "end", x_ends[1]),
        ((left + right) / 2, _FLOOR + 16, "middle", x_name),
        (left - 4, _FLOOR, "end", y_ends[0]),
        (left - 4, _MARGIN + 4, "end", y_ends[1]),
        (left + 4, _MARGIN - 6, "start", y_name),
    ]
    return f'<path d="M{left:.1f} {_MARGIN}V{_FLOOR}H{right:.1f}" fill="none" stroke="#888"/>' + "".join(
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#444">{escape(text)}</text>'
        for x, y, anchor, text in texts
    )
