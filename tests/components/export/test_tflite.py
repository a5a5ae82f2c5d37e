"""The TFLite file: its numbers in TensorFlow Lite's interpreter, and what runtimes of 2020 demand of its structure."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tensorflow.lite.python import schema_py_generated as schema

from components.export import tflite
from speech import model_files
from speech.alphabet import Alphabet
from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL
from speech.nn.model import AcousticModel
from speech.nn.runners.tflite_model import TFLiteModel
from tests.speech.nn.test_model import random_weights

# The newest version of each operator that the runtimes of both clients have (TensorFlow Lite 2.3).
NEWEST = {
    "ADD": 2, "CONCATENATION": 2, "CUSTOM": 1, "FULLY_CONNECTED": 9, "LOGISTIC": 2, "MEAN": 2, "MINIMUM": 2, "MUL": 4,
    "RESHAPE": 1, "RSQRT": 1, "SOFTMAX": 2, "SPLIT": 4, "SQUARED_DIFFERENCE": 1, "SUB": 4, "TANH": 2,
}  # fmt: skip
METADATA = {
    "metadata_version": 6,
    "metadata_sample_rate": 16_000,
    "metadata_feature_win_len": 32,
    "metadata_feature_win_step": 20,
    "metadata_beam_width": 321,
}


def alphabet_of(size: int) -> Alphabet:
    return Alphabet((" ", *(chr(0x100 + k) for k in range(size - 1))))


def write(path: Path, geometry: Geometry, n_steps: int = 16, quantize: bool = False) -> dict[str, np.ndarray]:
    weights = random_weights(geometry)
    metadata = {name: np.array([value], np.int32) for name, value in METADATA.items()}
    metadata["metadata_alphabet"] = np.array([alphabet_of(geometry.n_labels).serialize()], object)
    metadata["metadata_language"] = np.array([b"cy"], object)
    tflite.write(path, weights, geometry, metadata, n_steps, quantize)
    return weights


def clip(seconds: float = 1.1) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 3000, int(seconds * 16_000)).astype(np.int16)


def probabilities(weights: dict[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    from speech.features.mfcc import mfcc

    model = AcousticModel(geometry, weights, trainable=False)
    return tf.nn.softmax(model.logits(mfcc(clip(), geometry)[np.newaxis])).numpy()[:, 0]


@pytest.mark.parametrize(
    ("geometry", "n_steps"),
    [
        (Geometry(64, 29), 16),
        (Geometry(48, 5, layer_norm=True), 1),
        (Geometry(40, 200), 32),
        (Geometry(32, 255), 16),
        (Geometry(32, 29, relu_clip=0.5), 3),
    ],
)
def test_float_models_compute_what_the_checkpoint_does(tmp_path: Path, geometry: Geometry, n_steps: int) -> None:
    weights = write(tmp_path / "m.tflite", geometry, n_steps)
    model = model_files.open(tmp_path / "m.tflite")
    assert model.geometry == geometry
    assert (model.n_steps, model.alphabet) == (n_steps, alphabet_of(geometry.n_labels))
    np.testing.assert_allclose(TFLiteModel(model).emissions([clip()])[0], probabilities(weights, geometry), atol=1e-5)


@pytest.mark.parametrize("geometry", [Geometry(64, 29), Geometry(48, 5, layer_norm=True)])
def test_int8_models_compute_about_that(tmp_path: Path, geometry: Geometry) -> None:
    weights = write(tmp_path / "m.tflite", geometry, quantize=True)
    rounded = dict(weights)
    for name, value in weights.items():
        if value.size >= 1024 and value.ndim == 2:
            steps, scale = tflite.quantized(value)
            rounded[name] = steps.astype(np.float32) * np.float32(scale)
    (found,) = TFLiteModel(model_files.open(tmp_path / "m.tflite")).emissions([clip()])
    # What is left is the rounding of the activations, which the runtime does as it goes.
    assert np.abs(found - probabilities(rounded, geometry)).max() < 0.1
    assert np.abs(found - probabilities(weights, geometry)).mean() < 0.01


@given(arrays(np.float32, (3, 5), elements=st.floats(-8, 8, width=32)))
def test_quantization(matrix: np.ndarray) -> None:
    values, scale = tflite.quantized(matrix)
    assert values.dtype == np.int8
    assert values.min() >= -127
    assert np.abs(values * np.float64(scale) - matrix).max() <= 0.5001 * scale + 1e-7
    if matrix.any():
        assert np.abs(values).max() == 127


def read(path: Path) -> SimpleNamespace:
    """The file by TensorFlow's own reader."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    (graph,) = model.subgraphs
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    codes = [(names[code.builtinCode], code.version, code.customCode) for code in model.operatorCodes]
    assert [code.deprecatedBuiltinCode for code in model.operatorCodes] == [c.builtinCode for c in model.operatorCodes]
    return SimpleNamespace(
        model=model,
        graph=graph,
        names=[tensor.name.decode() for tensor in graph.tensors],
        operators=[(*codes[operator.opcodeIndex], operator) for operator in graph.operators],
    )


def test_what_clients_look_up(tmp_path: Path) -> None:
    write(tmp_path / "m.tflite", Geometry(16, 5))
    file = read(tmp_path / "m.tflite")
    given = [file.names[number] for number in file.graph.inputs]
    made = [file.names[number] for number in file.graph.outputs]
    assert (tmp_path / "m.tflite").read_bytes()[4:8] == b"TFL3"
    assert given == ["input_node", "previous_state_c", "previous_state_h", "input_samples"]
    assert made == [
        *("logits", "new_state_c", "new_state_h", "mfccs", "Minimum_2", "Minimum_3"),
        *METADATA,
        *("metadata_alphabet", "metadata_language"),
    ]
    shapes = {file.names[i]: file.graph.tensors[i].shape.tolist() for i in (*file.graph.inputs, *file.graph.outputs)}
    assert shapes["input_node"] == [1, 16, 19, 26]
    assert shapes["logits"] == [16, 6]
    assert shapes["new_state_c"] == shapes["previous_state_h"] == [1, 16]
    assert len(set(file.names)) == len(file.names)


def test_every_output_has_an_operator_and_it_is_old_enough(tmp_path: Path) -> None:
    write(tmp_path / "m.tflite", Geometry(64, 5, layer_norm=True), quantize=True)
    file = read(tmp_path / "m.tflite")
    made_by = {number: kind for kind, _, _, operator in file.operators for number in operator.outputs}
    assert all(number in made_by for number in file.graph.outputs)
    assert {made_by[n] for n in file.graph.outputs if file.names[n].startswith("metadata_")} == {"RESHAPE"}
    for kind, version, _, _ in file.operators:
        assert version <= NEWEST[kind], kind
    connected = [
        (version, operator.builtinOptions) for kind, version, _, operator in file.operators if kind == "FULLY_CONNECTED"
    ]
    # The output layer's matrix has 6 x 64 elements: too small to be rounded.
    assert [version for version, _ in connected] == [3] * (len(connected) - 1) + [1]
    assert not any(options.asymmetricQuantizeInputs or options.keepNumDims for _, options in connected)


def test_metadata(tmp_path: Path) -> None:
    write(tmp_path / "m.tflite", Geometry(16, 5))
    interpreter = tf.lite.Interpreter(str(tmp_path / "m.tflite"))
    interpreter.allocate_tensors()
    interpreter.invoke()
    found = {
        detail["name"]: interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_output_details()
        if detail["name"].startswith("metadata_")
    }
    assert found.pop("metadata_alphabet").tolist() == [alphabet_of(5).serialize()]
    assert found.pop("metadata_language").tolist() == [b"cy"]
    assert {name: value.tolist() for name, value in found.items()} == {name: [n] for name, n in METADATA.items()}


def test_the_features_options(tmp_path: Path) -> None:
    write(tmp_path / "m.tflite", Geometry(16, 5, audio_sample_rate=8000))
    custom = {name: op.customOptions for _, _, name, op in read(tmp_path / "m.tflite").operators if name}
    assert flexbuffers.Loads(custom[b"AudioSpectrogram"].tobytes()) == {
        "window_size": 256,
        "stride": 160,
        "magnitude_squared": True,
    }
    assert flexbuffers.Loads(custom[b"Mfcc"].tobytes()) == {
        "upper_frequency_limit": 4000.0,
        "lower_frequency_limit": 20.0,
        "filterbank_channel_count": 40,
        "dct_coefficient_count": 26,
    }


@pytest.mark.parametrize("quantize", [False, True])
def test_weights_are_stored_once_and_aligned(tmp_path: Path, quantize: bool) -> None:
    geometry = Geometry(32, 5)
    weights = write(tmp_path / "m.tflite", geometry, 32, quantize)
    file, data = read(tmp_path / "m.tflite"), (tmp_path / "m.tflite").read_bytes()
    stored = {file.names[i]: tensor for i, tensor in enumerate(file.graph.tensors) if tensor.buffer}
    kernel = stored[KERNEL]
    assert kernel.type == (schema.TensorType.INT8 if quantize else schema.TensorType.FLOAT32)
    users = [op for _, _, _, op in file.operators if any(file.names[i] == KERNEL for i in op.inputs if i >= 0)]
    assert len(users) == 32
    assert stored[BIAS].type == schema.TensorType.FLOAT32
    assert len(data) < sum(value.size for value in weights.values()) * (1.3 if quantize else 4) + 90_000
    if quantize:
        values, scale = tflite.quantized(weights[KERNEL].T)
        content = file.model.buffers[kernel.buffer].data.tobytes()
        np.testing.assert_array_equal(np.frombuffer(content, np.int8).reshape(values.shape), values)
        assert kernel.quantization.scale.tolist() == [np.float32(scale)]
        assert kernel.quantization.zeroPoint.tolist() == [0]
    for buffer in file.model.buffers:
        if buffer.data is not None and len(buffer.data) > 64:
            assert data.find(buffer.data.tobytes()) % 16 == 0


def test_writing_is_reproducible(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, Geometry(16, 5), quantize=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
