"""--one_shot_infer: the text that the decoder makes of the training graph's emissions."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.train import step
from components.train.peers.one_shot import transcribe
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.clips.manifest import read_manifest
from speech.decoding.greedy import best_path
from speech.errors import InputError
from speech.nn import snapshots
from speech.nn.batches import ClipSet, stream
from speech.nn.model import AcousticModel


@pytest.fixture(scope="module")
def trained(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that has learned the tones well enough to be sure of them."""
    folder = tmp_path_factory.mktemp("trained")
    settings = TrainSettings(
        n_hidden=48, epochs=60, train_batch_size=8, learning_rate=0.01, dropout_rate=0.0, random_seed=3
    )
    step.run(settings, [tones / "train.csv"], [tones / "dev.csv"], folder)
    return folder


def test_what_the_graph_hears(trained: Path, tones: Path) -> None:
    bundle = snapshots.load(snapshots.find(trained, "best")[0])
    alphabet = Alphabet.load(tones / "alphabet.txt")
    model = AcousticModel(bundle.geometry, bundle.weights, trainable=False)
    manifest = read_manifest(tones / "train.csv")
    clips = ClipSet([manifest], alphabet, bundle.geometry)
    said = []
    for position in range(4):
        (batch,) = stream(clips, [np.array([position])])
        emissions = tf.nn.softmax(model.logits(batch.features)[:, 0]).numpy()
        name = manifest.resolve(manifest.clips[position].wav_filename)
        heard = transcribe(name, trained, beam_width=1)
        assert heard == best_path(emissions, alphabet)
        said.append(transcribe(name, trained) == manifest.clips[position].transcript)
    assert any(said)


def test_what_is_missing(trained: Path, tones: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(InputError, match=r"a\.wav: not readable as audio"):
        transcribe(tmp_path / "a.wav", trained)
    with pytest.raises(InputError, match="checkpoint"):
        transcribe(tones / "train-0.wav", tmp_path)
    with pytest.raises(InputError, match="no such scorer"):
        transcribe(tones / "train-0.wav", trained, scorer_path=str(tmp_path / "none.scorer"))
