"""Saving beside the training: the loop waits for a copy in memory, a thread writes it."""

import contextlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from components.train.saving.store import CheckpointStore
from components.train.saving.uploads import NICE
from speech.nn.snapshots import Snapshot
from speech.nn.training import Trainer


class Saver:
    """Writes the trainer's state into a store, in the background where the store has a mirror.

    One copy of the state is held in memory, and used again for the next.
    """

    def __init__(self, store: CheckpointStore, trainer: Trainer) -> None:
        self.store, self.trainer = store, trainer
        self._copy: Snapshot | None = None
        self._writing: Future[None] | None = None
        self._pool = ThreadPoolExecutor(1, "saver", initializer=_step_back) if store.mirror else None

    @property
    def ready(self) -> bool:
        """Whether a save would not have to wait for the one before it."""
        return self._writing is None or self._writing.done()

    def save(self, state: dict[str, Any], last: bool = True, best: bool = False) -> None:
        """Save the newest checkpoint, the best one, or the same as both; errors of the one before show here."""
        self.wait()
        self._copy = self.trainer.snapshot(state, into=self._copy if self._pool else None)
        if self._pool:
            self._writing = self._pool.submit(self._write, self._copy, last, best)
        else:
            self._write(self._copy, last, best)
            self._copy = None

    def wait(self) -> None:
        """Until all is written; raises what went wrong."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave nothing half written; what ends the block counts more than what goes wrong here."""
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.wait()
        if self._pool:
            self._pool.shutdown()

    def load_best(self) -> Snapshot:
        """The best checkpoint of the store."""
        self.wait()
        return self.store.load_best()

    def _write(self, snapshot: Snapshot, last: bool, best: bool) -> None:
        if best:
            self.store.save_best(snapshot)
        if last:
            self.store.save_last(snapshot)


def _step_back() -> None:
    """Leave the processor to the training; Linux counts that by thread."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
