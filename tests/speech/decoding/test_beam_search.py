"""The decoder gives ds_ctcdecoder's results; where the two part on purpose, and what is refused."""

import itertools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.decoding import beam_search
from speech.decoding.beam_search import ctc_beam_search_decoder, ctc_beam_search_decoder_batch
from speech.decoding.greedy import best_path
from speech.decoding.scorer import Scorer
from speech.errors import InputError
from speech.metrics import ErrorCount, word_errors
from speech.native.compiling import NoCompilerError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.cases import CASES, Case
from tests.fixtures.decoding.emissions import EASY, synthesize
from tests.fixtures.decoding.make import ask_decoder
from tests.peers.environments import Peer

Find = Callable[[str], Peer]

SMALL = Alphabet(tuple(" ab"))


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """These tests are about the compiled decoder."""
    if not beam_search.is_compiled():
        pytest.skip("the decoder cannot be compiled here")


def decode(case: Case, limit: int | None = None, threads: int = 2) -> list[list[beam_search.DecodeResult]]:
    scorer = Scorer(cases.ALPHA, cases.BETA, case.scorer, case.alphabet) if case.scorer else None
    return ctc_beam_search_decoder_batch(
        case.emissions(limit), None, case.alphabet, case.beam_width, threads, case.cutoff_prob, case.cutoff_top_n,
        scorer, case.hot_words, case.num_results,
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_stored_answers(name: str) -> None:
    """Transcripts, ranks, confidences and timesteps of ds_ctcdecoder 0.9.3, on emissions made again from seeds."""
    stored = cases.answers()["decodings"][name]
    found = decode(CASES[name])
    assert len(found) == len(stored) == CASES[name].clips
    for clip, expected in zip(found, stored, strict=True):
        assert [one.transcript for one in clip] == [text for text, _, _ in expected]
        # Emissions may differ in the last digit on another machine, and so confidences.
        assert [one.confidence for one in clip] == pytest.approx(
            [confidence for _, confidence, _ in expected], rel=1e-4
        )
        for one, (_, _, timesteps) in zip(clip, expected, strict=True):
            assert timesteps is None or one.timesteps == timesteps


@pytest.mark.parametrize("name", CASES)
def test_ds_ctcdecoder(peer: Find, name: str) -> None:
    """Every bit of every hypothesis, against ds_ctcdecoder itself."""
    assert_equal_to(peer("deepspeech"), CASES[name], limit=12)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_ds_ctcdecoder_on_everything(peer: Find, name: str) -> None:
    """The same on all clips of all cases."""
    assert_equal_to(peer("deepspeech"), CASES[name], limit=None)


def assert_equal_to(decoder: Peer, case: Case, limit: int | None) -> None:
    expected = ask_decoder(decoder, case, limit)
    for ours, theirs in zip(decode(case, limit), expected, strict=True):
        assert [one._asdict() for one in ours] == [
            {"confidence": one["confidence"], "transcript": one["text"], "tokens": one["tokens"],
             "timesteps": one["timesteps"]} for one in theirs
        ]  # fmt: skip


def test_timesteps_of_coqui(peer: Find) -> None:
    """Tokens and timesteps are Coqui STT's; its confidences are rounded elsewhere."""
    for name in ("wide", "no scorer"):
        expected = ask_decoder(peer("stt"), CASES[name], 12)
        for ours, theirs in zip(decode(CASES[name], 12), expected, strict=True):
            assert ours[0].timesteps == theirs[0]["timesteps"]
            assert ours[0].tokens == theirs[0]["tokens"]
            assert ours[0].confidence == pytest.approx(theirs[0]["confidence"], rel=1e-5)


def test_ties_fall_as_in_ds_ctcdecoder(peer: Find) -> None:
    """Emissions with many equal probabilities: the order of equals is ds_ctcdecoder's too."""

    class Coarse(Case):
        def emissions(self, limit: int | None = None) -> list[np.ndarray]:
            made = []
            for clip in super().emissions(limit):
                coarse = np.where(clip >= np.sort(clip, axis=1)[:, -3:-2], np.round(clip, 2) + 0.01, 0.001)
                made.append((coarse / coarse.sum(axis=1, keepdims=True)).astype(np.float32))
            return made

    for scorer in (cases.WORDS, None):
        case = Coarse(10, 2.0, 20, 40, scorer=scorer, num_results=40)
        expected = ask_decoder(peer("deepspeech"), case)
        for ours, theirs in zip(decode(case), expected, strict=True):
            assert [(one.transcript, one.confidence) for one in ours] == [
                (one["text"], one["confidence"]) for one in theirs
            ]


def test_a_scorer_of_the_project_helps() -> None:
    """Fewer word errors with the scorer than without, and than the best path."""
    case = CASES["hard"]
    transcripts, emissions = case.transcripts()[:60], case.emissions(60)
    plain = Case(**{**vars(case), "scorer": None})
    texts = {
        "scorer": [clip[0].transcript for clip in decode(case, 60)],
        "no scorer": [clip[0].transcript for clip in decode(plain, 60)],
        "best path": [best_path(clip, case.alphabet) for clip in emissions],
    }
    rates = {
        name: sum((word_errors(*pair) for pair in zip(transcripts, found, strict=True)), ErrorCount(0, 0)).rate
        for name, found in texts.items()
    }
    assert rates["scorer"] < 0.5 * rates["no scorer"] <= 0.5 * rates["best path"]


def paths_by_text(probs: np.ndarray, alphabet: Alphabet) -> dict[str, float]:
    """The probability of every text, by adding up all paths."""
    sums: dict[str, float] = {}
    for path in itertools.product(range(probs.shape[1]), repeat=len(probs)):
        labels = [label for label, _ in itertools.groupby(path) if label != len(alphabet)]
        text = alphabet.decode(labels)
        sums[text] = sums.get(text, 0.0) + math.prod(probs[frame, label] for frame, label in enumerate(path))
    return sums


def test_a_wide_beam_adds_up_all_paths() -> None:
    """Without a scorer, and with room for every prefix, confidences are the texts' probabilities."""
    probs = np.random.default_rng(1).dirichlet(np.ones(4), 6)  # [T, C]
    expected = paths_by_text(probs, SMALL)
    found = ctc_beam_search_decoder(probs, SMALL, 5000, num_results=5000)
    assert len(found) == len(expected)
    for one in found:
        assert math.exp(one.confidence) == pytest.approx(expected[one.transcript], rel=1e-4)
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)


def test_float32_float64_and_lists_are_the_same() -> None:
    clip = CASES["hard"].emissions(1)[0]
    found = [
        ctc_beam_search_decoder(form, cases.ALPHABET, 50) for form in (clip, clip.astype(np.float64), clip.tolist())
    ]
    assert found[0] == found[1] == found[2]


def test_threads_do_not_change_results() -> None:
    case = CASES["n-best"]
    assert decode(case, threads=1) == decode(case, threads=3)


def test_batches_are_cut_to_their_lengths() -> None:
    clips = CASES["hard"].emissions(5)
    longest = max(map(len, clips))
    padded = np.full((5, longest, len(cases.ALPHABET) + 1), 1 / 29, np.float32)
    for row, clip in enumerate(clips):
        padded[row, : len(clip)] = clip
    lengths = [len(clip) for clip in clips]
    expected = ctc_beam_search_decoder_batch(clips, None, cases.ALPHABET, 20)
    assert ctc_beam_search_decoder_batch(padded, lengths, cases.ALPHABET, 20, 2) == expected


def test_nothing_to_decode() -> None:
    empty = ctc_beam_search_decoder(np.zeros((0, 29), np.float32), cases.ALPHABET, 10)
    assert [(one.transcript, one.tokens, one.timesteps, one.confidence) for one in empty] == [("", [], [], 0.0)]
    silence = np.zeros((5, 29))
    silence[:, -1] = 1.0
    assert ctc_beam_search_decoder(silence, cases.ALPHABET, 10)[0].transcript == ""
    assert ctc_beam_search_decoder_batch([], None, cases.ALPHABET, 10) == []


def test_cutoffs_that_kill_every_prefix() -> None:
    """ds_ctcdecoder gives up on such a clip; here the frame is decoded without the cutoffs."""
    scorer = Scorer(cases.ALPHA, cases.BETA, cases.WORDS, cases.ALPHABET)
    word = cases.vocabulary()[0]
    emissions = synthesize(cases.ALPHABET.encode(word).tolist(), 29, 0.5, 1)
    impossible = emissions[4].copy()
    impossible[:] = 1e-4
    impossible[cases.ALPHABET.labels["q"]] = 1 - 28e-4  # no word has a q
    emissions = np.vstack([emissions[:4], impossible, emissions[4:]])
    found = ctc_beam_search_decoder(emissions, cases.ALPHABET, 50, 0.9, 40, scorer)[0]
    assert found.transcript == word
    assert found.confidence > -100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probs_seq": np.full((3, 28), 1 / 28)}, r"shape \(3, 28\), expected \[frames, 29\]"),
        ({"probs_seq": np.full((3, 2, 29), 1 / 29)}, r"expected \[frames, 29\]"),
        ({"probs_seq": np.random.default_rng(0).normal(0, 5, (3, 29))}, "not probabilities"),
        ({"probs_seq": np.full((3, 29), np.nan)}, "not probabilities"),
        ({"beam_size": 0}, "beam_size is 0"),
        ({"cutoff_prob": 0.0}, "cutoff_prob is 0.0"),
        ({"cutoff_prob": 1.5}, "cutoff_prob is 1.5"),
        ({"cutoff_top_n": 0}, "cutoff_top_n is 0"),
        ({"num_results": 0}, "num_results is 0"),
    ],
)
def test_refused_arguments(arguments: dict[str, Any], message: str) -> None:
    usual = {"probs_seq": np.full((3, 29), 1 / 29), "alphabet": cases.ALPHABET, "beam_size": 10}
    with pytest.raises(InputError, match=message):
        ctc_beam_search_decoder(**{**usual, **arguments})


def test_refused_batches() -> None:
    clips = np.full((2, 3, 29), 1 / 29)
    with pytest.raises(InputError, match="1 lengths for 2 clips"):
        ctc_beam_search_decoder_batch(clips, [3], cases.ALPHABET, 10)
    with pytest.raises(InputError, match="clip 1 has 3 frames: its length cannot be 4"):
        ctc_beam_search_decoder_batch(clips, [3, 4], cases.ALPHABET, 10)
    with pytest.raises(InputError, match="num_processes is 0"):
        ctc_beam_search_decoder_batch(clips, [3, 3], cases.ALPHABET, 10, 0)


def test_a_scorer_of_another_alphabet_is_refused() -> None:
    scorer = Scorer(None, None, cases.WORDS, cases.ALPHABET)
    with pytest.raises(InputError, match="another alphabet"):
        ctc_beam_search_decoder(np.full((3, 4), 0.25), SMALL, 10, scorer=scorer)


def test_weights_can_change_between_calls() -> None:
    """What tuning does: one scorer, many weights."""
    scorer = Scorer(0.0, 0.0, cases.WORDS, cases.ALPHABET)
    clip = CASES["hard"].emissions(1)[0]
    without = ctc_beam_search_decoder(clip, cases.ALPHABET, 50, scorer=scorer)[0]
    scorer.reset_params(2.0, 1.0)
    assert ctc_beam_search_decoder(clip, cases.ALPHABET, 50, scorer=scorer)[0].confidence != without.confidence
    scorer.reset_params(0.0, 0.0)
    assert ctc_beam_search_decoder(clip, cases.ALPHABET, 50, scorer=scorer)[0] == without


def test_without_a_compiler_python_decodes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Once said, the same transcripts, slowly."""
    case = Case(4, EASY, 30, 10)
    expected = [clip[0].transcript for clip in decode(case)]

    def no_library() -> None:
        raise NoCompilerError("no C++ compiler found")

    beam_search.is_compiled.cache_clear()
    try:
        with monkeypatch.context() as patched:
            patched.setattr(beam_search.native, "library", no_library)
            assert [clip[0].transcript for clip in decode(case)] == expected
            decode(case, 1)
    finally:
        beam_search.is_compiled.cache_clear()
    said = capsys.readouterr().err
    assert said.count("note: decoding in pure Python, which is many times slower: no C++ compiler found") == 1


def test_hot_words_as_bytes_or_text() -> None:
    case = CASES["hot words"]
    scorer = Scorer(cases.ALPHA, cases.BETA, cases.WORDS, cases.ALPHABET)
    clip = case.emissions(1)[0]
    encoded = {word.encode(): boost for word, boost in case.hot_words.items()}
    found = [
        ctc_beam_search_decoder(clip, cases.ALPHABET, 100, scorer=scorer, hot_words=words)[0]
        for words in (case.hot_words, encoded)
    ]
    assert found[0] == found[1]


def test_a_long_clip_needs_no_stack() -> None:
    """Prefixes of thousands of labels."""
    clip = np.tile(np.array([[0.05, 0.9, 0.02, 0.03], [0.05, 0.02, 0.9, 0.03]]), (3000, 1))
    found = ctc_beam_search_decoder(clip, SMALL, 5)[0]
    assert found.transcript == "ab" * 3000
    assert found.timesteps == list(range(6000))
    assert sys.getrecursionlimit() < 6000


@pytest.mark.parametrize("weight", [-1e38, 1e39, math.nan, math.inf, -1e6 - 1])
def test_weights_without_sense_are_refused(weight: float) -> None:
    """Weights that overflow a score are refused wherever they come in: by call, by hot word, from the file."""
    for weights in ((weight, 1.0), (1.0, weight)):
        with pytest.raises(InputError, match="expected a number between"):
            Scorer(*weights, cases.SMALL["trie"], cases.ALPHABET)
    case = next(case for case in CASES.values() if case.scorer)
    scorer = Scorer(1.0, 1.0, case.scorer, case.alphabet)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="boost"):
        ctc_beam_search_decoder(case.emissions(1)[0], case.alphabet, 10, scorer=scorer, hot_words={"a": weight})


@pytest.mark.parametrize("alpha", [-1e38, 3e38, math.nan, math.inf])
def test_overflowing_scores_harm_nothing(alpha: float) -> None:
    """The compiled decoder is safe by itself: past the checks, every score is a number and every history whole."""
    case = next(case for case in CASES.values() if case.scorer and not case.alphabet.bytes_mode)
    for beta in (0.0, -1e38, 1e38, math.nan):
        scorer = Scorer(1.0, 1.0, case.scorer, case.alphabet)  # type: ignore[arg-type]
        scorer.alpha, scorer.beta = alpha, beta
        for found in ctc_beam_search_decoder_batch(case.emissions(3), None, case.alphabet, 20, scorer=scorer):
            for one in found:
                assert math.isfinite(one.confidence)
                assert len(one.timesteps) == len(one.tokens)
                assert list(one.timesteps) == sorted(one.timesteps)


def test_counts_that_the_compiled_decoder_cannot_hold_are_refused() -> None:
    """2**64 - 1 prefixes would wrap around where room for a few more is made."""
    case = next(iter(CASES.values()))
    with pytest.raises(InputError, match="beam_size"):
        ctc_beam_search_decoder(case.emissions(1)[0], case.alphabet, 2**64 - 1)
