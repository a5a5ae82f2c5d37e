"""Clips without votes, filtered by what the champion hears in them: wrong transcripts go, right ones stay."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.evaluate import step as evaluate
from components.evaluate.settings import EvaluateSettings
from components.export import step as export
from components.export.settings import ExportSettings
from components.import_cv import step as import_cv
from components.import_cv.settings import ImportSettings
from components.train import step as train
from components.train.settings import TrainSettings
from speech.artifacts import Evaluation, ExportedModel
from speech.clips.audio import wav_header
from tests.components.import_cv.conftest import Entry, write_release
from tests.fixtures.tones import speak, texts

pytestmark = pytest.mark.slow
DOUBTFUL = 40  # clips of other.tsv, every second one with another clip's transcript


def entries(name: str, said: list[str], seed: int) -> Iterator[Entry]:
    for number, text in enumerate(said):
        samples = speak(text, seed + number)
        data = wav_header(len(samples), 16_000) + samples.tobytes()
        yield Entry(f"{name}-{number}.wav", text, data, f"speaker {name} {number % 9}")


def test_wrong_transcripts_are_found(tmp_path: Path) -> None:
    said = [text for text in dict.fromkeys(texts(400, 5)) if len(text) > 3][: 180 + DOUBTFUL]
    other = list(entries("other", said[180:], 1000))
    wrong = {entry.path for entry in other[::2]}
    swapped = [entry.sentence for entry in [*other[2::2], other[0]]]
    for entry, sentence in zip(other[::2], swapped, strict=True):
        entry.sentence = sentence
    release = write_release(
        tmp_path / "xx",
        train=list(entries("train", said[:120], 0)),
        dev=list(entries("dev", said[120:150], 300)),
        test=list(entries("test", said[150:180], 600)),
        other=other,
    )
    first = import_cv.run(
        ImportSettings(sets=("train", "dev", "test", "other"), splits="release"), str(release), tmp_path / "first"
    )
    settings = TrainSettings(n_hidden=48, epochs=40, train_batch_size=8, learning_rate=0.01, dropout_rate=0.0)
    train.run_on_corpus(settings, first.folder, tmp_path / "checkpoint")
    model = export.freeze(ExportSettings(), tmp_path / "checkpoint", tmp_path / "model").folder
    heard = evaluate.run(
        EvaluateSettings(bootstrap_samples=0), model / ExportedModel.FROZEN, [first.csv("other")], tmp_path / "heard"
    )
    second = import_cv.run(
        ImportSettings(
            splits="release",
            train_sets=("train", "other"),
            other_heard=str(heard.folder / Evaluation.SAMPLES),
            previous=str(first.folder),
        ),
        str(release),
        tmp_path / "second",
    )
    kept = {Path(clip.wav_filename).name for clip in second.manifest("train")} & {entry.path for entry in other}
    right = {entry.path for entry in other} - wrong
    assert len(kept & right) >= 0.9 * len(right)
    assert len(kept & wrong) <= 0.1 * len(wrong)
    print(f"kept {len(kept & right)} of {len(right)} right, {len(kept & wrong)} of {len(wrong)} wrong")
