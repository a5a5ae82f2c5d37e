"""A scorer that is built here, in DeepSpeech's client: the same words as in the evaluation, and fewer errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.build_scorer import estimate
from components.build_scorer import step as build_scorer
from components.build_scorer.settings import BuildScorerSettings
from components.evaluate import step as evaluate
from components.evaluate.settings import EvaluateSettings
from components.export import step as export
from components.export.settings import ExportSettings
from components.import_cv import step as import_cv
from components.import_cv.settings import ImportSettings
from components.train import step as train
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.artifacts import Evaluation, ExportedModel, ExternalScorer
from speech.clips.manifest import read_manifest
from speech.errors import InputError
from tests.fixtures.tones import UNSPACED_SYMBOLS, make_unspaced_corpus
from tests.peers.environments import REPOSITORY, Peer

pytestmark = pytest.mark.slow
EXAMPLE = REPOSITORY / "examples" / "cv-corpus-demo" / "en"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    return import_cv.run(ImportSettings(layout="clips"), str(EXAMPLE), folder).folder


@pytest.fixture(scope="module")
def model(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained too little, so that a scorer has something to do."""
    folder = tmp_path_factory.mktemp("model")
    settings = TrainSettings(n_hidden=96, epochs=10, train_batch_size=8, learning_rate=0.003)
    train.run_on_corpus(settings, corpus, folder / "checkpoint")
    return export.freeze(ExportSettings(), folder / "checkpoint", folder / "exported").folder


@pytest.fixture(scope="module")
def scorer(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        estimate.find_programs("")
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("scorer") / "made"
    return build_scorer.run_in_pipeline(BuildScorerSettings(), corpus, model, "", True, folder).folder


def measured(model: Path, corpus: Path, folder: Path, **given: Any) -> Evaluation:
    settings = EvaluateSettings(report_count=0, **given)
    dev = [corpus / "dev.csv"] if settings.n_trials else []
    tuned = folder.with_suffix(".tuned") if dev else None
    return evaluate.run(settings, model, [corpus / "test.csv"], folder, dev=dev, tuned_scorer=tuned)


def test_fewer_errors_and_the_same_words_as_in_the_client(
    peer: Callable[[str], Peer], corpus: Path, model: Path, scorer: Path, tmp_path: Path
) -> None:
    made = measured(model, corpus, tmp_path / "evaluation", scorer_path=str(scorer), n_trials=10)
    assert made.scores["wer"] < 0.5 * made.scores["without_scorer"]["wer"]
    ours = [row["res"] for row in json.loads((made.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))]
    manifest = read_manifest(corpus / "test.csv")
    wavs = [corpus / clip.wav_filename for clip in manifest]
    tuned = ExternalScorer.open(tmp_path / "evaluation.tuned").path
    answer = peer("deepspeech").drive(
        "native_client", "--model", model / ExportedModel.FROZEN, "--scorer", tuned, "--wavs", *wavs
    )
    theirs = [clip["text"] for clip in answer["clips"]]
    agreeing = sum(one == other for one, other in zip(ours, theirs, strict=True))
    assert agreeing >= len(wavs) - 1  # the client hears one frame more, the zero-padded rest of the audio


def test_ds_ctcdecoder_measures_the_same(
    peer: Callable[[str], Peer], corpus: Path, model: Path, scorer: Path, tmp_path: Path
) -> None:
    common = {"scorer_path": str(scorer), "emission_cache": str(tmp_path / "cache"), "beam_width": 100}
    python = str(peer("deepspeech").python)
    theirs = measured(
        model, corpus, tmp_path / "theirs", decoder="ds_ctcdecoder", ds_ctcdecoder_python=python, **common
    )
    ours = measured(model, corpus, tmp_path / "ours", decoder="beam", **common)
    texts = [json.loads((one.folder / Evaluation.SAMPLES).read_text(encoding="utf-8")) for one in (ours, theirs)]
    assert texts[0] == texts[1]
    assert ours.scores["without_scorer"] == theirs.scores["without_scorer"]


@pytest.mark.parametrize(("client", "file"), [("deepspeech", ExportedModel.FROZEN), ("stt", ExportedModel.TFLITE)])
def test_a_scorer_of_characters_in_the_clients(
    peer: Callable[[str], Peer], unspaced: Path, tmp_path: Path, client: str, file: str
) -> None:
    """An alphabet without a space: another text than without the scorer, and the same as here."""
    corpus, exported, scorer = (unspaced / name for name in ("corpus", "exported", "scorer"))
    settings = EvaluateSettings(scorer_path=str(scorer), lm_alpha=2.0, lm_beta=1.0, bootstrap_samples=0)
    ours = evaluate.run(settings, exported / file, [corpus / "dev.csv"], tmp_path / "ours")
    samples = json.loads((ours.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))
    wavs = [corpus / clip.wav_filename for clip in read_manifest(corpus / "dev.csv")]
    answer = peer(client).drive(
        "native_client", "--model", exported / file, "--scorer", ExternalScorer.open(scorer).path, "--lm_alpha", 2.0,
        "--lm_beta", 1.0, "--wavs", *wavs,
    )  # fmt: skip
    theirs = {Path(clip["wav"]).name: clip["text"] for clip in answer["clips"]}
    heard = {Path(sample["wav_filename"]).name: sample["res"] for sample in samples}
    assert sum(theirs[name] == text for name, text in heard.items()) >= len(wavs) - 1  # it hears one frame more
    assert any(sample["res"] != sample["res_without_scorer"] for sample in samples)


@pytest.fixture(scope="module")
def unspaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus without spaces, a model that has learned little of it, and a scorer of its characters."""
    try:
        estimate.find_programs("")
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("unspaced")
    corpus = make_unspaced_corpus(folder / "corpus")
    settings = TrainSettings(n_hidden=24, epochs=12, train_batch_size=4, learning_rate=0.005)
    train.run(settings, [corpus / "train.csv"], [corpus / "dev.csv"], folder / "checkpoint")
    export.freeze(ExportSettings(), folder / "checkpoint", folder / "exported")
    export.convert_tflite(folder / "exported", folder / "exported", quantize=False)
    sources = build_scorer.TextSources(csvs=(corpus / "train.csv",))
    alphabet = Alphabet(UNSPACED_SYMBOLS)
    build_scorer.run(BuildScorerSettings(arpa_order=3), sources, alphabet, folder / "scorer")
    return folder
