"""Error rates of the dev sets, beside a slow way to the same."""

from pathlib import Path

import numpy as np
import pytest

from components.train.validation import Scores, Validator
from speech.alphabet import Alphabet
from speech.clips.manifest import read_manifest
from speech.decoding.greedy import best_path
from speech.geometry import Geometry
from speech.metrics import ErrorCount, character_errors, word_errors
from speech.model_files.variables import initial_weights
from speech.nn.batches import ClipSet, Worker, stream
from speech.nn.dropout import DropoutRates
from speech.nn.plans import BatchSize, plan_sorted
from speech.nn.snapshots import Snapshot
from speech.nn.training import Adam, Trainer


@pytest.fixture(scope="module")
def sets(tones: Path) -> list[ClipSet]:
    alphabet = Alphabet.load(tones / "alphabet.txt")
    return [
        ClipSet([read_manifest(tones / f"{name}.csv")], alphabet, Geometry(24, len(alphabet)))
        for name in ("dev", "train")
    ]


def trainer(sets: list[ClipSet]) -> Trainer:
    """Weights that hear something: the untrained output layer, ten times as sure."""
    geometry = sets[0].geometry
    weights = initial_weights(geometry, 1)
    weights["layer_6/weights"] = weights["layer_6/weights"] * 10
    return Trainer(Snapshot(geometry, weights), Adam(), DropoutRates(), 0.1, 1)


def test_rates_are_those_of_each_clip_decoded_by_itself(sets: list[ClipSet]) -> None:
    model = trainer(sets)
    found = Validator(model, Worker(), lambda clips: None, show_progressbar=False).measure(sets, "validation")
    words, characters, losses = ErrorCount(0, 0), ErrorCount(0, 0), []
    for clips in sets:
        for batch in stream(clips, plan_sorted(clips.n_frames, BatchSize(1))):
            heard = best_path(model.model.logits(batch.features).numpy()[:, 0], clips.alphabet)
            reference = clips.transcript(int(batch.clips[0]))
            words += word_errors(reference, heard)
            characters += character_errors(reference, " ".join(heard.split()))
            losses.append(model.heard(batch).losses[0])
    assert found.wer == words.rate
    assert found.cer == characters.rate
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.cer > 0


def test_ranks() -> None:
    one, two = Scores(1.0, 0.5, 0.2), Scores(2.0, 0.5, 0.1)
    assert one.rank("loss") < two.rank("loss")
    assert two.rank("wer") < one.rank("wer")
    assert two.rank("cer") < one.rank("cer")
    assert Scores(1.0, 0.4, 0.3).rank("wer") < two.rank("wer")
    assert Scores.from_record(one.as_record()) == one
