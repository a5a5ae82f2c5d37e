"""Checkpoint folders of ours and of the peers, complete and damaged."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files import alphabets
from speech.model_files.variables import BIAS, KERNEL, MOMENTS, initial_weights
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from speech.storage.files import write_json

GEOMETRY = Geometry(8, 4)


def make_snapshot(geometry: Geometry = GEOMETRY, step: int = 7) -> Snapshot:
    weights = initial_weights(geometry, 1)
    moments = {f"{name}/{moment}": np.full_like(value, 0.5) for name, value in weights.items() for moment in MOMENTS}
    return Snapshot(geometry, weights, moments, step, 0.002, 0.81, 0.998, {"epoch": 3})


def save_raw(prefix: str, tensors: dict[str, np.ndarray]) -> None:
    names = sorted(tensors)
    values = [tf.constant(tensors[name]) for name in names]
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)


def test_names_and_types_are_deepspeechs(tmp_path) -> None:
    prefix = snapshots.save(tmp_path, "train-7", make_snapshot())
    reader = tf.train.load_checkpoint(prefix)
    dtypes = reader.get_variable_to_dtype_map()
    assert dtypes.pop("speechmill/training_state") == tf.string
    assert dtypes.pop("global_step") == tf.int64
    assert set(dtypes.values()) == {tf.float32}
    layers = [f"layer_{n}/{kind}" for n in (1, 2, 3, 5, 6) for kind in ("weights", "bias")] + [KERNEL, BIAS]
    expected = {f"{name}{moment}" for name in layers for moment in ("", "/Adam", "/Adam_1")}
    assert set(dtypes) == expected | {"beta1_power", "beta2_power", "learning_rate"}
    assert reader.get_variable_to_shape_map()["layer_6/weights"] == [8, 5]
    assert reader.get_variable_to_shape_map()["beta1_power"] == []


@pytest.mark.parametrize("geometry", [GEOMETRY, Geometry(12, 29, layer_norm=True), Geometry(8, 255)])
def test_geometry_comes_from_the_checkpoint(tmp_path, geometry: Geometry) -> None:
    loaded = snapshots.load(snapshots.save(tmp_path, "train-7", make_snapshot(geometry)))
    assert loaded.geometry == geometry
    assert (loaded.global_step, loaded.learning_rate) == (7, pytest.approx(0.002))
    assert loaded.missing_moments == []


def test_windows_and_rates_come_from_the_sidecars(tmp_path) -> None:
    geometry = replace(GEOMETRY, audio_sample_rate=8000, feature_win_len=40)
    prefix = snapshots.save(tmp_path, "train-7", make_snapshot())
    write_json(tmp_path / Checkpoint.FLAGS, {"n_hidden": 8, "audio_sample_rate": 8000, "feature_win_len": 40})
    assert snapshots.load(prefix).geometry == geometry
    write_json(tmp_path / Checkpoint.MODEL, {"geometry": {"audio_sample_rate": 44_100}})
    assert snapshots.load(prefix).geometry.audio_sample_rate == 44_100
    (tmp_path / Checkpoint.MODEL).unlink()
    (tmp_path / Checkpoint.FLAGS).write_text("--n_hidden=8\n--train_cudnn=true\n")  # as DeepSpeech writes it
    assert snapshots.load(prefix).geometry == GEOMETRY


def test_release_checkpoint_trained_with_cudnn(tmp_path) -> None:
    """No LSTM moments, opaque cuDNN tensors instead, no learning_rate, no alphabet.txt."""
    snapshot = make_snapshot()
    tensors = {**snapshot.weights, "global_step": np.array(9, np.int64)}
    tensors |= {name: value for name, value in snapshot.moments.items() if not name.startswith("cudnn_lstm/")}
    tensors |= {f"cudnn_lstm/opaque_kernel{m}": np.zeros(40, np.float32) for m in ("", "/Adam", "/Adam_1")}
    tensors |= {"beta1_power": np.array(0.5, np.float32), "beta2_power": np.array(0.9, np.float32)}
    save_raw(str(tmp_path / "best_dev-9"), tensors)
    loaded = snapshots.load(snapshots.find(tmp_path)[0])
    assert loaded.learning_rate is None
    assert loaded.missing_moments == [f"{name}/{moment}" for name in (KERNEL, BIAS) for moment in MOMENTS]
    assert alphabets.of_checkpoint(loaded.prefix, loaded.geometry) is None


def test_find_follows_the_state_files(tmp_path) -> None:
    for name in ("train-1", "train-2", "best_dev-1"):
        snapshots.save(tmp_path, name, make_snapshot())
    snapshots.write_state(tmp_path, Checkpoint.LAST, ["train-1", "train-2"])
    snapshots.write_state(tmp_path, Checkpoint.BEST, ["best_dev-1"])
    at = [str(tmp_path / name) for name in ("train-2", "train-1", "best_dev-1")]
    assert snapshots.find(tmp_path, "last") == at[:2]
    assert snapshots.find(tmp_path, "best") == at[2:]
    assert snapshots.find(tmp_path, "auto") == [at[2], *at[:2]]


def test_state_files_with_paths_of_another_machine(tmp_path) -> None:
    prefix = snapshots.save(tmp_path, "best_dev-1", make_snapshot())
    (tmp_path / Checkpoint.BEST).write_text('model_checkpoint_path: "/home/ci/ckpt/best_dev-1"\n')
    assert snapshots.find(tmp_path, "best") == [prefix]


def test_folder_without_state_files(tmp_path) -> None:
    for name in ("train-9", "train-10"):
        snapshots.save(tmp_path, name, make_snapshot())
    assert [prefix.rsplit("/", 1)[1] for prefix in snapshots.find(tmp_path)] == ["train-10", "train-9"]


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_falls_back(tmp_path, suffix: str, damage: str) -> None:
    for name in ("train-1", "train-2"):
        snapshots.save(tmp_path, name, make_snapshot(step=int(name[-1])))
    path = tmp_path / f"train-2{suffix}"
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        content[len(content) // 2] ^= 0x55
        path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    snapshot, problems = snapshots.load_first([str(tmp_path / "train-2"), str(tmp_path / "train-1")])
    assert snapshot.global_step == 1
    assert len(problems) == 1
    assert "train-2" in problems[0]
    assert "\n" not in problems[0]


def test_other_networks_and_empty_folders(tmp_path) -> None:
    with pytest.raises(InputError, match="no checkpoint in it"):
        snapshots.find(tmp_path)
    save_raw(str(tmp_path / "x-1"), {"dense/kernel": np.zeros((2, 2), np.float32)})
    with pytest.raises(InputError, match="not a DeepSpeech checkpoint"):
        snapshots.load(str(tmp_path / "x-1"))
    tensors = dict(initial_weights(GEOMETRY, 1))
    tensors["layer_3/weights"] = np.zeros((3, 3), np.float32)
    save_raw(str(tmp_path / "y-1"), tensors)
    with pytest.raises(InputError, match=r"layer_3/weights has the shape \[3, 3\], expected \[8, 8\]"):
        snapshots.load(str(tmp_path / "y-1"))


def test_the_alphabet_beside_a_bundle(tmp_path) -> None:
    Alphabet((" ", "a")).save(tmp_path / ALPHABET)
    assert alphabets.of_checkpoint(tmp_path / "train-1", GEOMETRY) == Alphabet((" ", "a"))
    write_json(tmp_path / Checkpoint.FLAGS, {"bytes_output_mode": True})
    assert alphabets.of_checkpoint(tmp_path / "train-1", Geometry(8, 255)) == Alphabet.bytes_output_mode()


def test_what_is_loaded_does_not_change_with_its_file(tmp_path) -> None:
    prefix = snapshots.save(tmp_path, "train-7", make_snapshot())
    loaded = snapshots.load(prefix)
    assert loaded.training_state == {"epoch": 3}
    assert snapshots.read_training_state(prefix) == {"epoch": 3}
    data = tmp_path / "train-7.data-00000-of-00001"
    data.write_bytes(bytes(data.stat().st_size))
    for name, value in make_snapshot().weights.items():
        np.testing.assert_array_equal(loaded.weights[name], value)
    assert snapshots.read_training_state(prefix) is None
