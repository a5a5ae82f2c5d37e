"""Run and read back what was exported: a file that loads and then says nothing never leaves the step."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from speech import model_files
from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.features.streaming import run_in_steps
from speech.geometry import Geometry

# The root mean square difference of the log probabilities from the checkpoint's, as a part of their own spread, so that
# it means the same for flat and for steep outputs. Rounding errors of float32 are about 1e-6, a wrong matrix about 1.
TOLERANCE = 1e-4
INT8_TOLERANCE = 0.3  # rounding the weights of models that work gives 0.01...0.15
PROBE_S = 1.5
LEAST_PROBABILITY = 1e-30  # below it float32 loses digits


def probe_signal(geometry: Geometry) -> np.ndarray:
    """A fixed int16 signal `[N]` with tones, noise and silence, so that every part of the network is active."""
    n = int(PROBE_S * geometry.audio_sample_rate)
    time_s = np.arange(n) / geometry.audio_sample_rate
    sweep = np.sin(2 * np.pi * (200 + 900 * time_s) * time_s) + 0.3 * np.sin(2 * np.pi * 2500 * time_s)
    noise = np.random.default_rng(7).normal(0, 0.1, n)
    envelope = np.clip(np.sin(2 * np.pi * 2 * time_s), 0, 1)
    return ((sweep * envelope + noise * (time_s > 0.2)) * 8000).astype(np.int16)


def check_frozen(path: Path, weights: Mapping[str, np.ndarray], geometry: Geometry) -> float:
    """Run the frozen graph on the probe in TensorFlow's own session, and the checkpoint's weights beside it.

    Returns the largest difference of a probability; raises InputError if they differ by more than `TOLERANCE`.
    """
    from speech.nn.runners.runtimes import open_runner

    (emissions,) = open_runner(model_files.open(path)).emissions([probe_signal(geometry)])
    return _compare(path, emissions, _log_probabilities(weights, geometry))


def check_tflite(
    path: Path, weights: Mapping[str, np.ndarray], geometry: Geometry, alphabet: Alphabet, quantized: bool
) -> float:
    """Run the TFLite file on the probe in TensorFlow Lite's interpreter, and the float weights beside it.

    Returns the largest difference of a probability or, of an int8 file, the relative difference of the log
    probabilities. Raises InputError if they differ by more than `TOLERANCE` or `INT8_TOLERANCE`.
    """
    from speech.nn.runners.runtimes import open_runner

    model = model_files.open(path)
    if model.alphabet != alphabet:
        raise InputError(f"{path}: its alphabet is not that of the model that it was made of: convert it again")
    (emissions,) = open_runner(model).emissions([probe_signal(geometry)])
    expected = _log_probabilities(weights, geometry)
    if not quantized:
        return _compare(path, emissions, expected)
    difference = _relative_difference(emissions, expected)
    if not difference <= INT8_TOLERANCE:
        raise InputError(
            f"{path}: with int8 weights the model is {difference:.2g} of its outputs' spread away from the float model "
            f"on the probe signal (allowed: {INT8_TOLERANCE}): export it with --export_quantize false"
        )
    return difference


def check_onnx(path: Path, weights: Mapping[str, np.ndarray], geometry: Geometry, n_steps: int) -> float:
    """Run the ONNX file on the probe in ONNX Runtime, in calls of `n_steps` frames; otherwise as `check_frozen`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def step(
        windows: np.ndarray, _: int, state_c: np.ndarray, state_h: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inputs = {"input_node": windows, "previous_state_c": state_c, "previous_state_h": state_h}
        logits, state_c, state_h = session.run(["logits", "new_state_c", "new_state_h"], inputs)
        return logits, state_c, state_h

    emissions = run_in_steps(_features(geometry), geometry, n_steps, step)
    return _compare(path, emissions, _log_probabilities(weights, geometry))


def check_mapped(frozen: Path, mapped: Path) -> int:
    """Compare every constant of the memory-mapped file with the frozen graph's; returns how many there are."""
    before, after = (model_files.open(path).container for path in (frozen, mapped))
    names = before.constants()
    if names != after.constants():
        raise InputError(f"{mapped}: its constants are not those of {frozen}: convert it again")
    for name in names:
        ours, theirs = before.constant(name), after.constant(name)
        if ours.dtype != theirs.dtype or not np.array_equal(ours, theirs):
            raise InputError(f"{mapped}: {name} differs from {frozen}: convert it again")
    return len(names)


def _features(geometry: Geometry) -> np.ndarray:
    """The probe's features as in training, `[T, n_input]`."""
    from speech.nn.features import batch_features

    signal = probe_signal(geometry)
    features, _ = batch_features(signal[np.newaxis], np.array([len(signal)], np.int32), geometry)
    return features.numpy()[0]


def _log_probabilities(weights: Mapping[str, np.ndarray], geometry: Geometry) -> np.ndarray:
    """What the training forward pass makes of the probe, `[T, n_classes]`."""
    from speech.nn.model import AcousticModel

    model = AcousticModel(geometry, weights, trainable=False)
    logits = model.logits(_features(geometry)[np.newaxis]).numpy()[:, 0].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def _compare(path: Path, emissions: np.ndarray, expected: np.ndarray) -> float:
    difference = _relative_difference(emissions, expected)
    if not difference <= TOLERANCE:
        raise InputError(
            f"{path}: its log probabilities differ from the checkpoint's by {difference:.2g} of their spread on the "
            f"probe signal (allowed: {TOLERANCE})"
        )
    return float(np.abs(emissions - np.exp(expected)).max())


def _relative_difference(emissions: np.ndarray, expected: np.ndarray) -> float:
    """See `TOLERANCE`; of probabilities, and the log probabilities that are expected."""
    if emissions.shape != expected.shape:
        return float("inf")
    expected = np.maximum(expected, np.log(LEAST_PROBABILITY))
    differences = np.log(np.maximum(emissions, LEAST_PROBABILITY)) - expected
    return float(np.sqrt(np.mean(differences**2)) / (np.std(expected) or 1.0))
