"""A training's record in the tracking server, beside the training, which never waits for it."""

import contextlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.train.report import PAGE
from components.train.settings import TrainSettings
from speech.tracking.tracked_run import StepRecord, TrackedRun, one_line
from speech.tracking.tracking_settings import TrackingSettings, address

END_S = 20.0  # for a server that has answered so far, at the end
NICE = 19  # the training goes first
STEP = "train"
NOT_METRICS = ("epoch", "metrics")


class TrainingTracker:
    """Writes parameters, and each epoch's numbers; what could not be written is with a later epoch.

    The thread sleeps between the epochs, and a server that is away is asked once an epoch.
    """

    def __init__(self, settings: TrainSettings, names: Sequence[str], parameters: Mapping[str, Any]) -> None:
        """`names` are the runs that the training belongs to, see TrackedRun."""
        self.settings = TrackingSettings(settings.tracking_uri, settings.tracking_experiment)
        self._names, self._parameters = names, parameters
        self._run: TrackedRun | None = None
        self._written: set[int] | None = None  # epochs that the server has; None: not known
        self._changed = threading.Condition()
        self._epochs: list[Mapping[str, Any]] = []
        self._files: dict[str, str | Path] = {}
        self._is_new = self._closing = self._failed = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def show(self, history: Sequence[Mapping[str, Any]]) -> None:
        """The epochs so far."""
        with self._changed:
            self._epochs, self._is_new = list(history), True
            self._changed.notify_all()

    def finish(self, folder: Path) -> None:
        """The training is at its end, and `folder` holds its report; a server that is away is not waited for."""
        with self._changed:
            self._files = {PAGE: (folder / PAGE).read_text(encoding="utf-8")}
            self._closing = self._is_new = True
            self._changed.notify_all()
            failed = self._failed
        self._thread.join(0.0 if failed else END_S)
        if self._thread.is_alive() and not self._failed:
            self._say(f"no answer within {END_S:g} s")

    def __enter__(self) -> "TrainingTracker":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A training that is interrupted waits for nothing; the next attempt writes what is missing."""
        if kind:
            with self._changed:
                self._closing, self._is_new = True, False
                self._changed.notify_all()

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        is_new = True  # the parameters do not wait for an epoch
        while True:
            if is_new:
                self._try()
            with self._changed:
                self._changed.wait_for(lambda: self._is_new or self._closing)
                is_new, self._is_new = self._is_new, False
                if not is_new:
                    return

    def _try(self) -> None:
        try:
            self._write()
        except Exception as error:  # whatever it is, the training goes on
            if not self._failed:
                self._say(f"{one_line(error)}: asked again after each epoch; the training goes on")
            self._failed = True
        else:
            self._failed = False

    def _say(self, text: str) -> None:
        print(f"note: {address(self.settings.tracking_uri)}: {text}", file=sys.stderr, flush=True)

    def _write(self) -> None:
        if self._run is None:
            run = TrackedRun(self.settings, self._names)
            run.set_running(True)  # also if the step before this one ended it
            run.log(StepRecord(STEP, self._parameters))
            self._run = run
        if self._written is None:
            self._written = set(self._run.steps_of(f"{STEP}/train_loss"))
        with self._changed:
            epochs, files = self._epochs, self._files
        for record in epochs:
            if record["epoch"] not in self._written:
                numbers = {name: value for name, value in record.items() if name not in NOT_METRICS}
                numbers |= {f"loss {name}": value for name, value in record.get("metrics", {}).items()}
                self._run.metrics({f"{STEP}/{name}": value for name, value in numbers.items()}, record["epoch"])
                self._written.add(record["epoch"])
        if files:
            self._run.log(StepRecord(STEP, files=files))
            self._run.set_running(False)
