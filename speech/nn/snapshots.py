"""Checkpoints: TensorFlow V2 bundles with DeepSpeech's variable names, loadable by its trainer and by Coqui STT's.

A bundle is `NAME-STEP.index` and `NAME-STEP.data-00000-of-00001`. The state files `checkpoint` and
`best_dev_checkpoint` name the newest and the best bundle; they are replaced only once the bundle is on disk.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from speech import model_files
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files import Kind, checkpoints
from speech.model_files.bundle import Bundle
from speech.model_files.checkpoints import bundle_files, find, read_state, remove, state_text
from speech.model_files.variables import MOMENTS
from speech.storage.files import fsync_folder, write_text

__all__ = [
    "Snapshot",
    "bundle_files",
    "find",
    "load",
    "load_first",
    "read_state",
    "read_training_state",
    "remove",
    "save",
    "write_state",
]

OWN = "speechmill"  # what only this trainer reads; those of DeepSpeech and Coqui STT ignore it
TRAINING_STATE = f"{OWN}/training_state"  # a scalar string
SCALARS = ("global_step", "learning_rate", "beta1_power", "beta2_power")  # of theirs, under the names of our fields


@dataclass
class Snapshot:
    """The content of one checkpoint, and where it came from."""

    geometry: Geometry
    weights: dict[str, np.ndarray]
    moments: dict[str, np.ndarray] = field(default_factory=dict)  # `VARIABLE/Adam` and `VARIABLE/Adam_1`
    global_step: int = 0
    learning_rate: float | None = None
    beta1_power: float | None = None
    beta2_power: float | None = None
    training_state: dict[str, Any] = field(default_factory=dict)
    prefix: str = ""

    @property
    def missing_moments(self) -> list[str]:
        """Adam moments that the bundle lacks: those of the LSTM if it was trained with cuDNN."""
        return [
            f"{name}/{moment}" for name in self.weights for moment in MOMENTS if f"{name}/{moment}" not in self.moments
        ]


def load_first(prefixes: Sequence[str]) -> tuple[Snapshot, list[str]]:
    """The first bundle of `prefixes` that loads, and a line for each one before it that did not."""
    return checkpoints.first_whole(prefixes, load)


def load(prefix: str) -> Snapshot:
    """Read a bundle of ours, of DeepSpeech or of Coqui STT, cuDNN-trained ones included.

    Raises InputError when it is missing, corrupt, or another network's.
    """
    model = model_files.open(f"{prefix}.index", kinds=(Kind.CHECKPOINT,))
    bundle: Bundle = model.container
    moments = [f"{name}/{moment}" for name in model.weights for moment in MOMENTS]
    moments += [name for name in bundle.shapes if name.startswith(f"{OWN}/") and name.endswith(MOMENTS)]
    return Snapshot(
        model.geometry,
        {name: np.array(value) for name, value in model.weights.items()},  # the file may be replaced while they live
        {name: np.array(bundle.tensor(name)) for name in moments if name in bundle.shapes},
        training_state=_training_state(bundle),
        prefix=prefix,
        **{name: bundle.tensor(name).item() for name in SCALARS if name in bundle.shapes},
    )


def _training_state(bundle: Bundle) -> dict[str, Any]:
    """Our own state in a bundle; empty in one of others. Raises InputError for a damaged one."""
    if TRAINING_STATE not in bundle.shapes:
        return {}
    try:
        return dict(json.loads(bundle.string(TRAINING_STATE)))
    except ValueError as error:
        raise InputError(f"{bundle.prefix}: {TRAINING_STATE} is no JSON: {error}") from error


def save(folder: Path, name: str, snapshot: Snapshot) -> str:
    """Write a bundle `folder/name` (e.g. `train-1234`), durable when this returns; returns its prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _tensors(snapshot)
    names = sorted(tensors)
    prefix = str(folder / name)
    try:
        tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=names,
            shape_and_slices=[""] * len(names),  # each tensor as a whole
            tensors=[tf.constant(tensors[tensor]) for tensor in names],
        )
    except tf.errors.OpError as error:
        raise OSError(f"{prefix}: the checkpoint cannot be written: {str(error).splitlines()[0]}") from error
    for path in bundle_files(folder, name):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    fsync_folder(folder)
    return prefix


def _tensors(snapshot: Snapshot) -> dict[str, Any]:
    """What a bundle holds, by the names that DeepSpeech and Coqui STT look for."""
    return {
        **snapshot.weights,
        **snapshot.moments,
        "global_step": np.array(snapshot.global_step, np.int64),
        "learning_rate": np.array(snapshot.learning_rate, np.float32),
        "beta1_power": np.array(snapshot.beta1_power, np.float32),
        "beta2_power": np.array(snapshot.beta2_power, np.float32),
        TRAINING_STATE: json.dumps(snapshot.training_state),
    }


def write_state(folder: Path, state_file: str, names: Sequence[str]) -> None:
    """Point a state file at bundles in its folder, oldest first; the last one is the current one."""
    write_text(folder / state_file, state_text(names))


def read_training_state(prefix: str) -> dict[str, Any] | None:
    """Our own state in a bundle, without its weights; empty in a bundle of others, None where it cannot be read."""
    try:
        return _training_state(Bundle.open(prefix))
    except InputError:
        return None
