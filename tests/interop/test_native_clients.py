"""The native client of DeepSpeech 0.9.3 hears the same from every format that we export."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.export import step as export
from components.export.settings import ExportSettings
from components.train import step as train
from components.train.settings import TrainSettings
from speech.audio import ClipReader
from speech.decoding.greedy import best_path
from speech.manifest import read_manifest
from speech.nn.frozen import FrozenModel
from tests.peers.environments import Peer


@pytest.fixture(scope="module")
def model(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt the tones, exported."""
    checkpoint, folder = tmp_path_factory.mktemp("checkpoint"), tmp_path_factory.mktemp("model")
    settings = TrainSettings(n_hidden=64, epochs=40, train_batch_size=4, learning_rate=0.005, dropout_rate=0.0)
    train.run(settings, [tones / "train.csv"], [tones / "dev.csv"], checkpoint)
    export.freeze(ExportSettings(), checkpoint, folder)
    export.convert_mmap(folder, folder)
    return folder


def test_frozen_and_mapped_say_the_same_in_deepspeech(peer: Callable[[str], Peer], model: Path, tones: Path) -> None:
    manifest = read_manifest(tones / "dev.csv")
    wavs = [str(manifest.resolve(clip.wav_filename)) for clip in manifest]
    client = peer("deepspeech")
    answers = {
        name: client.drive("native_client", "--model", model / name, "--chunk_samples", "320", "--wavs", *wavs)
        for name in ("output_graph.pb", "output_graph.pbmm")
    }
    texts = {name: [clip["text"] for clip in answer["clips"]] for name, answer in answers.items()}
    assert texts["output_graph.pb"] == texts["output_graph.pbmm"]
    frozen, reader = FrozenModel.load(model / "output_graph.pb"), ClipReader(manifest, 16_000)
    ours = [best_path(frozen.emissions(reader.samples(clip)), frozen.alphabet) for clip in manifest]
    assert texts["output_graph.pb"] == ours == [clip.transcript for clip in manifest]
    for answer in answers.values():
        assert (answer["sample_rate"], answer["beam_width"]) == (16_000, 500)
        assert [clip["streamed"] for clip in answer["clips"]] == ours
