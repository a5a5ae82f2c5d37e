"""The streaming model as an ONNX file: any number of frames and clips a call, the LSTM's state in and out.

Inputs `input_node` [batch, frames, window_frames, n_input] and `previous_state_c|h` [batch, H]; outputs `logits`
[frames, batch, n_classes] (probabilities, as in the frozen graph) and `new_state_c|h`. Features and decoding are the
caller's. What is needed for them is in the file's metadata: `alphabet` (the text of alphabet.txt), `sample_rate`,
`feature_win_len` and `feature_win_step` [ms], `beam_width`, `language`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from components.export.onnx_file import OnnxFile
from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL, LAYER_NORM_EPSILON

PRODUCER = "speechmill"
GATES = (0, 3, 2, 1)  # ONNX's input, output, forget, candidate among DeepSpeech's input, candidate, forget, output


def write(path: Path, weights: Mapping[str, np.ndarray], geometry: Geometry, metadata: Mapping[str, str]) -> None:
    """Write the model; `weights` are float32 by DeepSpeech's variable names."""
    hidden, classes = geometry.n_hidden, geometry.n_classes
    file = OnnxFile(PRODUCER, metadata)
    node = file.input("input_node", ("batch", "frames", geometry.window_frames, geometry.n_input))
    states = {part: file.input(f"previous_state_{part}", ("batch", hidden)) for part in "ch"}
    inputs = file.constant("input_shape", np.array([0, 0, geometry.window_frames * geometry.n_input]))
    x = file.node("Transpose", [node], ["time_major"], perm=(1, 0, 2, 3))
    x = file.node("Reshape", [x, inputs], ["flat"])  # [T, B, inputs]
    limits = [file.constant(f"clip_{limit:g}", np.array(limit, np.float32)) for limit in (0.0, geometry.relu_clip)]
    for layer in ("layer_1", "layer_2", "layer_3"):
        x = _dense(file, x, layer, weights, geometry, limits)
    x = _lstm(file, x, states, weights)
    x = _dense(file, x, "layer_5", weights, geometry, limits)
    file.node("Softmax", [_linear(file, x, "layer_6", weights)], ["logits"], axis=-1)
    file.output("logits", ("frames", "batch", classes))
    for part in "ch":
        file.output(f"new_state_{part}", ("batch", hidden))
    file.write(path)


def _linear(file: OnnxFile, x: str, layer: str, weights: Mapping[str, np.ndarray]) -> str:
    matrix, bias = (file.constant(name, weights[name]) for name in (f"{layer}/weights", f"{layer}/bias"))
    return file.node("Add", [file.node("MatMul", [x, matrix], [f"{layer}/MatMul"]), bias], [f"{layer}/BiasAdd"])


def _dense(
    file: OnnxFile, x: str, layer: str, weights: Mapping[str, np.ndarray], geometry: Geometry, limits: list[str]
) -> str:
    """A dense layer with clipped ReLU, layer-normalised if the model is, `[T, B, H]`."""
    x = file.node("Clip", [_linear(file, x, layer, weights), *limits], [f"{layer}/Minimum"])
    if not geometry.layer_norm:
        return x
    gamma, beta = (file.constant(f"{layer}/LayerNorm/{name}", weights[f"{layer}/LayerNorm/{name}"]) for name in _NORM)
    return file.node(
        "LayerNormalization", [x, gamma, beta], [f"{layer}/LayerNorm"], axis=-1, epsilon=LAYER_NORM_EPSILON
    )


_NORM = ("gamma", "beta")


def _lstm(file: OnnxFile, x: str, states: Mapping[str, str], weights: Mapping[str, np.ndarray]) -> str:
    """The outputs `[T, B, H]`; the states behind the last frame become `new_state_c|h`."""
    hidden = len(weights[BIAS]) // len(GATES)
    kernel = _gates(weights[KERNEL].T, hidden)  # [4H, 2H]
    bias = np.concatenate([_gates(weights[BIAS], hidden), np.zeros(4 * hidden, np.float32)])
    first, second = (file.constant(f"axis_{axis}", np.array([axis])) for axis in (0, 1))
    given = [
        x,
        file.constant("lstm/input_kernel", kernel[np.newaxis, :, :hidden]),
        file.constant("lstm/state_kernel", kernel[np.newaxis, :, hidden:]),
        file.constant("lstm/bias", bias[np.newaxis]),
        "",  # every clip of a call has the same number of frames
        *(file.node("Unsqueeze", [states[part], first], [f"lstm/initial_{part}"]) for part in "hc"),
    ]
    file.node("LSTM", given, ["lstm/outputs", "lstm/last_h", "lstm/last_c"], hidden_size=hidden)
    for part in "ch":
        file.node("Squeeze", [f"lstm/last_{part}", first], [f"new_state_{part}"])
    return file.node("Squeeze", ["lstm/outputs", second], ["lstm/h"])  # [T, 1, B, H] -> [T, B, H]


def _gates(rows: np.ndarray, hidden: int) -> np.ndarray:
    """The gates' rows in ONNX's order."""
    return np.concatenate([rows[gate * hidden : (gate + 1) * hidden] for gate in GATES])
