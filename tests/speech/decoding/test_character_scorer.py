"""Scorers whose units are the characters of an alphabet: for languages that are written without spaces."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.evaluate.decode.decoders import open_decoding
from components.evaluate.settings import EvaluateSettings
from speech.alphabet import Alphabet
from speech.decoding import portable
from speech.decoding.beam_search import ctc_beam_search_decoder_batch
from speech.decoding.language_model import read_layout
from speech.decoding.packaging import spell, write_scorer
from speech.decoding.scorer import CHARACTERS, CLIENT_LABELS, Scorer
from speech.errors import InputError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.emissions import synthesize
from tests.fixtures.decoding.texts import CODE_POINTS, make_sentences
from tests.peers.environments import Peer

UNITS = (*dict.fromkeys(CODE_POINTS), " ")
BEAM = 60


def alphabet_of(symbols: int) -> Alphabet:
    """The units at the end of so many symbols, so that their labels are the highest."""
    return Alphabet((*(chr(0xAC00 + number) for number in range(symbols - len(UNITS))), *UNITS))


def write(alphabet: Alphabet, folder: Path) -> Path:
    """The language model of code points among the fixtures, for an alphabet."""
    content = cases.BYTES.read_bytes()
    (folder / "lm.binary").write_bytes(content[: read_layout(np.frombuffer(content, np.uint8), "file").end])
    path = folder / f"{len(alphabet)}.scorer"
    write_scorer(folder / "lm.binary", UNITS, alphabet, path, cases.ALPHA, cases.BETA, units=CHARACTERS)
    return path


def spoken(alphabet: Alphabet, clips: int, noise: float = 1.9) -> tuple[list[str], list[np.ndarray]]:
    """Sentences of the language model's kind, and what an acoustic model said of them."""
    sentences = ["".join(units) for units in make_sentences(list(UNITS), clips, (5, 15), 77)]
    labels = [alphabet.encode(sentence).tolist() for sentence in sentences]
    return sentences, [synthesize(one, len(alphabet) + 1, noise, number) for number, one in enumerate(labels)]


@pytest.mark.parametrize("symbols", [len(UNITS), CLIENT_LABELS + 70])
def test_it_helps_and_both_decoders_agree(symbols: int, tmp_path: Path) -> None:
    alphabet = alphabet_of(symbols)
    scorer = Scorer(None, None, write(alphabet, tmp_path), alphabet)
    assert (scorer.units, scorer.bytes_mode, scorer.is_utf8_mode()) == (CHARACTERS, False, True)
    sentences, emissions = spoken(alphabet, 12)
    aided, alone = (
        ctc_beam_search_decoder_batch(emissions, None, alphabet, BEAM, 1, 1.0, 300, used) for used in (scorer, None)
    )
    right, right_alone = (
        sum(clip[0].transcript == said for clip, said in zip(heard, sentences, strict=True)) for heard in (aided, alone)
    )
    assert right > right_alone
    settings = portable.SearchSettings(BEAM, 1.0, 300, 1)
    for clip, probabilities in zip(aided[:2], emissions, strict=False):
        ((confidence, labels, _),) = portable.decode(probabilities, alphabet, settings, scorer, {})
        assert alphabet.decode(labels) == clip[0].transcript
        assert confidence == pytest.approx(clip[0].confidence, rel=1e-4)


def test_characters_without_a_label_are_left_out() -> None:
    assert spell(["b", "ab", "x", " "], Alphabet(tuple("ab")), CHARACTERS) == ({"b": [2]}, ["ab", "x", " "])


def test_one_of_bytes_is_refused() -> None:
    with pytest.raises(InputError, match="this scorer is for bytes output mode"):
        Scorer(None, None, cases.BYTES, Alphabet(tuple(map(chr, range(0x4E00, 0x4F00)))))


def test_deepspeechs_decoder_is_not_asked_for_what_it_gets_wrong(tmp_path: Path) -> None:
    alphabet = alphabet_of(CLIENT_LABELS + 1)
    scorer = Scorer(None, None, write(alphabet, tmp_path), alphabet)
    settings = EvaluateSettings(decoder="ds_ctcdecoder", scorer_path="x.scorer", ds_ctcdecoder_python="python3.9")
    with pytest.raises(InputError, match="up to 127 symbols, the model has 128: use --decoder beam"):
        open_decoding(settings, alphabet, scorer, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepspeech", "coqui-training"])
def test_the_peers_decoders_find_the_same_up_to_their_limit(
    name: str, peer: Callable[[str], Peer], tmp_path: Path
) -> None:
    """To the last bit with 127 symbols; with one more they leave characters unscored."""
    agreeing = []
    for symbols in (CLIENT_LABELS, CLIENT_LABELS + 1):
        alphabet = alphabet_of(symbols)
        path = write(alphabet, tmp_path)
        alphabet.save(tmp_path / "alphabet.txt")
        _, emissions = spoken(alphabet, 12)
        np.savez(tmp_path / "emissions.npz", **{f"{number:02d}": one for number, one in enumerate(emissions)})  # type: ignore[arg-type]
        theirs = peer(name).drive(
            "ctc_decoder", "--emissions", tmp_path / "emissions.npz", "--alphabet", tmp_path / "alphabet.txt",
            "--scorer", path, "--lm_alpha", cases.ALPHA, "--lm_beta", cases.BETA, "--beam_width", BEAM,
        )["results"]  # fmt: skip
        scorer = Scorer(cases.ALPHA, cases.BETA, path, alphabet)
        ours = ctc_beam_search_decoder_batch(emissions, None, alphabet, BEAM, 1, 1.0, 300, scorer)
        agreeing.append(
            [
                (clip[0].transcript, clip[0].confidence) == (found[0]["text"], found[0]["confidence"])
                for clip, (_, found) in zip(ours, sorted(theirs.items()), strict=True)
            ]
        )
    assert all(agreeing[0])
    assert not all(agreeing[1])
