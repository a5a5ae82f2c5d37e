"""TFLite models in TensorFlow's interpreter."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from speech import model_files
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.variables import NoFloatWeights
from speech.nn.runners.checkpoint_model import BatchedModel
from speech.nn.runners.tflite_model import TFLiteModel
from tests.components.evaluate.conftest import LETTERS
from tests.fixtures.tflite_model import write_tflite
from tests.fixtures.tones import speak
from tests.speech.nn.test_model import random_weights

GEOMETRY = Geometry(n_hidden=40, n_labels=len(LETTERS))
CLIPS = [speak("ab", 1), speak("dacbdcbda", 2), speak("a", 4)[:300]]


def open_tflite(path: Path) -> TFLiteModel:
    return TFLiteModel(model_files.open(path))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    folder, weights = tmp_path_factory.mktemp("tflite"), random_weights(GEOMETRY)
    return {
        quantize: write_tflite(folder / f"{quantize}.tflite", GEOMETRY, weights, LETTERS, n_steps=8, quantize=quantize)
        for quantize in (False, True)
    }


def test_float_model_and_its_weights_are_the_network(models: dict[bool, Path]) -> None:
    model = model_files.open(models[False])
    assert (model.geometry, model.alphabet, model.n_steps) == (GEOMETRY, LETTERS, 8)
    expected = BatchedModel(GEOMETRY, random_weights(GEOMETRY)).emissions(CLIPS)
    for ours, theirs in zip(expected, TFLiteModel(model).emissions(CLIPS), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=2e-5)
    for name, value in random_weights(GEOMETRY).items():
        np.testing.assert_array_equal(model.weights[name], value)


def test_quantized_model_has_no_float_weights_and_about_the_same_output(models: dict[bool, Path]) -> None:
    model = model_files.open(models[True])
    assert model.geometry == GEOMETRY
    with pytest.raises(NoFloatWeights, match="a quantized TFLite model"):
        _ = model.weights
    assert models[True].stat().st_size < models[False].stat().st_size / 2
    exact = open_tflite(models[False]).emissions(CLIPS)
    found = TFLiteModel(model).emissions(CLIPS)
    assert [emissions.shape for emissions in found] == [emissions.shape for emissions in exact]
    difference = np.abs(np.concatenate(exact) - np.concatenate(found))
    assert 1e-4 < difference.mean() < 0.02


def test_layer_normalisation_is_not_taken_for_plain_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fixtures import tflite_model

    plain = tflite_model.tf.minimum
    normalise = lambda x: x * tflite_model.tf.math.rsqrt(tflite_model.tf.reduce_mean(x * x, 1, keepdims=True) + 1e-6)  # noqa: E731
    monkeypatch.setattr(tflite_model.tf, "minimum", lambda x, clip: normalise(plain(x, clip)))
    path = write_tflite(tmp_path / "m.tflite", GEOMETRY, random_weights(GEOMETRY), LETTERS, n_steps=2, quantize=False)
    with pytest.raises(NoFloatWeights, match="layer-normalised"):
        _ = model_files.open(path).weights


def test_damaged_and_foreign_files_are_named(models: dict[bool, Path], tmp_path: Path) -> None:
    content = models[False].read_bytes()
    for name, data in (("short", content[:2000]), ("empty", b""), ("text", b"hello" * 100)):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(data)
        with pytest.raises(InputError, match=f"{name}.tflite"):
            open_tflite(path)
    with pytest.raises(InputError, match="no such file"):
        open_tflite(tmp_path / "absent.tflite")
    import tensorflow as tf

    function = tf.function(lambda x: x * 2, input_signature=[tf.TensorSpec([3], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    (tmp_path / "other.tflite").write_bytes(converter.convert())
    with pytest.raises(InputError, match="it has no input_node"):
        open_tflite(tmp_path / "other.tflite")


def test_an_alphabet_of_another_size_is_named(tmp_path: Path) -> None:
    from speech.alphabet import Alphabet

    path = write_tflite(
        tmp_path / "m.tflite", GEOMETRY, random_weights(GEOMETRY), Alphabet((" ", "a")), n_steps=1, quantize=False
    )
    with pytest.raises(InputError, match="2 symbols, but the model has 5 labels"):
        open_tflite(path)


def damaged(content: bytes, seed: int) -> bytes:
    """Some bytes overwritten, most of them in the tables at the front."""
    numbers, data = np.random.default_rng(seed), bytearray(content)
    for _ in range(int(numbers.choice([1, 4, 40]))):
        at = int(numbers.integers(0, len(data) if numbers.random() < 0.3 else 12_000))
        data[at] = int(numbers.integers(0, 256))
    return bytes(data)


@pytest.mark.parametrize("seed", [*range(10), 178, 229])  # the last two crash TensorFlow Lite 2.21
def test_a_damaged_file_never_ends_the_process(seed: int, models: dict[bool, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(damaged(models[False].read_bytes(), seed))
    with contextlib.suppress(InputError):
        open_tflite(path)
