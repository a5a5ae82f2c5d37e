"""The model card: its front matter, its facts, and texts that would break either."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from speech import model_card as card
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Corpus, Evaluation, ExportedModel, describe_files
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_card import CardSettings, CardSources

GEOMETRY = Geometry(64, 4)


def exported(folder: Path, names: tuple[str, ...] = ("output_graph.pb",), **facts: Any) -> ExportedModel:
    folder.mkdir()
    Alphabet((" ", "|", "_", "#")).save(folder / ALPHABET)
    for name in names:
        (folder / name).write_bytes(name.encode())
    sidecar = {
        **{"geometry": GEOMETRY.to_dict(), "n_steps": 16, "beam_width": 500, "language": "cy"},
        **{"checkpoint": "best_dev-5", "global_step": 5, **facts},
    }
    sidecar["files"] = describe_files(folder, [*names, ALPHABET])
    (folder / ExportedModel.MODEL).write_text(json.dumps(sidecar))
    return ExportedModel.open(folder)


def evaluation(folder: Path, geometry: Geometry = GEOMETRY) -> Evaluation:
    folder.mkdir()
    scores = {
        "wer": 0.25,
        "wer_interval": [0.2, 0.31],
        "cer": 0.1,
        "cer_interval": None,
        "test_clips": 1200,
        "words": 9000,
    }
    found = {
        **scores,
        "real_time_factor": 0.1,
        "sets": [{"name": "test", **scores}],
        "model": {"file": "output_graph.pb", "geometry": geometry.to_dict()},
        "settings": {"confidence": 0.95},
    }
    (folder / Evaluation.SCORES).write_text(json.dumps(found))
    return Evaluation.open(folder)


def corpus(folder: Path) -> Corpus:
    folder.mkdir()
    sets = {"train": {"clips": 1000, "hours": 1.234, "reasons": {}}, "test": {"clips": 50, "hours": 0.05}}
    (folder / Corpus.REPORT).write_text(json.dumps({"release": "cv-corpus-21.0/cy", "sets": sets}))
    (folder / ALPHABET).write_text(" \n")
    return Corpus.open(folder)


def front_matter(page: str) -> dict[str, Any]:
    return yaml.safe_load(page.split("---\n")[1])


def test_all_facts(tmp_path: Path) -> None:
    training = {
        "start": "from scratch",
        "epochs": 7,
        "best_dev_loss": 12.5,
        "best_dev_wer": 0.25,
        "settings": {"learning_rate": 0.001},
    }
    models = [
        exported(tmp_path / "model", training=training),
        exported(tmp_path / "tflite", ("output_graph.tflite",)),
    ]
    sources = CardSources(models, evaluation(tmp_path / "evaluation"), corpus(tmp_path / "corpus"))
    settings = CardSettings(export_author_id="ab", export_model_name="cy", export_model_version="2.0.1")
    page_path, json_path = card.write(settings, sources, tmp_path / "card")
    assert (page_path.name, json_path.name) == ("ab_cy_2.0.1.md", "model_card.json")
    page = page_path.read_text()
    assert front_matter(page) == {
        "author": "ab",
        "model_name": "cy",
        "model_version": "2.0.1",
        "contact_info": "<to be filled in>",
        "license": "unknown",
        "language": "cy",
        "runtime": "tflite",
        "min_ds_version": "0.9.3",
        "max_ds_version": "0.9.3",
        "min_stt_version": "1.4.0",
        "max_stt_version": "1.4.0",
        "acoustic_model_url": "<replace this with a publicly available URL of the acoustic model>",
        "scorer_url": "<replace this with a publicly available URL of the scorer, if present>",
        "pipeline_tag": "automatic-speech-recognition",
        "tags": ["deepspeech", "coqui-stt"],
        "datasets": ["mozilla-foundation/common_voice_21_0"],
        "metrics": ["wer", "cer"],
        "model-index": front_matter(page)["model-index"],
    }
    assert "| test | 1,200 | 9,000 | 25.00% (20.00% to 31.00%) | 10.00% |" in page
    assert "| train | 1,000 | 1.23 |" in page
    assert "cv-corpus-21.0/cy, licence CC0-1.0" in page
    assert "on the dev set loss 12.5000 and WER 25.00% (greedy), 7 epochs run" in page
    assert "- symbols: space \\| \\_ \\#" in page
    facts = json.loads(json_path.read_text())
    assert facts["evaluation"]["wer_interval"] == [0.2, 0.31]
    assert facts["data"]["sets"]["test"] == {"clips": 50, "hours": 0.05}
    assert facts["training"] == training
    for model in models:
        for name, about in model.sidecar["files"].items():
            assert facts["files"][name]["sha256"] == about["sha256"]
            assert about["sha256"] in page


@pytest.mark.parametrize("fits", [True, False])
def test_it_says_if_clients_cannot_use_the_scorer_in_full(tmp_path: Path, fits: bool) -> None:
    measured = evaluation(tmp_path / "evaluation")
    scores = {**measured.scores, "headline": "cer", "decoder": {"scorer": {"units": "characters", "for_clients": fits}}}
    (measured.folder / Evaluation.SCORES).write_text(json.dumps(scores))
    sources = CardSources([exported(tmp_path / "model")], Evaluation.open(measured.folder))
    page, _ = card.write(CardSettings(), sources, tmp_path / "card")
    text = page.read_text()
    assert ("cannot use in full" in text) != fits
    assert "| set | clips | words | CER | WER |" in text
    assert "the CER is the rate to read" in text


def test_it_says_when_no_epoch_was_better_than_the_base(tmp_path: Path) -> None:
    base = {"checkpoint": "best_dev-720", "dev_loss": 2.2, "is_best": True}
    training = {"start": "fine-tuning best_dev-720", "epochs": 3, "best_dev_loss": 2.2, "base": base}
    for is_best in (True, False):
        base["is_best"] = is_best
        sources = CardSources([exported(tmp_path / str(is_best), training=training)])
        page = card.markdown(card.describe(CardSettings(), sources))
        assert "best_dev-720 had 2.2000 there before the training" in page.replace("\\", "")
        assert ("no epoch was better, so this is that model" in page) == is_best


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    (page, _) = card.write(CardSettings(), CardSources([exported(tmp_path / "model")]), tmp_path)
    text = page.read_text()
    assert front_matter(text)["runtime"] == "tensorflow"
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Model", "## Files", "## Licences"]


def test_scores_of_another_model(tmp_path: Path) -> None:
    sources = CardSources([exported(tmp_path / "model")], evaluation(tmp_path / "evaluation", Geometry(128, 4)))
    with pytest.raises(InputError, match="its scores are of another model"):
        card.write(CardSettings(), sources, tmp_path / "card")


def test_the_card_says_where_the_clips_come_from(tmp_path) -> None:
    made = corpus(tmp_path / "corpus")
    report = json.loads((made.folder / Corpus.REPORT).read_text())
    origins = [
        {"release": "cv-corpus-21.0-2025-03-14/cy", "date": "2025-03-14", "merged": {"imported": 900}},
        {"release": "own | voice", "license": "CC-BY-4.0", "merged": {"imported": 150}},
    ]
    (made.folder / Corpus.REPORT).write_text(json.dumps(report | {"origins": origins}))
    page, data = card.write(CardSettings(), CardSources([exported(tmp_path / "model")], None, made), tmp_path / "card")
    text = page.read_text()
    assert "| cv-corpus-21.0-2025-03-14/cy | 2025-03-14 |  | 900 |" in text
    assert r"| own \| voice |  | CC-BY-4.0 | 150 |" in text
    assert json.loads(data.read_text())["data"]["origins"] == origins
