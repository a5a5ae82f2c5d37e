"""CTC prefix beam search with an external scorer: ds_ctcdecoder 0.9.3's two functions, with the same results.

Compiled code does the work (`native`); where there is no compiler, Python does it, many times slower (`portable`).
"""

import ctypes
import sys
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from speech.alphabet import Alphabet
from speech.decoding import native, portable
from speech.decoding.scorer import HIGHEST_WEIGHT, UNITS, Scorer, is_weight
from speech.errors import InputError
from speech.native.compiling import NoCompilerError
from speech.native.processors import cores

HotWords = Mapping[str | bytes, float]
HIGHEST_COUNT = 2**31 - 1  # of prefixes, labels and results: what the compiled decoder counts with


class DecodeResult(NamedTuple):
    """One hypothesis. Coqui STT's fields; ds_ctcdecoder has the first two."""

    confidence: float  # ln p of the acoustic model, plus what the scorer adds
    transcript: str
    tokens: list[int]  # labels
    timesteps: list[int]  # the frame at which each token appeared


def ctc_beam_search_decoder(
    probs_seq: np.ndarray | Sequence[Sequence[float]],
    alphabet: Alphabet,
    beam_size: int,
    cutoff_prob: float = 1.0,
    cutoff_top_n: int = 40,
    scorer: Scorer | None = None,
    hot_words: HotWords | None = None,
    num_results: int = 1,
) -> list[DecodeResult]:
    """The best transcripts of one clip, best first.

    `probs_seq` [T, labels + 1] holds probabilities (not logits), the blank last. `cutoff_prob` and `cutoff_top_n` limit
    each frame to its likeliest labels; as in ds_ctcdecoder, the second acts only together with a first below 1.
    `hot_words` maps words to a boost of their ln p. Where the cutoffs would kill every prefix, the frame is decoded
    without them (ds_ctcdecoder loses the utterance). Raises InputError for input of another shape or range.
    """
    emissions = np.asarray(probs_seq)
    return ctc_beam_search_decoder_batch(
        [emissions], None, alphabet, beam_size, 1, cutoff_prob, cutoff_top_n, scorer, hot_words, num_results
    )[0]


def ctc_beam_search_decoder_batch(
    probs_seq: np.ndarray | Sequence[np.ndarray],
    seq_lengths: Sequence[int] | np.ndarray | None,
    alphabet: Alphabet,
    beam_size: int,
    num_processes: int | None = None,
    cutoff_prob: float = 1.0,
    cutoff_top_n: int = 40,
    scorer: Scorer | None = None,
    hot_words: HotWords | None = None,
    num_results: int = 1,
) -> list[list[DecodeResult]]:
    """The same for many clips at once, `num_processes` (default: all cores) of them in parallel.

    `probs_seq` is [B, T, labels + 1] with the clips' lengths in frames in `seq_lengths`, or a list of [T, labels + 1]
    arrays of any lengths, with None.
    """
    settings = portable.SearchSettings(beam_size, float(cutoff_prob), cutoff_top_n, num_results)
    _check_settings(settings, alphabet, scorer)
    clips = _clips(probs_seq, seq_lengths, len(alphabet) + 1)
    boosts = _boosts(hot_words or {})
    threads = num_processes if num_processes is not None else cores()
    if threads < 1:
        raise InputError(f"num_processes is {threads}: expected at least 1")
    if is_compiled():
        results = _decode(clips, alphabet, settings, scorer, boosts, threads)
    else:
        results = [portable.decode(clip, alphabet, settings, scorer, boosts) for clip in clips]
    return [
        [DecodeResult(confidence, alphabet.decode(tokens), tokens, frames) for confidence, tokens, frames in hypotheses]
        for hypotheses in results
    ]


@lru_cache(maxsize=1)
def is_compiled() -> bool:
    """Whether the compiled decoder is at hand (it is built at the first question); says so once if it is not."""
    try:
        native.library()
    except NoCompilerError as error:
        print(f"note: decoding in pure Python, which is many times slower: {error}", file=sys.stderr)
        return False
    return True


def _check_settings(settings: portable.SearchSettings, alphabet: Alphabet, scorer: Scorer | None) -> None:
    for name in ("beam_size", "cutoff_top_n", "num_results"):
        if not 1 <= getattr(settings, name) <= HIGHEST_COUNT:
            raise InputError(f"{name} is {getattr(settings, name)}: expected 1 to {HIGHEST_COUNT}")
    if not 0.0 < settings.cutoff_prob <= 1.0:
        raise InputError(f"cutoff_prob is {settings.cutoff_prob}: expected more than 0 and at most 1")
    if scorer is not None and scorer.alphabet != alphabet:
        raise InputError(f"{scorer.path}: this scorer was opened for another alphabet")


def _clips(
    probs_seq: np.ndarray | Sequence[np.ndarray], seq_lengths: Sequence[int] | np.ndarray | None, classes: int
) -> list[np.ndarray]:
    """Contiguous float32 or float64 [T, classes] arrays, all of one type."""
    if seq_lengths is not None:
        if len(seq_lengths) != len(probs_seq):
            raise InputError(f"{len(seq_lengths)} lengths for {len(probs_seq)} clips: expected one each")
        for clip, length in enumerate(seq_lengths):
            if not 0 <= length <= len(probs_seq[clip]):
                raise InputError(f"clip {clip} has {len(probs_seq[clip])} frames: its length cannot be {length}")
        probs_seq = [probs_seq[clip][:length] for clip, length in enumerate(seq_lengths)]
    arrays = [np.asarray(clip) for clip in probs_seq]
    double = any(array.dtype != np.float32 for array in arrays)
    clips: list[np.ndarray] = [np.ascontiguousarray(array, np.float64 if double else np.float32) for array in arrays]
    for number, array in enumerate(clips):
        if array.size == 0 and array.ndim <= 2:
            clips[number] = array.reshape(0, classes)
        elif array.ndim != 2 or array.shape[1] != classes:
            raise InputError(
                f"clip {number}: emissions of shape {array.shape}, expected [frames, {classes}]: "
                "the model's labels are not this alphabet's (and the blank)"
            )
        elif not (array.min() >= 0 and array.max() <= 1.001):
            raise InputError(f"clip {number}: emissions are not probabilities: expected the softmax, in 0...1")
    return clips


def _boosts(hot_words: HotWords) -> dict[bytes, float]:
    boosts: dict[bytes, float] = {}
    for word, boost in hot_words.items():
        if not is_weight(float(boost)):
            raise InputError(
                f"hot word {word!r}: its boost is {boost}: expected a number between -{HIGHEST_WEIGHT:g} and "
                f"{HIGHEST_WEIGHT:g}"
            )
        boosts[word if isinstance(word, bytes) else word.encode("utf-8")] = float(boost)
    return boosts


class _Text:
    """Byte strings as one buffer with offsets, kept alive for compiled code."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.bytes = np.frombuffer(b"".join(texts) or b"\0", np.uint8)
        self.offsets = np.concatenate(([0], np.cumsum([len(text) for text in texts], dtype=np.int64))).astype(np.uint32)


class NativeScorer:
    """The compiled decoder's view of a scorer: pointers into the mapped file."""

    def __init__(self, scorer: Scorer) -> None:
        layout, dictionary = scorer.layout, scorer.dictionary
        symbols = [bytes([label + 1]) if scorer.bytes_mode else symbol.encode("utf-8")
                   for label, symbol in enumerate(scorer.alphabet.symbols)]  # fmt: skip
        # In the order of the arcs; a word that ends leads back to the start.
        targets = np.where(dictionary.final[dictionary.targets], np.uint32(dictionary.start), dictionary.targets)
        self._text = _Text(symbols)
        self._keep = (scorer.data, dictionary.first_arc, (dictionary.labels - 1).astype(np.uint16), targets)
        c_layout = native.LanguageModelStruct(
            scorer.data.ctypes.data,
            layout.vocabulary,
            layout.vocabulary_entries,
            layout.unigrams,
            layout.unigram_bytes,
            layout.words,
            layout.order,
            layout.probing,
        )
        for number, level in enumerate(layout.levels):
            c_layout.levels[number] = native.LevelStruct(
                *(getattr(level, field[0]) for field in native.LevelStruct._fields_)
            )
        c_dictionary = native.DictionaryStruct(*(array.ctypes.data for array in self._keep[1:]), dictionary.start)
        space = scorer.alphabet.labels.get(" ", 0)  # looked at where the units are words
        c_alphabet = native.AlphabetStruct(
            self._text.bytes.ctypes.data, self._text.offsets.ctypes.data, len(scorer.alphabet), space
        )
        self.handle = native.library().speech_scorer_new(c_layout, c_dictionary, c_alphabet, UNITS.index(scorer.units))
        if not self.handle:
            raise MemoryError("no memory for the scorer")
        weakref.finalize(self, native.library().speech_scorer_delete, self.handle)

    def log10_probabilities(self, words: Sequence[str], bos: bool) -> tuple[np.ndarray, np.ndarray]:
        """log10 p (float32) of each word after those before it, and the words' indices (0: unknown)."""
        text = _Text([word.encode("utf-8") for word in words])
        scores, indices = np.empty(len(words), np.float32), np.empty(len(words), np.uint32)
        native.library().speech_scorer_query(
            self.handle, text.bytes.ctypes.data, text.offsets.ctypes.data, len(words), bos,
            scores.ctypes.data, indices.ctypes.data,
        )  # fmt: skip
        return scores, indices


_native_scorers: "weakref.WeakKeyDictionary[Scorer, NativeScorer]" = weakref.WeakKeyDictionary()


def native_scorer(scorer: Scorer) -> NativeScorer:
    """The compiled view of `scorer`, made once."""
    if scorer not in _native_scorers:
        _native_scorers[scorer] = NativeScorer(scorer)
    return _native_scorers[scorer]


def _decode(
    clips: Sequence[np.ndarray],
    alphabet: Alphabet,
    settings: portable.SearchSettings,
    scorer: Scorer | None,
    boosts: Mapping[bytes, float],
    threads: int,
) -> list[list[portable.Hypothesis]]:
    if not clips:
        return []
    pointers = np.array([clip.ctypes.data for clip in clips], np.uint64)
    frames = np.array([len(clip) for clip in clips], np.int64)
    text = _Text(list(boosts))
    values = np.array(list(boosts.values()), np.float32)
    handle = native_scorer(scorer) if scorer is not None else None
    batch = native.BatchStruct(
        pointers.ctypes.data,
        frames.ctypes.data,
        len(clips),
        clips[0].dtype == np.float64,
        threads,
        handle.handle if handle else None,
        len(alphabet),
        len(boosts),
        text.bytes.ctypes.data,
        text.offsets.ctypes.data,
        values.ctypes.data,
        native.SearchSettingsStruct(
            settings.beam_size,
            settings.cutoff_prob,
            settings.cutoff_top_n,
            scorer.alpha if scorer else 0.0,
            scorer.beta if scorer else 0.0,
            settings.num_results,
        ),
    )
    results = native.library().speech_decode(ctypes.byref(batch))
    if not results:
        raise MemoryError("the decoder ran out of memory: lower beam_size or decode fewer clips at once")
    try:
        return _unpack(results.contents, len(clips))
    finally:
        native.library().speech_results_delete(results)


def _unpack(results: Any, clips: int) -> list[list[portable.Hypothesis]]:
    hypotheses: list[list[portable.Hypothesis]] = []
    hypothesis = position = 0
    for clip in range(clips):
        hypotheses.append([])
        for _ in range(results.hypotheses[clip]):
            end = position + results.lengths[hypothesis]
            hypotheses[-1].append(
                (results.confidences[hypothesis], results.tokens[position:end], results.frames[position:end])
            )
            hypothesis, position = hypothesis + 1, end
    return hypotheses
