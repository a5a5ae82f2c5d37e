"""The same model out of every kind of file, and one clear line for what is no such model."""

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.weights import SourceModel, load
from tests.components.convert_openvino.conftest import GEOMETRY
from tests.components.convert_openvino.models import ALPHABET, make_weights, write_frozen


def assert_is_the_model(model: SourceModel, geometry: Geometry = GEOMETRY) -> None:
    weights = make_weights(geometry)
    assert (model.geometry, model.alphabet) == (geometry, ALPHABET)
    for name, value in weights.items():
        assert np.array_equal(model.weights[name], value), name


def save_checkpoint(folder: Path, geometry: Geometry = GEOMETRY, **others: np.ndarray) -> Path:
    import tensorflow as tf

    tensors = {**make_weights(geometry), **others}
    folder.mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(folder / "best_dev-7"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return folder


def test_frozen_and_memory_mapped(frozen: Path, mapped: Path) -> None:
    assert_is_the_model(load(frozen))
    assert_is_the_model(load(mapped))


def test_an_exported_models_folder(frozen: Path, tmp_path: Path) -> None:
    shutil.copy(frozen, tmp_path / "output_graph.pb")
    assert_is_the_model(load(tmp_path))


def test_other_geometry_and_layer_normalisation(tmp_path: Path) -> None:
    geometry = replace(GEOMETRY, n_hidden=24, layer_norm=True, n_context=3, relu_clip=5.0, feature_win_step=10)
    path = write_frozen(tmp_path / "graph.pb", make_weights(geometry), geometry)
    assert_is_the_model(load(path), geometry)


def test_checkpoint_by_folder_prefix_and_index(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint", **{"cudnn_lstm/opaque_kernel": np.zeros(3, np.float32)})
    assert_is_the_model(load(folder))  # 28 labels and no alphabet, as in the English releases
    other = save_checkpoint(tmp_path / "other", replace(GEOMETRY, n_labels=30))
    with pytest.raises(InputError, match="alphabet_config_path"):
        load(other)
    ALPHABET.save(tmp_path / "elsewhere.txt")
    assert_is_the_model(load(folder, str(tmp_path / "elsewhere.txt")))
    ALPHABET.save(folder / "alphabet.txt")
    assert_is_the_model(load(folder))
    assert_is_the_model(load(folder / "best_dev-7"))
    assert_is_the_model(load(folder / "best_dev-7.index"))
    assert load(folder).origin == "best_dev-7"


def write_tflite(path: Path, geometry: Geometry, *, quantize: bool) -> Path:
    """What the export step makes of the model."""
    from components.export import tflite

    metadata: dict[str, np.ndarray] = {
        f"metadata_{name}": np.array([value], np.int32)
        for name, value in {
            "version": 6,
            "sample_rate": geometry.audio_sample_rate,
            "feature_win_len": geometry.feature_win_len,
            "feature_win_step": geometry.feature_win_step,
            "beam_width": 500,
        }.items()
    }
    metadata["metadata_alphabet"] = np.array([ALPHABET.serialize()], object)
    tflite.write(path, make_weights(geometry), geometry, metadata, 16, quantize)
    return path


def test_tflite(tmp_path: Path) -> None:
    geometry = replace(GEOMETRY, relu_clip=7.0, n_context=3, feature_win_step=10)
    assert_is_the_model(load(write_tflite(tmp_path / "a.tflite", geometry, quantize=False)), geometry)
    assert "a quantized TFLite model" in refusal(write_tflite(tmp_path / "q.tflite", geometry, quantize=True))
    normalised = replace(geometry, layer_norm=True)
    assert "layer-normalised" in refusal(write_tflite(tmp_path / "n.tflite", normalised, quantize=False))


def refusal(path: Path, alphabet: str = "") -> str:
    with pytest.raises(InputError) as error:
        load(path, alphabet)
    message = str(error.value)
    assert "\n" not in message
    assert str(path.with_suffix("")) in message
    return message


def test_wrong_files(frozen: Path, mapped: Path, tmp_path: Path) -> None:
    wrong_name = tmp_path / "called.pb"
    shutil.copy(mapped, wrong_name)
    assert "call it .pbmm" in refusal(wrong_name)
    plain = tmp_path / "called.pbmm"
    shutil.copy(frozen, plain)
    assert "not memory-mapped" in refusal(plain)
    short = tmp_path / "short.pb"
    short.write_bytes(frozen.read_bytes()[:-100_000])
    assert "cut short" in refusal(short)
    empty = tmp_path / "empty.pb"
    empty.touch()
    assert "empty" in refusal(empty)
    text = tmp_path / "text.pb"
    text.write_text("node { name: 'x' }\n")
    assert "text file" in refusal(text)
    assert "No such file" in refusal(tmp_path / "missing.pb")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "no checkpoint" in refusal(folder)
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(struct.pack("<I", 1 << 30) + b"TFL3" + bytes(100))
    assert "damaged" in refusal(damaged)


def test_unfrozen_and_other_networks(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.compat.v1.get_variable("layer_1/weights", [4, 4])
    unfrozen = tmp_path / "unfrozen.pb"
    unfrozen.write_bytes(graph.as_graph_def().SerializeToString())
    assert "not frozen" in refusal(unfrozen)
    with tf.Graph().as_default() as graph:
        tf.matmul(tf.compat.v1.placeholder(tf.float32, [1, 2]), tf.constant([[1.0], [2.0]]), name="logits")
    other = tmp_path / "other.pb"
    other.write_bytes(graph.as_graph_def().SerializeToString())
    assert "lacks the node" in refusal(other)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    weights = make_weights(GEOMETRY)
    weights["layer_2/weights"][3, 3] = np.nan
    assert "not finite" in refusal(write_frozen(tmp_path / "nan.pb", weights, GEOMETRY))


def test_an_alphabet_of_another_model(frozen: Path, tmp_path: Path) -> None:
    Alphabet((" ", "a", "b")).save(tmp_path / "short.txt")
    assert "3 symbols, but the model has 28 labels" in refusal(frozen, str(tmp_path / "short.txt"))


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.raw_ops.SaveV2(prefix=str(tmp_path / "other"), tensor_names=["v"], shape_and_slices=[""], tensors=[[1.0]])
    assert "not a DeepSpeech checkpoint" in refusal(tmp_path / "other.index")
