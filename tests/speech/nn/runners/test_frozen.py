"""The frozen graph in TensorFlow's session, and its weights in batches: the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from speech import model_files
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files import memmapped_file
from speech.nn.features import batch_features
from speech.nn.runners.checkpoint_model import BatchedModel, padded
from speech.nn.runners.frozen import FrozenModel
from tests.components.evaluate.conftest import GEOMETRY, LETTERS, write_frozen
from tests.fixtures.tones import speak
from tests.speech.nn.test_model import random_weights


def open_frozen(path: Path) -> FrozenModel:
    return FrozenModel(model_files.open(path))


def clips() -> list[np.ndarray]:
    return [speak("ab", 1), speak("dacbdcbda", 2), speak("c", 3)[:900], speak("a", 4)[:300]]


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("n_steps", [1, 16])
def test_batches_and_streaming_agree(tmp_path: Path, layer_norm: bool, n_steps: int) -> None:
    geometry = Geometry(20, len(LETTERS), layer_norm=layer_norm)
    path = write_frozen(tmp_path / "g.pb", geometry, n_steps=n_steps)
    frozen, batched = open_frozen(path), BatchedModel(geometry, random_weights(geometry))
    for samples, emissions, streamed in zip(
        clips(), batched.emissions(clips()), frozen.emissions(clips()), strict=True
    ):
        assert emissions.shape == (geometry.n_frames(len(samples)), geometry.n_classes)
        np.testing.assert_allclose(streamed, emissions, atol=1e-5)
        np.testing.assert_allclose(emissions.sum(axis=1), 1.0, atol=1e-5)
    assert np.ptp(emissions_of(frozen), axis=0).max() > 0.05  # the outputs do depend on the sound


def emissions_of(frozen: FrozenModel) -> np.ndarray:
    return frozen.emissions(clips()[1:2])[0]


def test_features_of_the_graph_are_those_of_training(tmp_path: Path) -> None:
    frozen = open_frozen(write_frozen(tmp_path / "g.pb"))
    for samples in clips()[:3]:
        expected = batch_features(samples[np.newaxis], np.array([len(samples)], np.int32), GEOMETRY)[0]
        np.testing.assert_allclose(frozen.mfccs(samples), expected[0], atol=2e-3)


def test_a_memory_mapped_graph_is_the_same_model(tmp_path: Path) -> None:
    plain = write_frozen(tmp_path / "g.pb")
    memmapped_file.convert(plain, tmp_path / "g.pbmm")
    assert np.array_equal(emissions_of(open_frozen(plain)), emissions_of(open_frozen(tmp_path / "g.pbmm")))
    weights = model_files.open(tmp_path / "g.pbmm").weights
    assert all(np.array_equal(weights[name], value) for name, value in random_weights(GEOMETRY).items())


def test_damaged_files_are_named(tmp_path: Path) -> None:
    content = write_frozen(tmp_path / "g.pb").read_bytes()
    (tmp_path / "short.pb").write_bytes(content[: len(content) // 2])
    for name in ("short.pb", "absent.pb"):
        with pytest.raises(InputError, match=name):
            open_frozen(tmp_path / name)


def test_clips_without_a_frame() -> None:
    model = BatchedModel(GEOMETRY, random_weights(GEOMETRY))
    assert [len(emissions) for emissions in model.emissions([np.zeros(0, np.int16), np.zeros(511, np.int16)])] == [0, 0]
    assert model.emissions([]) == []
    batch, lengths = padded([np.array([1, 2], np.int16), np.array([3], np.int16)])
    assert batch.tolist() == [[1, 2], [3, 0]]
    assert lengths.tolist() == [2, 1]


def test_a_graph_that_reaches_beyond_itself_is_refused(tmp_path: Path) -> None:
    """A graph is a program: this one would read a file of ours, whatever else it computes."""
    definition = tf.compat.v1.GraphDef.FromString(write_frozen(tmp_path / "g.pb").read_bytes())
    node = definition.node.add(name="secret", op="ReadFile", input=["name"])
    definition.node.add(name="name", op="Const")
    (tmp_path / "g.pb").write_bytes(definition.SerializeToString())
    with pytest.raises(InputError, match=f"'{node.name}' is a ReadFile"):
        open_frozen(tmp_path / "g.pb")
