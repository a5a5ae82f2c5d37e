"""What the curves of a training show. All of them share one axis, the optimizer steps.

So a training that goes on can say with one record that what was written behind its checkpoint is void.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from components.train.settings import TrainSettings
from components.train.validation import Scores
from speech.curves.writer import CurveWriter
from speech.nn.training import StepResult

STOPPED_S = 1.0  # what an interrupted training has left for its curves; its checkpoint holds what is missing then
Unwritten = Sequence[Mapping[str, Any]]


class TrainingCurves:
    """Gives a training's numbers to a writer; without a folder or prefix it does nothing."""

    def __init__(self, settings: TrainSettings, next_step: int, unwritten: Unwritten = ()) -> None:
        """`next_step` and `unwritten` as in CurveWriter."""
        place = settings.summary_dir
        self._writer = CurveWriter(place, next_step, unwritten) if place else None
        self._epochs = settings.epochs
        self._began = self._before = time.monotonic()
        self._first: float | None = None  # the epoch, with a fraction, that this process began at
        self._is_told = False  # how long the run is to be

    @property
    def unwritten(self) -> list[dict[str, Any]]:
        """What a checkpoint brings along; see CurveWriter."""
        return self._writer.unwritten() if self._writer else []

    def __enter__(self) -> "TrainingCurves":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer:
            self._writer.close(*((STOPPED_S,) if kind else ()))

    def begin_epoch(self, epoch: float) -> None:
        """Steps follow; `epoch` is what is done of the run, with a fraction."""
        self._before = time.monotonic()
        if self._first is None:
            self._first, self._began = epoch, self._before

    def step(self, step: int, epoch: float, result: StepResult, learning_rate: float, waited_s: float) -> None:
        """A batch was trained on, for which `waited_s` were spent waiting."""
        if self._writer is None:
            return
        now = time.monotonic()
        seconds, self._before = now - self._before, now
        done = epoch - (self._first or 0.0)
        values = {
            "train/step_loss": result.mean_loss,
            "train/gradient_norm": result.gradient_norm,
            "train/learning_rate": learning_rate,
            "train/clips_per_second": result.n_clips / max(seconds, 1e-9),
            "train/seconds_waited_for_clips": waited_s,
            "progress/epoch": epoch,
            "progress/seconds_left": (now - self._began) * (self._epochs - epoch) / done if done > 0 else 0.0,
        }
        if not self._is_told:
            values["progress/epochs"], self._is_told = float(self._epochs), True
        self._writer.add(step, values)

    def epoch(self, step: int, record: Mapping[str, Any], scores: Scores | None) -> None:
        """An epoch ended, after so many steps."""
        losses = {"train": record["train_loss"], **record.get("metrics", {})}
        values = {f"epoch_loss/{name}": loss for name, loss in losses.items()}
        self._add(step, values | _dev(scores))

    def measured(self, step: int, scores: Scores) -> None:
        """The dev sets were measured besides the epochs: before the training, say."""
        self._add(step, _dev(scores))

    def finish(self, step: int) -> None:
        """The run is at its end, maybe before its last epoch; a run that ends once more says so once."""
        self._add(step + 1, {"progress/finished": 1.0})

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer and values:
            self._writer.add(step, values, rare=True)


def _dev(scores: Scores | None) -> dict[str, float]:
    if scores is None:
        return {}
    return {"epoch_loss/dev": scores.loss, "epoch_wer/dev": scores.wer, "epoch_cer/dev": scores.cer}
