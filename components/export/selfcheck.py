"""Run and read back what was exported: a file that loads and then says nothing never leaves the step."""

from pathlib import Path

import numpy as np

from speech import memmapped
from speech.errors import InputError
from speech.geometry import Geometry

TOLERANCE = 1e-4  # largest difference of a probability between the exported graph and the checkpoint
PROBE_S = 1.5


def probe_signal(geometry: Geometry) -> np.ndarray:
    """A fixed int16 signal `[N]` with tones, noise and silence, so that every part of the network is active."""
    n = int(PROBE_S * geometry.audio_sample_rate)
    time_s = np.arange(n) / geometry.audio_sample_rate
    sweep = np.sin(2 * np.pi * (200 + 900 * time_s) * time_s) + 0.3 * np.sin(2 * np.pi * 2500 * time_s)
    noise = np.random.default_rng(7).normal(0, 0.1, n)
    envelope = np.clip(np.sin(2 * np.pi * 2 * time_s), 0, 1)
    return ((sweep * envelope + noise * (time_s > 0.2)) * 8000).astype(np.int16)


def check_frozen(path: Path, weights: dict[str, np.ndarray], geometry: Geometry) -> float:
    """Run the frozen graph on the probe in TensorFlow's own session, and the checkpoint's weights beside it.

    Returns the largest difference of a probability; raises InputError if it is above `TOLERANCE`.
    """
    from speech.nn.frozen import FrozenModel
    from speech.nn.model import AcousticModel

    frozen = FrozenModel.load(path)
    signal = probe_signal(geometry)
    model = AcousticModel(geometry, weights, trainable=False)
    logits = model.logits(frozen.mfccs(signal)[np.newaxis]).numpy()[:, 0].astype(np.float64)  # [T, n_classes]
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    found = frozen.emissions(signal)
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    if not difference <= TOLERANCE:
        raise InputError(
            f"{path}: the exported graph differs from the checkpoint by {difference:.2g} on the probe signal"
        )
    return difference


def check_mapped(frozen: Path, mapped: Path) -> int:
    """Compare every constant of the memory-mapped file with the frozen graph's; returns how many there are."""
    before, after = memmapped.open_graph(frozen), memmapped.open_graph(mapped)
    names = before.constants()
    if names != after.constants():
        raise InputError(f"{mapped}: its constants are not those of {frozen}: convert it again")
    for name in names:
        ours, theirs = before.constant(name), after.constant(name)
        if ours.dtype != theirs.dtype or not np.array_equal(ours, theirs):
            raise InputError(f"{mapped}: {name} differs from {frozen}: convert it again")
    return len(names)
