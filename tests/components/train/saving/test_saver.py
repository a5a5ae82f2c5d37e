"""Saving beside the training: what it holds on to, and what goes wrong in the background."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components.train.saving.saver import Saver
from components.train.saving.store import CheckpointStore
from speech.artifacts import Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.variables import initial_weights
from speech.nn import snapshots
from speech.nn.dropout import DropoutRates
from speech.nn.snapshots import Snapshot
from speech.nn.training import Adam, Trainer
from speech.storage.files import write_json


@pytest.fixture
def trainer() -> Trainer:
    geometry = Geometry(n_hidden=8, n_labels=5)
    return Trainer(Snapshot(geometry, initial_weights(geometry, 1)), Adam(), DropoutRates(), 0.01, 1)


@pytest.fixture
def store(tmp_path: Path, s3_bucket: str) -> Iterator[CheckpointStore]:
    made = CheckpointStore(tmp_path / "here", 3, f"{s3_bucket}/running", patience_s=60)
    with made.uploading(0):
        made.begin()
        write_json(made.folder / Checkpoint.MODEL, {"geometry": Geometry(n_hidden=8, n_labels=5).to_dict()})
        yield made


def test_what_is_saved_is_of_the_moment_and_newest_and_best_are_the_same(
    trainer: Trainer, store: CheckpointStore
) -> None:
    with Saver(store, trainer) as saver:
        before = trainer.snapshot({})
        saver.save({"epoch": 1}, best=True)
        for variable in trainer.model.variables.values():
            variable.assign_add(variable)  # what the next step does, while it is written
        saver.wait()
        assert saver.ready
        saver.save({"epoch": 2})
    newest, older = (snapshots.load(prefix) for prefix in snapshots.find(store.folder, "last"))
    best = snapshots.load(snapshots.find(store.folder, "best")[0])
    for name, value in before.weights.items():
        np.testing.assert_array_equal(older.weights[name], value)
        np.testing.assert_array_equal(best.weights[name], value)
        np.testing.assert_array_equal(newest.weights[name], 2 * value)


def test_a_disk_that_refuses_shows_at_the_next_save(trainer: Trainer, store: CheckpointStore) -> None:
    with pytest.raises(InputError, match="the checkpoint cannot be written"):
        with Saver(store, trainer) as saver:
            (store.folder / Checkpoint.LAST).mkdir()  # the state file's place is taken
            saver.save({"epoch": 1})
            saver.save({"epoch": 2})
