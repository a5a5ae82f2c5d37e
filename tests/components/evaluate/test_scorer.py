"""An evaluation with a scorer: both results side by side, the search for its weights, the copy that records them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.evaluate import step
from components.evaluate.decode import scorer_weights
from components.evaluate.settings import EvaluateSettings
from components.evaluate.tune import main as tune_main
from speech.artifacts import (
    ALPHABET,
    Clips,
    Corpus,
    Evaluation,
    ExportedModel,
    ExternalScorer,
    describe_files,
    write_sidecar,
)
from speech.decoding.scorer import Scorer
from speech.decoding.tuning import Trial, Tuning
from speech.errors import InputError
from speech.geometry import Geometry
from speech.metrics import ErrorCount
from tests.components.evaluate.conftest import write_frozen
from tests.fixtures.decoding import cases
from tests.fixtures.tones import texts, write_csv

Command = Callable[..., tuple[int, str, str]]
FAST = EvaluateSettings(report_count=0, bootstrap_samples=50, beam_width=20, tune_beam_width=5)
TUNED = Tuning((Trial(2.5, 0.5, ErrorCount(1, 10)), Trial(3.0, 1.0, ErrorCount(2, 10))), "words", 5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the alphabet of the tests' scorer."""
    folder = tmp_path_factory.mktemp("model")
    write_frozen(folder / ExportedModel.FROZEN, Geometry(n_hidden=24, n_labels=len(cases.ALPHABET)), cases.ALPHABET)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_csv(folder, "test", [f"{first} {second}" for first, second in zip(texts(6, 1), texts(6, 2), strict=True)])
    write_csv(folder, "dev", texts(5, 3))
    cases.ALPHABET.save(folder / ALPHABET)
    (folder / Corpus.REPORT).write_text("{}")
    return folder


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    """The artifact of a scorer."""
    folder = tmp_path / "scorer"
    folder.mkdir()
    (folder / ExternalScorer.SCORER).write_bytes(cases.WORDS.read_bytes())
    cases.ALPHABET.save(folder / ALPHABET)
    files = describe_files(folder, [ExternalScorer.SCORER, ALPHABET])
    write_sidecar(folder, ExternalScorer.MODEL, {"default_alpha": 0.9, "files": files, "vocabulary": 5})
    return folder


def samples_of(evaluation: Evaluation) -> list[dict[str, Any]]:
    return json.loads((evaluation.folder / Evaluation.SAMPLES).read_text(encoding="utf-8"))


def test_both_results_side_by_side(model: Path, corpus: Path, scorer: Path, tmp_path: Path) -> None:
    settings = EvaluateSettings(
        report_count=0, bootstrap_samples=50, beam_width=20, scorer_path=str(scorer), n_best=2, lm_alpha=0.5
    )
    made = step.run(settings, model, [corpus / "test.csv"], tmp_path / "with")
    alone = step.run(FAST, model, [corpus / "test.csv"], tmp_path / "alone")
    rows = samples_of(made)
    assert [row["res_without_scorer"] for row in rows] == [row["res"] for row in samples_of(alone)]
    assert [row["res_without_scorer"] for row in rows] != [row["res"] for row in rows]
    assert {word for row in rows for word in row["res"].split()[:-1]} <= set(cases.vocabulary())
    assert all(row["candidates"][0]["text"] == row["res"] and len(row["candidates"]) == 2 for row in rows)
    effect = made.scores["without_scorer"]
    for name in ("wer", "cer", "wer_interval", "word_edits", "exact_clips"):
        assert effect[name] == alone.scores[name], name
    assert effect["difference"] == pytest.approx(made.scores["wer"] - alone.scores["wer"])
    assert effect["difference_interval"][0] <= effect["difference"] <= effect["difference_interval"][1]
    better = sum(row["wer"] < row["wer_without_scorer"] for row in rows)
    worse = sum(row["wer"] > row["wer_without_scorer"] for row in rows)
    assert (effect["better_clips"], effect["worse_clips"]) == (better, worse)
    assert made.scores["loss"] == alone.scores["loss"]
    described = made.scores["decoder"]
    assert (described["name"], described["beam_width"], described["scorer"]["lm_alpha"]) == ("beam", 20, 0.5)
    assert alone.scores["without_scorer"] == {}
    assert "candidates" not in samples_of(alone)[0]
    assert step.headline(made)["wer_without_scorer"] == alone.scores["wer"]


def test_the_search_in_an_evaluation(model: Path, corpus: Path, scorer: Path, tmp_path: Path) -> None:
    settings = EvaluateSettings(
        report_count=0, bootstrap_samples=0, beam_width=20, tune_beam_width=5, scorer_path=str(scorer), n_trials=4,
        emission_cache=str(tmp_path / "cache"), tune_clips=3,
    )  # fmt: skip
    copy = tmp_path / "tuned"
    made = step.run(
        settings, model, [corpus / "test.csv"], tmp_path / "out", dev=[corpus / "dev.csv"], tuned_scorer=copy
    )
    found = made.scores["tuning"]
    assert len(found["trials"]) == 4
    assert found["error_rate"] == min(trial["error_rate"] for trial in found["trials"])
    used = made.scores["decoder"]["scorer"]
    assert (used["lm_alpha"], used["lm_beta"]) == (found["alpha"], found["beta"])
    tuned = Scorer(None, None, ExternalScorer.open(copy).path, cases.ALPHABET)
    assert (tuned.alpha, tuned.beta) == (found["alpha"], found["beta"])
    assert ExternalScorer.open(copy).description["tuning"] == found
    assert "Search for its weights, on dev" in (made.folder / Evaluation.HTML_REPORT).read_text(encoding="utf-8")
    again = EvaluateSettings(report_count=0, bootstrap_samples=0, beam_width=20, scorer_path=str(copy))
    untuned = step.run(again, model, [corpus / "test.csv"], tmp_path / "again")
    assert [row["res"] for row in samples_of(untuned)] == [row["res"] for row in samples_of(made)]


def test_a_search_needs_a_dev_set(model: Path, corpus: Path, scorer: Path, tmp_path: Path) -> None:
    settings = EvaluateSettings(report_count=0, scorer_path=str(scorer), n_trials=1)
    with pytest.raises(InputError, match="--n_trials searches on a dev set: give --dev_files"):
        step.run(settings, model, [corpus / "test.csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copies(scorer: Path, tmp_path: Path) -> None:
    """A folder gives a folder, a file a file; the rest of the scorer stays as it is."""
    made = ExternalScorer.open(scorer_weights.copy_scorer(scorer, tmp_path / "copy", TUNED))
    assert made.description["vocabulary"] == 5
    assert (made.description["default_alpha"], made.description["default_beta"]) == (2.5, 0.5)
    original, changed = cases.WORDS.read_bytes(), made.path.read_bytes()
    assert len(original) == len(changed)
    assert 0 < sum(one != other for one, other in zip(original, changed, strict=True)) <= 16
    path = scorer_weights.copy_scorer(scorer / ExternalScorer.SCORER, tmp_path / "en.scorer", TUNED)
    assert path.read_bytes() == changed
    inside = scorer_weights.copy_scorer(scorer / ExternalScorer.SCORER, tmp_path / "copy", None)
    assert inside.read_bytes() == original
    with pytest.raises(InputError, match="would overwrite the scorer itself"):
        scorer_weights.copy_scorer(scorer / ExternalScorer.SCORER, scorer, TUNED)
    with pytest.raises(InputError, match="would overwrite the scorer itself"):
        scorer_weights.copy_scorer(scorer, scorer, TUNED)
    ExternalScorer.open(scorer)  # unharmed


def test_the_note_of_a_run_without_a_scorer_replaces_an_earlier_scorer(scorer: Path, tmp_path: Path) -> None:
    scorer_weights.copy_scorer(scorer, tmp_path / "copy", None)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / ExternalScorer.NONE).write_text("")
    scorer_weights.copy_scorer(tmp_path / "none", tmp_path / "copy", None)
    assert ExternalScorer.find(tmp_path / "copy") is None
    scorer_weights.copy_scorer(scorer, tmp_path / "copy", None)
    assert ExternalScorer.find(tmp_path / "copy") is not None


def test_the_component(model: Path, corpus: Path, scorer: Path, tmp_path: Path) -> None:
    from components.evaluate.component import evaluate

    clips = Path(shutil.copytree(corpus, tmp_path / "clips"))
    (clips / Clips.SETS).write_text('{"sets": ["dev", "test"]}')
    logged: dict[str, float] = {}
    names = ("evaluation", "report", "tuned_scorer")
    artifacts = {name: SimpleNamespace(path=str(tmp_path / name), uri=str(tmp_path / name)) for name in names}
    given = {
        "model": SimpleNamespace(path=str(model)),
        "test_clips": SimpleNamespace(path=str(clips)),
        "dev_clips": SimpleNamespace(path=str(clips)),
        "scorer": SimpleNamespace(path=str(scorer)),
        "metrics": SimpleNamespace(log_metric=logged.__setitem__),
        "report_count": 0,
        "beam_width": 10,
        "n_trials": 2,
    }
    evaluate.python_func(**given, **artifacts, extra_flags="--tune_beam_width 5 --bootstrap_samples 0")
    assert {"wer", "wer_without_scorer", "cer_without_scorer"} <= set(logged)
    assert ExternalScorer.open(tmp_path / "tuned_scorer").description["tuning"]["beam_width"] == 5
    with pytest.raises(SystemExit):
        evaluate.python_func(**given, **artifacts, extra_flags=f"--scorer_path {scorer}")


def test_the_search_from_a_shell(
    model: Path, corpus: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The command line of the peers' lm_optimizer, which calls the dev set a test set."""
    cases.ALPHABET.save(tmp_path / "alphabet.txt")
    argv = [
        "--alphabet_config_path", tmp_path / "alphabet.txt", "--test_files", corpus / "dev.csv",
        "--checkpoint_dir", model, "--scorer", scorer / ExternalScorer.SCORER, "--n_trials", "3",
        "--lm_alpha_max", "3", "--lm_beta_max", "2", "--n_hidden", "24", "--test_batch_size", "4",
        "--tuned_scorer", tmp_path / "tuned.scorer", "--tuning", tmp_path / "tuning", "--tune_beam_width", "5",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["tune", *map(str, argv)])
    tune_main()
    found = json.loads((tmp_path / "tuning" / "tuning.json").read_text(encoding="utf-8"))
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line == f"Best params: lm_alpha={found['alpha']} and lm_beta={found['beta']} with WER={found['error_rate']}"
    assert all(0 <= trial["alpha"] <= 3 and 0 <= trial["beta"] <= 2 for trial in found["trials"])
    assert (tmp_path / "tuning" / "tuning.svg").read_text(encoding="utf-8").startswith("<svg")
    tuned = Scorer(None, None, tmp_path / "tuned.scorer", cases.ALPHABET)
    assert (tuned.alpha, tuned.beta) == (found["alpha"], found["beta"])


@pytest.mark.parametrize("missing", ["--checkpoint_dir", "--scorer", "--test_files"])
def test_a_search_without_an_input(
    missing: str, scorer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = {"--checkpoint_dir": "m", "--scorer": str(scorer), "--test_files": "d.csv"}
    del argv[missing]
    monkeypatch.setattr("sys.argv", ["tune", *(item for pair in argv.items() for item in pair)])
    with pytest.raises(SystemExit) as stop:
        tune_main()
    assert stop.value.code == 2
    assert "is missing: a search needs" in capsys.readouterr().err


def test_a_scorer_in_an_object_store(
    command: Command, model: Path, corpus: Path, scorer: Path, tmp_path: Path, s3_bucket: str
) -> None:
    from speech.storage.objects import download_folder, list_keys, upload_folder

    upload_folder(scorer, f"{s3_bucket}/scorers/en", last=ExternalScorer.MODEL)
    common = ("--model", model, "--test_files", corpus / "test.csv", "--report_count", 0, "--beam_width", 5)
    code, out, err = command(
        *common, "--evaluation", tmp_path / "a", "--scorer_path", f"{s3_bucket}/scorers/en", "--n_trials", 1,
        "--dev_files", corpus / "dev.csv", "--tuned_scorer", f"{s3_bucket}/scorers/tuned", "--dump", tmp_path / "dump",
    )  # fmt: skip
    assert code == 0, err
    assert "without the scorer: WER" in out
    assert [key for key, _ in list_keys(f"{s3_bucket}/scorers/tuned")]
    download_folder(f"{s3_bucket}/scorers/tuned", tmp_path / "tuned")
    ExternalScorer.open(tmp_path / "tuned")
    code, _, err = command(
        *common, "--evaluation", tmp_path / "b", "--scorer_path", f"{s3_bucket}/scorers/en/kenlm.scorer"
    )
    assert code == 0, err
    rows = json.loads((tmp_path / "a" / "samples.json").read_text(encoding="utf-8"))
    for ending, key in ((".txt", "src"), (".out", "res")):
        lines = (tmp_path / f"dump{ending}").read_text(encoding="utf-8").splitlines()
        assert lines == [f"{row['wav_filename']} {row[key]}" for row in rows]


def test_a_search_replaces_nothing_of_others(
    model: Path, corpus: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    given = ["tune", "--model", model, "--dev_files", corpus / "dev.csv", "--scorer", scorer / ExternalScorer.SCORER]
    given += ["--n_trials", "2", "--tune_beam_width", "5"]
    (tmp_path / "mine").mkdir()
    for flag, name in (("--tuning", "tuning.svg"), ("--tuned_scorer", ExternalScorer.SCORER)):
        (tmp_path / "mine" / name).write_text("mine")
        monkeypatch.setattr("sys.argv", [str(one) for one in (*given, flag, tmp_path / "mine")])
        with pytest.raises(SystemExit):
            tune_main()
        assert f"{name} would be replaced" in capsys.readouterr().err
        assert (tmp_path / "mine" / name).read_text() == "mine"
    monkeypatch.setattr("sys.argv", [str(one) for one in (*given, "--tuning", tmp_path / "new")])
    for _ in range(2):
        tune_main()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"tuning.json", "tuning.svg"}
