"""The decoders of the evaluation: each with and without a scorer, and what is said where one cannot be had."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.evaluate.decode.decoders import Decoding, open_decoding, open_scorer
from components.evaluate.settings import EvaluateSettings
from speech.decoding import beam_search, native
from speech.decoding.scorer import Scorer
from speech.errors import InputError
from speech.metrics import word_errors
from speech.native.compiling import NoCompilerError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.cases import CASES
from tests.peers.environments import Peer

CASE = CASES["hard"]
COUNT = 12


def open_for(alphabet: object = cases.ALPHABET, **given: object) -> Decoding:
    settings = EvaluateSettings(**given)  # type: ignore[arg-type]
    scorer = open_scorer(settings, alphabet)  # type: ignore[arg-type]
    return open_decoding(settings, alphabet, scorer, 50)  # type: ignore[arg-type]


def texts(found: list[list]) -> list[str]:
    return [clip[0].text for clip in found]


@pytest.mark.parametrize("decoder", ["auto", "beam"])
def test_the_beam_search_hears_with_and_without_the_scorer(decoder: str) -> None:
    emissions, said = CASE.emissions(COUNT), CASE.transcripts()[:COUNT]
    decoding = open_for(decoder=decoder, scorer_path=str(cases.WORDS), beam_width=60, n_best=3)
    assert (decoding.name, decoding.beam_width) == ("beam", 60)
    assert decoding.with_scorer is not None
    scorer = Scorer(None, None, cases.WORDS, cases.ALPHABET)
    for decode, one in ((decoding.with_scorer, scorer), (decoding.alone, None)):
        found = beam_search.ctc_beam_search_decoder_batch(
            emissions, None, cases.ALPHABET, 60, 1, 1.0, 300, one, None, 3
        )
        assert decode(emissions) == [[(best.transcript, best.confidence) for best in clip] for clip in found]
    edits = [
        sum(word_errors(*pair).edits for pair in zip(said, texts(decode(emissions)), strict=True))
        for decode in (decoding.with_scorer, decoding.alone)
    ]
    assert edits[0] < 0.7 * edits[1]


def test_the_models_beam_width_unless_one_is_given() -> None:
    assert open_for().beam_width == 50
    assert open_for(beam_width=7).beam_width == 7
    assert open_for(decoder="greedy").beam_width == 0


def test_weights_and_hot_words_reach_the_search() -> None:
    emissions = CASE.emissions(COUNT)
    given = {"scorer_path": str(cases.WORDS), "beam_width": 30}
    plain = open_for(**given)
    weighted = open_for(**given, lm_alpha=3.0, lm_beta=0.0)
    assert weighted.with_scorer is not None
    assert plain.with_scorer is not None
    assert texts(weighted.with_scorer(emissions)) != texts(plain.with_scorer(emissions))
    word = CASE.transcripts()[0].split()[0]
    favoured = open_for(**given, hot_words=(f"{word}:60",))
    assert favoured.with_scorer is not None
    scorer = Scorer(None, None, cases.WORDS, cases.ALPHABET)
    found = beam_search.ctc_beam_search_decoder_batch(
        emissions, None, cases.ALPHABET, 30, 1, 1.0, 300, scorer, {word: 60.0}
    )
    assert texts(favoured.with_scorer(emissions)) == [clip[0].transcript for clip in found]
    assert texts(favoured.with_scorer(emissions)) != texts(plain.with_scorer(emissions))
    assert favoured.alone(emissions) == plain.alone(emissions)
    described = favoured.describe(EvaluateSettings(hot_words=(f"{word}:60",)))["scorer"]
    assert described["hot_words"] == {word: 60.0}
    assert (described["lm_alpha"], described["order"]) == (pytest.approx(plain.scorer.alpha), plain.scorer.order)  # type: ignore[union-attr]


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Greedy where that is what is left, with a note; the portable search where a scorer has to be used."""

    def missing() -> None:
        raise NoCompilerError("no C++ compiler found")

    monkeypatch.setattr(native, "library", missing)
    beam_search.is_compiled.cache_clear()
    try:
        decoding = open_for()
        assert decoding.name == "greedy"
        assert decoding.alone(CASE.emissions(1))[0][0].confidence is None
        assert "note: greedy decoding, as the beam search is not compiled: no C++" in capsys.readouterr().err
        decoding = open_for(scorer_path=str(cases.WORDS), beam_width=4, cutoff_prob=0.9, cutoff_top_n=3)
        assert decoding.name == "beam"
        assert decoding.with_scorer is not None
        assert decoding.with_scorer([CASE.emissions(1)[0][:60]])[0][0].text
        assert "decoding in pure Python" in capsys.readouterr().err
    finally:
        beam_search.is_compiled.cache_clear()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"decoder": "greedy", "scorer_path": str(cases.WORDS)}, "--decoder greedy cannot use --scorer_path"),
        ({"hot_words": ("mill:3",)}, "--hot_words acts on a scorer: give --scorer_path"),
        ({"n_trials": 3}, "--n_trials acts on a scorer"),
        ({"scorer_path": "absent.scorer"}, "absent.scorer: no such scorer"),
        ({"scorer_path": str(Path(__file__).parent)}, "not a complete scorer: scorer.json is missing"),
        ({"scorer_path": __file__}, "test_decoders.py: "),
        ({"scorer_path": str(cases.BYTES)}, "this scorer is for bytes output mode"),
        ({"decoder": "ds_ctcdecoder", "ds_ctcdecoder_python": "/absent/python"}, "/absent/python: it does not run"),
        ({"decoder": "ds_ctcdecoder", "ds_ctcdecoder_python": sys.executable}, "No module named 'ds_ctcdecoder'; exp"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as raised:
        open_for(**given)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("item", ["mill", "mill:", ":3", "mill:many", "mill:inf"])
def test_hot_words_of_another_form(item: str) -> None:
    with pytest.raises(InputError, match="--hot_words"):
        EvaluateSettings(hot_words=(item,))


@pytest.mark.parametrize("name", ["hard", "bytes"])
def test_ds_ctcdecoder_hears_the_same(peer: Callable[[str], Peer], name: str) -> None:
    python = str(peer("deepspeech").python)
    case = CASES[name]
    alphabet, scorer = (cases.BYTES_ALPHABET, cases.BYTES) if name == "bytes" else (cases.ALPHABET, cases.WORDS)
    emissions = case.emissions(4)
    given = {"scorer_path": str(scorer), "beam_width": 20, "n_best": 2, "decoder_threads": 1}
    theirs = open_for(alphabet, decoder="ds_ctcdecoder", ds_ctcdecoder_python=python, **given)
    ours = open_for(alphabet, decoder="beam", **given)
    for decode in ("with_scorer", "alone"):
        for batch in (emissions[:1], emissions[1:]):
            found = getattr(theirs, decode)(batch)
            assert texts(found) == texts(getattr(ours, decode)(batch))
            assert [len(clip) for clip in found] == [2] * len(batch)
            assert [clip[0].confidence for clip in found] == pytest.approx(
                [clip[0].confidence for clip in getattr(ours, decode)(batch)], abs=1e-3
            )
    assert theirs.alone([]) == []


def test_a_ds_ctcdecoder_that_dies_says_why(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'"ready"\'\nread line\necho "terminate called" >&2\nexit 3\n')
    python.chmod(0o755)
    decoding = open_for(decoder="ds_ctcdecoder", ds_ctcdecoder_python=str(python))
    with pytest.raises(InputError, match="ds_ctcdecoder failed: terminate called; `--decoder beam`"):
        decoding.alone(CASE.emissions(1))


def test_ds_ctcdecoder_needs_no_flag_where_python3_9_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the image evaluate-ds-ctcdecoder; where there is none, what to do is said."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"python3.9: it does not run: .* the image evaluate-ds-ctcdecoder"):
        open_for(decoder="ds_ctcdecoder")
    python = tmp_path / "python3.9"
    python.write_text("#!/bin/sh\necho '\"ready\"'\nread line\necho '[[[-1.5, \"mill\"]]]'\n")
    python.chmod(0o755)
    assert open_for(decoder="ds_ctcdecoder").alone(CASE.emissions(1)) == [[("mill", -1.5)]]
