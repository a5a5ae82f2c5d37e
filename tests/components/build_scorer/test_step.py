"""From text to a scorer, with KenLM's own programs where they are built."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.build_scorer import __main__ as shell
from components.build_scorer import estimate, step
from components.build_scorer.settings import BuildScorerSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Corpus, ExternalScorer
from speech.clips.manifest import Clip, write_manifest
from speech.decoding.beam_search import ctc_beam_search_decoder
from speech.decoding.scorer import Scorer
from speech.errors import InputError
from speech.settings import parse
from speech.storage.objects import delete_objects, list_keys, write_object
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.emissions import synthesize
from tests.fixtures.decoding.texts import make_sentences, make_words
from tests.peers.environments import REPOSITORY

WORDS = make_words(80, 3)
SENTENCES = [" ".join(words) for words in make_sentences(WORDS, 300, (2, 7), 5)]
SMALL = BuildScorerSettings(arpa_order=3)


@pytest.fixture(scope="module", autouse=True)
def kenlm() -> None:
    try:
        estimate.find_programs("")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(SENTENCES).upper() + "\nNaïve façade naïve\n", encoding="utf-8")
    return path


def make_corpus(folder: Path) -> Path:
    """An imported corpus of transcripts; the dev set says something else."""
    folder.mkdir()
    for name, transcripts in (("train", SENTENCES), ("dev", ["secret words"])):
        clips = [Clip(f"{number}.wav", 100, transcript) for number, transcript in enumerate(transcripts)]
        write_manifest(folder / f"{name}.csv", clips)
    cases.ALPHABET.save(folder / ALPHABET)
    (folder / Corpus.REPORT).write_text("{}")
    return folder


def transcribe(scorer: Path, transcript: str, alphabet: Alphabet, noise: float) -> str:
    emissions = synthesize(alphabet.encode(transcript).tolist(), len(alphabet) + 1, noise, 3)
    return ctc_beam_search_decoder(emissions, alphabet, 100, scorer=Scorer(None, None, scorer, alphabet))[0].transcript


def test_a_scorer(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Complete, described, and of use."""
    made = step.run(SMALL, step.TextSources((str(text),)), cases.ALPHABET, tmp_path / "made")
    assert {path.name for path in made.folder.iterdir()} == {
        "kenlm.scorer", "scorer.json", "alphabet.txt", "vocab-500000.txt"
    }  # fmt: skip
    described = made.description
    assert described["vocabulary"] == len(set(" ".join(SENTENCES).split()))
    assert described["not_spelled"] == 2
    assert described["not_spelled_most_frequent"] == ["naïve", "façade"]
    assert described["covered"] == pytest.approx(1 - 3 / described["running_words"])
    assert len(described["ngrams"]) == 3
    said = capsys.readouterr().out
    assert "kenlm.scorer: " in said
    assert "note: the model's alphabet cannot spell 2 words" in said
    assert transcribe(made.path, SENTENCES[3], cases.ALPHABET, 1.4) == SENTENCES[3]
    scorer = Scorer(None, None, made.path, cases.ALPHABET)
    assert scorer.get_log_cond_prob(SENTENCES[0].split()[:2], bos=True) > -5
    assert step.headline(made)["vocabulary"] == described["vocabulary"]


def test_the_most_frequent_words_only(text: Path, tmp_path: Path) -> None:
    settings = BuildScorerSettings(arpa_order=3, top_k=10)
    made = step.run(settings, step.TextSources((str(text),)), cases.ALPHABET, tmp_path / "made")
    words = (made.folder / "vocab-10.txt").read_text().split()
    assert len(words) == 10
    scorer = Scorer(None, None, made.path, cases.ALPHABET)
    assert scorer.layout.counts[0] == 13  # and <unk>, <s>, </s>
    assert made.description["covered"] < 0.7


@pytest.mark.parametrize("binary_type", ["trie", "probing"])
def test_bytes_mode_with_real_spaces(tmp_path: Path, binary_type: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text("привет мир\nмир и привет\n早上好 мир\n" * 20, encoding="utf-8")
    settings = BuildScorerSettings(arpa_order=4, binary_type=binary_type)
    made = step.run(settings, step.TextSources((str(path),)), cases.BYTES_ALPHABET, tmp_path / "made")
    scorer = Scorer(None, None, made.path, cases.BYTES_ALPHABET)
    assert scorer.bytes_mode
    assert scorer.get_log_cond_prob(["т", " ", "м"]) > -2
    assert transcribe(made.path, "早上好 мир", cases.BYTES_ALPHABET, 1.0) == "早上好 мир"


def test_same_text_same_bytes(text: Path, tmp_path: Path) -> None:
    made = [step.run(SMALL, step.TextSources((str(text),)), cases.ALPHABET, tmp_path / name) for name in "ab"]
    assert made[0].path.read_bytes() == made[1].path.read_bytes()


def test_in_a_pipeline(text: Path, tmp_path: Path) -> None:
    """Training transcripts and further text; never dev or test."""
    corpus = make_corpus(tmp_path / "corpus")
    model = tmp_path / "model"
    model.mkdir()
    cases.ALPHABET.save(model / ALPHABET)
    extra = tmp_path / "extra.txt"
    extra.write_text("zebra zebra\n")
    made = step.run_in_pipeline(SMALL, corpus, model, f"{extra}, {text}", True, tmp_path / "both")
    words = (made.folder / "vocab-500000.txt").read_text().split()
    assert {"zebra", *SENTENCES[0].split()} <= set(words)
    assert "secret" not in words
    made = step.run_in_pipeline(SMALL, corpus, model, str(extra), False, tmp_path / "text")
    assert (made.folder / "vocab-500000.txt").read_text() == "zebra\n"
    with pytest.raises(InputError, match="no text for the scorer"):
        step.run_in_pipeline(SMALL, corpus, model, "", False, tmp_path / "none")


def test_text_in_an_object_store(text: Path, tmp_path: Path, s3_bucket: str) -> None:
    from speech.storage.objects import upload_file

    upload_file(text, f"{s3_bucket}/texts/text.txt")
    made = step.run(SMALL, step.TextSources((f"{s3_bucket}/texts/text.txt",)), cases.ALPHABET, tmp_path / "remote")
    local = step.run(SMALL, step.TextSources((str(text),)), cases.ALPHABET, tmp_path / "local")
    assert made.path.read_bytes() == local.path.read_bytes()


def test_an_interrupted_step_leaves_no_scorer(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(step, "estimate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        step.run(SMALL, step.TextSources((str(text),)), cases.ALPHABET, tmp_path / "made")
    assert [path.name for path in (tmp_path / "made").iterdir()] == [".scorer.json.claim"]  # for the next attempt
    with pytest.raises(InputError, match="not a complete scorer"):
        ExternalScorer.open(tmp_path / "made")


def run_shell(*arguments: object) -> None:
    shell.run(parse(shell.BuildScorerCommand, [str(item) for item in arguments], prog="x", description=""))


def test_the_peers_two_command_lines(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """generate_lm.py and generate_scorer_package, verbatim; then both in one, with the same bytes."""
    folder, bins = tmp_path / "lm", estimate.find_programs("")["lmplz"].removesuffix("/lmplz")
    alphabet = tmp_path / "alphabet.txt"
    cases.ALPHABET.save(alphabet)
    generate_lm = [
        "--input_txt", text, "--output_dir", folder, "--top_k", "500000", "--kenlm_bins", f"{bins}/",
        "--arpa_order", "5", "--max_arpa_memory", "85%", "--arpa_prune", "0|0|1",
        "--binary_a_bits", "255", "--binary_q_bits", "8", "--binary_type", "trie", "--discount_fallback",
    ]  # fmt: skip
    run_shell(*generate_lm)
    assert {path.name for path in folder.iterdir()} == {"lm.binary", "lm.json", "vocab-500000.txt"}
    run_shell(
        "--alphabet", alphabet, "--lm", folder / "lm.binary", "--vocab", folder / "vocab-500000.txt",
        "--package", folder / "kenlm.scorer", "--default_alpha", "0.75", "--default_beta", "1.85",
    )  # fmt: skip
    scorer = Scorer(None, None, folder / "kenlm.scorer", cases.ALPHABET)
    assert (scorer.alpha, scorer.beta, scorer.order) == (pytest.approx(0.75), pytest.approx(1.85), 5)
    assert "2 that the alphabet cannot spell are left out" in capsys.readouterr().out
    run_shell(*generate_lm, "--output_dir", tmp_path / "one", "--alphabet", alphabet, "--default_alpha", "0.75",
              "--default_beta", "1.85")  # fmt: skip
    assert (tmp_path / "one" / "kenlm.scorer").read_bytes() == (folder / "kenlm.scorer").read_bytes()
    assert (tmp_path / "one" / "lm.binary").read_bytes() == (folder / "lm.binary").read_bytes()


def test_a_corpus_from_the_shell(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    run_shell("--corpus", corpus, "--output_dir", tmp_path / "made", "--arpa_order", "3")
    assert ExternalScorer.open(tmp_path / "made").description["different_words"] == len(
        set(" ".join(SENTENCES).split())
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no text: give --input_txt, --train_files or --corpus"),
        (["--input_txt", "TEXT"], "--output_dir is missing"),
        (["--lm", "x"], "--vocab is missing: packaging takes --lm, --vocab and --package"),
        (["--lm", "x", "--vocab", "TEXT", "--package", "x.scorer"], "--alphabet is missing"),
        (["--input_txt", "missing.txt", "--output_dir", "OUT"], "missing.txt: no such text"),
        (["--input_txt", "TEXT", "--output_dir", "OUT", "--checkpoint", "OUT"], "no alphabet.txt in it"),
        (["--input_txt", "TEXT", "--output_dir", "OUT", "--kenlm_bins", "OUT"], "OUT: no lmplz"),
    ],
)
def test_command_lines_that_are_refused(text: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    """One line, exit code 2, nothing left behind."""
    command = [sys.executable, "-m", "components.build_scorer"]
    places = {"TEXT": str(text), "OUT": str(tmp_path / "OUT")}
    result = subprocess.run(
        [*command, *(places.get(item, item) for item in arguments)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "OUT").exists() or list((tmp_path / "OUT").iterdir()) == []


def test_alphabets_of_models(tmp_path: Path) -> None:
    """Of an exported model, a checkpoint of ours, one of Coqui STT's; bytes output mode is recognised."""
    cases.ALPHABET.save(tmp_path / ALPHABET)
    assert step.alphabet_in(tmp_path) == cases.ALPHABET
    (tmp_path / "flags.txt").write_text(json.dumps({"bytes_output_mode": True}))
    assert step.alphabet_in(tmp_path).bytes_mode
    (tmp_path / "flags.txt").unlink()
    cases.BYTES_ALPHABET.save(tmp_path / ALPHABET)
    assert step.alphabet_in(tmp_path).bytes_mode


def test_modes_that_contradict_each_other() -> None:
    with pytest.raises(InputError, match="the model writes bytes"):
        step.choose_alphabet(BuildScorerSettings(force_bytes_output_mode="false"), cases.BYTES_ALPHABET)
    chosen = step.choose_alphabet(BuildScorerSettings(force_bytes_output_mode="true"), cases.ALPHABET)
    assert chosen.bytes_mode


def test_into_an_object_store(text: Path, tmp_path: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases.ALPHABET.save(tmp_path / "letters.txt")
    before = set(tmp_path.iterdir())
    given = ["--input_txt", str(text), "--arpa_order", "3", "--output_dir", f"{s3_bucket}/scorers/x"]

    def build(*flags: str) -> None:
        shell.run(parse(shell.BuildScorerCommand, [*given, *flags], prog="", description=""))

    for _ in range(2):
        build("--alphabet", "letters.txt")
    names = {key.rpartition("/")[2] for key, _ in list_keys(f"{s3_bucket}/")}
    assert names == {"kenlm.scorer", "lm.binary", "vocab-500000.txt", ALPHABET, "scorer.json"}
    write_object(f"{s3_bucket}/scorers/x/kenlm.scorer", b"theirs")
    delete_objects([f"{s3_bucket}/scorers/x/scorer.json"])
    with pytest.raises(InputError, match="would be replaced"):
        build("--alphabet", "letters.txt")
    assert set(tmp_path.iterdir()) == before
