"""Models to convert, and what they compute, in numpy."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from speech.alphabet import Alphabet
from speech.clips.audio import wav_header
from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL, initial_weights
from speech.storage.files import write_bytes

ALPHABET = Alphabet(tuple(" abcdefghijklmnopqrstuvwxyz'"))
Array = np.ndarray


def make_weights(geometry: Geometry, seed: int = 1) -> dict[str, Array]:
    """Weights that make every layer matter: no zero biases, and probabilities far from uniform."""
    generator = np.random.default_rng(seed)
    weights = initial_weights(geometry, seed)
    for value in weights.values():
        if value.ndim == 1:
            value += generator.normal(0, 0.2, value.shape).astype(np.float32)
    weights["layer_6/weights"] *= 8
    weights["layer_6/bias"][0] += 3  # so that there are several words
    return weights


def windows(geometry: Geometry, frames: int, batch: int = 1, seed: int = 2) -> Array:
    """Something in the range of features, `[B, T, window_frames, n_input]`."""
    shape = (batch, frames, geometry.window_frames, geometry.n_input)
    return np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


def states(geometry: Geometry, batch: int = 1, seed: int = 3) -> tuple[Array, Array]:
    """States c and h in the middle of an utterance, `[B, H]`."""
    generator = np.random.default_rng(seed)
    c = generator.normal(0, 1, (batch, geometry.n_hidden)).astype(np.float32)
    return c, np.tanh(generator.normal(0, 1, c.shape)).astype(np.float32)


def reference(
    weights: Mapping[str, Array], geometry: Geometry, x: Array, c: Array, h: Array
) -> tuple[Array, Array, Array]:
    """Probabilities `[T, B, C]` and new states c, h `[B, H]`, computed in float64 from the model's definition."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def dense(y: Array, layer: str) -> Array:
        y = np.clip(y @ w[f"{layer}/weights"] + w[f"{layer}/bias"], 0, geometry.relu_clip)
        if not geometry.layer_norm:
            return y
        centred = y - y.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * w[f"{layer}/LayerNorm/gamma"] + w[f"{layer}/LayerNorm/beta"]

    y = x.astype(np.float64).transpose(1, 0, 2, 3).reshape(x.shape[1], x.shape[0], -1)  # [T, B, inputs]
    for layer in ("layer_1", "layer_2", "layer_3"):
        y = dense(y, layer)
    outputs = []
    for frame in y:
        i, candidate, f, o = np.split(np.concatenate([frame, h], axis=1) @ w[KERNEL] + w[BIAS], 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(candidate)
        h = _sigmoid(o) * np.tanh(c)
        outputs.append(h)
    logits = dense(np.array(outputs), "layer_5") @ w["layer_6/weights"] + w["layer_6/bias"]
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True), c, h


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def write_frozen(path: Path, weights: Mapping[str, Array], geometry: Geometry, n_steps: int = 16) -> Path:
    """The frozen graph that the export makes of these weights."""
    from speech.nn.graph import Metadata, streaming_graph

    graph = streaming_graph(weights, geometry, ALPHABET, n_steps, Metadata())
    write_bytes(path, graph.SerializeToString(deterministic=True))
    return path


def chirp(seconds: float, seed: int = 5) -> Array:
    """int16 samples at 16 kHz that change all the time."""
    time_s = np.arange(int(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(seed).normal(0, 300, len(time_s))
    return (np.sin(2 * np.pi * (200 + 400 * time_s) * time_s) * 8000 + noise).astype(np.int16)


def write_wav(path: Path, samples: Array, rate: int = 16_000) -> Path:
    """A mono 16-bit WAV file."""
    path.write_bytes(wav_header(len(samples), rate) + samples.tobytes())
    return path
