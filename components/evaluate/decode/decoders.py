"""How emissions become text: with the settings' decoder, without a scorer and, if there is one, with it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.evaluate.decode.reference_decoder import ReferenceDecoder
from components.evaluate.settings import EvaluateSettings, hot_word_boosts
from speech.alphabet import Alphabet
from speech.artifacts import ExternalScorer
from speech.decoding import native
from speech.decoding.beam_search import HotWords, ctc_beam_search_decoder_batch
from speech.decoding.greedy import best_path
from speech.decoding.scorer import CLIENT_LABELS, Scorer, fits_clients
from speech.errors import InputError
from speech.native.compiling import NoCompilerError
from speech.storage.files import sha256


class Hypothesis(NamedTuple):
    """A transcript that a decoder found."""

    text: str
    confidence: float | None = None  # ln p, with what the scorer adds; the best path has none


# Probabilities [T, C] of each clip, blank last -> the transcripts of each, best first; a batch, so that a decoder can
# use all processors.
Decode = Callable[[Sequence[np.ndarray]], list[list[Hypothesis]]]


@dataclass(frozen=True)
class Decoding:
    """An opened decoder."""

    name: str
    beam_width: int  # 0: it has none
    alone: Decode
    with_scorer: Decode | None
    scorer: Scorer | None

    def describe(self, settings: EvaluateSettings) -> dict[str, Any]:
        """What `scores.json` records of it."""
        described: dict[str, Any] = {"name": self.name}
        if self.beam_width:
            described |= {"beam_width": self.beam_width, "cutoff_prob": settings.cutoff_prob}
            described |= {"cutoff_top_n": settings.cutoff_top_n}
        if self.scorer is not None:
            described["scorer"] = {
                "file": self.scorer.path.name,
                "bytes": self.scorer.path.stat().st_size,
                "sha256": sha256(self.scorer.path),
                "lm_alpha": self.scorer.alpha,
                "lm_beta": self.scorer.beta,
                "order": self.scorer.order,
                "units": self.scorer.units,
                "for_clients": fits_clients(self.scorer.units, self.scorer.alphabet),
                "hot_words": hot_word_boosts(settings.hot_words),
            }
        return described


def scorer_file(path: Path) -> Path:
    """The scorer itself; raises InputError for a folder that is no complete scorer."""
    return ExternalScorer.open(path).path if path.is_dir() else path


def open_scorer(settings: EvaluateSettings, alphabet: Alphabet) -> Scorer | None:
    """The scorer of the settings with its weights; raises InputError for one that is damaged or of another model."""
    if settings.scorer_path:
        return Scorer(settings.lm_alpha, settings.lm_beta, scorer_file(Path(settings.scorer_path)), alphabet)
    for name in ("hot_words", "n_trials"):
        if getattr(settings, name):
            raise InputError(f"--{name} acts on a scorer: give --scorer_path")
    return None


def open_decoding(
    settings: EvaluateSettings, alphabet: Alphabet, scorer: Scorer | None, model_beam_width: int
) -> Decoding:
    """The decoder that the settings name; raises InputError if it cannot be had, or cannot use a scorer."""
    name = _chosen(settings, scorer)
    if name == "greedy":
        return Decoding(name, 0, lambda batch: [[Hypothesis(best_path(clip, alphabet))] for clip in batch], None, None)
    beam_width = settings.beam_width or model_beam_width
    open_search = _reference_search if name == "ds_ctcdecoder" else _search
    alone = open_search(settings, alphabet, beam_width, None)
    aided = None if scorer is None else open_search(settings, alphabet, beam_width, scorer)
    return Decoding(name, beam_width, alone, aided, scorer)


def _chosen(settings: EvaluateSettings, scorer: Scorer | None) -> str:
    name = settings.decoder
    if name == "auto":
        name = "beam"
        try:
            native.library()
        except NoCompilerError as error:
            if scorer is None:
                name = "greedy"
                print(f"note: greedy decoding, as the beam search is not compiled: {error}", file=sys.stderr)
    if name == "greedy" and scorer is not None:
        raise InputError(f"--decoder greedy cannot use --scorer_path {settings.scorer_path}: use --decoder beam")
    if name == "ds_ctcdecoder" and scorer is not None and not fits_clients(scorer.units, scorer.alphabet):
        raise InputError(
            f"--decoder ds_ctcdecoder: it scores characters of alphabets up to {CLIENT_LABELS} symbols, the model has "
            f"{len(scorer.alphabet)}: use --decoder beam"
        )
    return name


def _search(settings: EvaluateSettings, alphabet: Alphabet, beam_width: int, scorer: Scorer | None) -> Decode:
    """This project's beam search."""
    boosts: HotWords = {word: boost for word, boost in hot_word_boosts(settings.hot_words).items() if scorer}

    def decode(batch: Sequence[np.ndarray]) -> list[list[Hypothesis]]:
        results = ctc_beam_search_decoder_batch(
            batch,
            None,
            alphabet,
            beam_width,
            settings.decoder_threads or None,
            settings.cutoff_prob,
            settings.cutoff_top_n,
            scorer,
            boosts,
            settings.n_best,
        )
        return [[Hypothesis(result.transcript, result.confidence) for result in clip] for clip in results]

    return decode


def _reference_search(settings: EvaluateSettings, alphabet: Alphabet, beam_width: int, scorer: Scorer | None) -> Decode:
    """DeepSpeech's own package."""
    decoder = ReferenceDecoder(
        settings.ds_ctcdecoder_python,
        alphabet,
        {
            "beam_width": beam_width,
            "num_processes": settings.decoder_threads,
            "cutoff_prob": settings.cutoff_prob,
            "cutoff_top_n": settings.cutoff_top_n,
            "num_results": settings.n_best,
            "scorer": None if scorer is None else [scorer.alpha, scorer.beta, str(scorer.path)],
            "hot_words": {} if scorer is None else hot_word_boosts(settings.hot_words),
        },
    )
    return lambda batch: [[Hypothesis(text, ln_p) for ln_p, text in clip] for clip in decoder.decode(batch)]
