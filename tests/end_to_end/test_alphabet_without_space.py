"""A language that is written without spaces, through every step: its alphabet holds none, as Coqui STT allows."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from components.build_scorer import __main__ as build_scorer
from components.build_scorer import estimate
from components.convert_openvino import __main__ as convert
from components.convert_openvino import transcribe
from components.evaluate import step as evaluate
from components.evaluate.settings import EvaluateSettings
from components.export import step as export
from components.export.settings import ExportSettings
from components.import_cv import step as import_cv
from components.import_cv.settings import ImportSettings
from components.publish import step as publish
from components.publish.settings import PublishSettings
from components.train import step as train
from components.train.settings import TrainSettings
from speech import model_files
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint, Evaluation, ExportedModel, ExternalScorer
from speech.clips.audio import wav_header
from speech.decoding import beam_search, portable
from speech.decoding.packaging import write_scorer
from speech.decoding.scorer import Scorer
from speech.errors import InputError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.emissions import synthesize
from tests.fixtures.tones import UNSPACED_SYMBOLS as SYMBOLS
from tests.fixtures.tones import make_unspaced_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_unspaced_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def checkpoint(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = TrainSettings(n_hidden=24, epochs=2, train_batch_size=4, learning_rate=0.005)
    return train.run(settings, [corpus / "train.csv"], [corpus / "dev.csv"], tmp_path_factory.mktemp("ckpt")).folder


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export.freeze(ExportSettings(), checkpoint, folder)
    export.convert_mmap(folder, folder)
    return export.convert_tflite(folder, folder).folder


def test_checkpoint_and_model_carry_it(checkpoint: Path, model: Path) -> None:
    assert Alphabet.load(checkpoint / ALPHABET).symbols == SYMBOLS
    assert json.loads((checkpoint / Checkpoint.MODEL).read_text())["geometry"]["n_labels"] == 4
    for name in (ExportedModel.FROZEN, ExportedModel.MAPPED):
        assert model_files.open(model / name).alphabet.symbols == SYMBOLS


def test_a_sentence_is_one_word(corpus: Path, model: Path, tmp_path: Path) -> None:
    for name in (ExportedModel.FROZEN, ExportedModel.TFLITE):
        made = evaluate.run(EvaluateSettings(bootstrap_samples=0), model / name, [corpus / "dev.csv"], tmp_path / name)
        assert made.scores["words"] == made.scores["test_clips"] == 6
        assert made.scores["characters"] > 12
        assert made.scores["loss"] is not None
        summary = (made.folder / "summary.md").read_text()
        assert summary.startswith("**CER")
        assert "the CER is the rate to read" in summary
        page = (made.folder / Evaluation.HTML_REPORT).read_text()
        assert page.index("<span>CER</span>") < page.index("<span>WER</span>")
        assert "the CER is the rate to read" in page
        assert made.scores["headline"] == "cer"
        heard = "".join(one["res"] for one in json.loads((made.folder / Evaluation.SAMPLES).read_text()))
        assert set(heard) <= set(SYMBOLS)


def test_both_decoders_write_it() -> None:
    alphabet = Alphabet(SYMBOLS)
    emissions = synthesize(alphabet.encode("你好世界界").tolist(), 5, 0.3, 3)
    found = beam_search.ctc_beam_search_decoder(emissions, alphabet, 50)[0]
    assert found.transcript == "你好世界界"
    ((confidence, labels, _),) = portable.decode(emissions, alphabet, portable.SearchSettings(50, 1.0, 40, 1), None, {})
    assert alphabet.decode(labels) == "你好世界界"
    assert confidence == pytest.approx(found.confidence, rel=1e-4)


def test_the_ir(corpus: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ir = tmp_path / "ir"
    arguments = ["--input_model", str(model), "--output_dir", str(ir), "--dev_files", str(corpus / "dev.csv")]
    convert.main([*arguments, "--max_wer_increase", "1"])
    clip = next(csv.DictReader((corpus / "dev.csv").open(encoding="utf-8")))["wav_filename"]
    capsys.readouterr()
    transcribe.main(["--model", str(ir / "output_graph.xml"), "--audio", str(corpus / clip), "--beam_width", "20"])
    assert set(capsys.readouterr().out.strip()) <= set(SYMBOLS)
    version = publish.run(PublishSettings(version="1"), {"model": model, "ir": ir}, str(tmp_path / "published"))
    assert (Path(version.uri) / ALPHABET).read_text(encoding="utf-8") == "世\n你\n好\n界\n"


def test_an_import_filters_by_it(tmp_path: Path) -> None:
    release = tmp_path / "release"
    (release / "clips").mkdir(parents=True)
    tone = (8000 * np.sin(np.arange(32_000) * 0.2)).astype("<i2").tobytes()
    for number in range(3):
        (release / "clips" / f"{number}.wav").write_bytes(wav_header(32_000, 16_000) + tone)
    rows = [f"me\t{number}.wav\t{text}" for number, text in enumerate(("你好", "世 界", "你好吗"))]
    (release / "train.tsv").write_text("client_id\tpath\tsentence\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "alphabet.txt").write_text("你\n好\n世\n界\n", encoding="utf-8")
    settings = ImportSettings(sets=("train",), filter_alphabet=str(tmp_path / "alphabet.txt"), workers=1)
    made = import_cv.run(settings, str(release), tmp_path / "corpus")
    assert [clip.transcript for clip in made.manifest("train")] == ["你好"]
    assert made.alphabet.symbols == tuple("你好世界")


def test_a_scorer_of_characters(corpus: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Built without a word about it, tuned, measured with and without, and published: in characters."""
    try:
        estimate.find_programs("")
    except InputError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["build_scorer", "--train_files", str(corpus / "train.csv"), "--alphabet",
                                   str(corpus / ALPHABET), "--output_dir", str(tmp_path / "made")])  # fmt: skip
        build_scorer.main()
    scorer = ExternalScorer.open(tmp_path / "made")
    assert scorer.description["units"] == "characters"
    assert set((scorer.folder / "vocab-500000.txt").read_text(encoding="utf-8").split()) == set(SYMBOLS)
    assert "4 characters that make 100.00%" in capsys.readouterr().out
    made = evaluate.run(
        EvaluateSettings(bootstrap_samples=0, scorer_path=str(scorer.folder), n_trials=3, beam_width=20),
        model / ExportedModel.FROZEN,
        [corpus / "dev.csv"],
        tmp_path / "evaluation",
        dev=[corpus / "dev.csv"],
        tuned_scorer=tmp_path / "tuned",
    )
    assert made.scores["headline"] == "cer"
    assert made.scores["tuning"]["unit"] == "characters"
    used = made.scores["decoder"]["scorer"]
    assert (used["units"], used["for_clients"]) == ("characters", True)
    assert made.scores["without_scorer"]["cer"] > 0
    sources = {"model": model, "evaluation": made.folder, "scorer": tmp_path / "tuned"}
    version = publish.run(PublishSettings(version="1", min_test_clips=1), sources, str(tmp_path / "published"))
    assert (Path(version.uri) / ExternalScorer.SCORER).is_file()


def test_a_scorer_of_words_needs_a_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alphabet = Alphabet(SYMBOLS)
    for attempt in (
        lambda: Scorer(None, None, cases.WORDS, alphabet),
        lambda: write_scorer(cases.WORDS, ["你好"], alphabet, tmp_path / "x.scorer", 1.0, 1.0),
    ):
        with pytest.raises(InputError, match="no space, at which the words of a scorer end: build one of characters"):
            attempt()
    alphabet.save(tmp_path / "alphabet.txt")
    (tmp_path / "text.txt").write_text("你好\n", encoding="utf-8")
    arguments = ["--input_txt", str(tmp_path / "text.txt"), "--output_dir", str(tmp_path / "made")]
    with pytest.raises(SystemExit) as stop, pytest.MonkeyPatch.context() as patch:
        alphabet_file = str(tmp_path / "alphabet.txt")
        patch.setattr("sys.argv", ["build_scorer", *arguments, "--alphabet", alphabet_file, "--scorer_units", "words"])
        build_scorer.main()
    assert stop.value.code == 2
    assert re.search(r"made/kenlm.scorer: the model's alphabet has no space", capsys.readouterr().err)
    assert not (tmp_path / "made").exists()
    assert Scorer(None, None, cases.BYTES, Alphabet.bytes_output_mode()).is_utf8_mode()
