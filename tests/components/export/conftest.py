"""A small checkpoint with random weights."""

from pathlib import Path

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint
from speech.geometry import Geometry
from speech.model_files.variables import MOMENTS, initial_weights

GEOMETRY = Geometry(64, 4)
LETTERS = Alphabet((" ", "a", "b", "c"))


def make_checkpoint(folder: Path, geometry: Geometry = GEOMETRY, name: str = "best_dev-5", cudnn: bool = False) -> Path:
    """A checkpoint as training leaves it; with `cudnn` as DeepSpeech's releases are: no moments of the LSTM."""
    from speech.nn import snapshots
    from speech.nn.snapshots import Snapshot

    weights = initial_weights(geometry, 1)
    moments = {
        f"{name}/{moment}": np.zeros_like(value)
        for name, value in weights.items()
        for moment in MOMENTS
        if not (cudnn and name.startswith("cudnn_lstm/"))
    }
    snapshots.save(folder, name, Snapshot(geometry, weights, moments, 5, 0.001, 0.9, 0.999))
    if not cudnn:
        snapshots.write_state(folder, Checkpoint.BEST, [name])
        LETTERS.save(folder / ALPHABET)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder; not to be changed."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))
