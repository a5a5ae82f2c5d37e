"""The outer loop of training: when to validate, save, cut the learning rate and stop. speech.nn computes."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from components.train.settings import TrainSettings
from components.train.store import CheckpointStore
from speech.augmentation import Augmenter
from speech.errors import RetryError
from speech.nn.batches import Augmentation, Batch, ClipSet, plan_shuffled, plan_sorted, stream, subset
from speech.nn.summaries import Summaries
from speech.nn.training import Trainer
from speech.progress import Progress, format_duration

DEV_BATCH_FRAMES = 40_000  # padded frames that validation computes at once; the dev loss does not depend on it


@dataclass
class RunState:
    """Where a run is: everything besides the weights that the rest of it depends on."""

    run_key: str
    epoch: int = 0
    batch: int = 0  # the next batch of the epoch
    loss_sum: float = 0.0  # over the batches of the epoch so far
    loss_count: int = 0
    best_dev_loss: float | None = None
    stalled_epochs: int = 0
    finished: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunState":
        """Read the JSON form."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


class Interruption:
    """SIGTERM asks the loop to save and leave at the next batch."""

    requested = False

    @contextmanager
    def armed(self) -> Iterator["Interruption"]:
        """Listen for SIGTERM (only the main thread may)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "requested", True))
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)


@dataclass
class TrainingRun:
    """Everything that a run works with."""

    settings: TrainSettings
    trainer: Trainer
    train_set: ClipSet
    dev_sets: Sequence[ClipSet]
    metrics_sets: Sequence[ClipSet]
    augmenter: Augmenter
    store: CheckpointStore
    state: RunState
    summaries: Summaries

    def run(self) -> RunState:
        """Train until `--epochs` are done or the dev loss has stalled; returns the final state.

        Raises RetryError after saving when SIGTERM arrives.
        """
        state = self.state
        with Interruption().armed() as interruption:
            if not self.settings.skip_batch_test and state.epoch < self.settings.epochs:
                self.try_longest_batch()
            while state.epoch < self.settings.epochs and not state.finished:
                started = time.monotonic()
                self.train_epoch(interruption)
                dev_loss = self.validate(self.dev_sets, "validation") if self.dev_sets else None
                metrics = {clips.source: self.validate([clips], "metrics") for clips in self.metrics_sets}
                self.finish_epoch(dev_loss, metrics, time.monotonic() - started)
                if interruption.requested and not state.finished:
                    raise RetryError(f"SIGTERM: saved after epoch {state.epoch}; the same command goes on from there")
        if not state.history:  # --epochs 0: the checkpoint is what it started from
            state.finished = True
            self.save()
        return state

    def save(self) -> None:
        """Write the newest checkpoint."""
        self.store.save_last(self.trainer.snapshot(asdict(self.state)))

    def try_longest_batch(self) -> None:
        """Forward and backward pass of the longest clips, without an update: memory that is too small shows now."""
        longest = np.argsort(self.train_set.n_samples, kind="stable")[-self.settings.train_batch_size :]
        for batch in stream(self.train_set, [longest]):
            self.trainer.try_gradients(batch)

    def plan(self) -> list[np.ndarray]:
        """The batches of the current epoch."""
        settings, n_samples = self.settings, self.train_set.n_samples
        if settings.shuffle_batches and self.state.epoch >= settings.shuffle_start:
            batches = plan_shuffled(n_samples, settings.train_batch_size, settings.random_seed, self.state.epoch)
        else:
            batches = plan_sorted(n_samples, settings.train_batch_size)
            batches = batches[::-1] if settings.reverse_train else batches
        return batches * settings.augmentations_per_epoch

    def train_epoch(self, interruption: Interruption) -> None:
        """Train on what is left of the current epoch."""
        settings, state = self.settings, self.state
        batches, saved = self.plan(), time.monotonic()
        clips, done = sum(map(len, batches)), sum(map(len, batches[: state.batch]))
        augmentation = Augmentation(self.augmenter, state.epoch, settings.epochs, settings.augmentations_per_epoch)
        with Progress(f"epoch {state.epoch + 1}/{settings.epochs}", clips, "clips", done=done) as progress:
            for batch in stream(self.train_set, batches, start=state.batch, augmentation=augmentation):
                loss = self.train_batch(batch)
                state.batch = batch.index + 1
                if loss is not None:
                    state.loss_sum += loss
                    state.loss_count += 1
                    self.summaries.scalar("train/step_loss", loss, self.trainer.global_step)
                progress.update(len(batch.clips), loss=f"{state.loss_sum / max(1, state.loss_count):.3f}")
                if state.batch == len(batches):
                    break  # the checkpoint of the epoch's end follows
                if interruption.requested or time.monotonic() - saved >= settings.checkpoint_secs > 0:
                    self.save()
                    saved = time.monotonic()
                if interruption.requested:
                    step = self.trainer.global_step
                    raise RetryError(f"SIGTERM: saved at step {step}; the same command goes on from there")
        state.batch = len(batches)

    def train_batch(self, batch: Batch) -> float | None:
        """One optimizer step; clips without a finite loss are named and left out. None if no clip was left."""
        skipped = self.train_set.skipped
        losses, applied = self.trainer.train(batch)
        while not applied:
            finite = np.isfinite(losses)
            reason = "loss is not finite" if not finite.all() else "gradient is not finite"
            for position in batch.clips[~finite] if not finite.all() else batch.clips:
                skipped.add(reason, self.train_set.name(int(position)))
            if finite.all() or not finite.any():
                return None
            batch = subset(batch, finite)
            losses, applied = self.trainer.train(batch)
        return float(losses.mean())

    def validate(self, sets: Sequence[ClipSet], label: str) -> float:
        """The dev loss: the mean over groups of `--dev_batch_size` clips, by length, of their mean losses.

        With several sets, each counts by its number of groups, as in the peers.
        """
        group_losses: list[float] = []
        for clips in sets:
            losses = np.full(len(clips), np.nan)
            with Progress(label, len(clips), "clips") as progress:
                for batch in stream(clips, _validation_batches(clips)):
                    losses[batch.clips] = self.trainer.losses(batch)
                    progress.update(len(batch.clips))
            for position in np.flatnonzero(~np.isfinite(losses)):
                clips.skipped.add("loss is not finite", clips.name(int(position)))
            ordered = losses[np.argsort(clips.n_samples, kind="stable")]
            ordered = ordered[np.isfinite(ordered)]
            size = self.settings.dev_batch_size
            group_losses += [float(ordered[start : start + size].mean()) for start in range(0, len(ordered), size)]
        return float(np.mean(group_losses)) if group_losses else float("nan")

    def finish_epoch(self, dev_loss: float | None, metrics: dict[str, float], seconds: float) -> None:
        """Record the epoch, save, and apply early stopping and the plateau rule."""
        settings, state = self.settings, self.state
        record = {
            "epoch": state.epoch + 1,
            "train_loss": state.loss_sum / state.loss_count if state.loss_count else float("nan"),
            "dev_loss": dev_loss,
            "learning_rate": self.trainer.learning_rate,
            "seconds": round(seconds, 2),
            **({"metrics": metrics} if metrics else {}),
        }
        state.history.append(record)
        state.epoch, state.batch, state.loss_sum, state.loss_count = state.epoch + 1, 0, 0.0, 0
        better = dev_loss is not None and (state.best_dev_loss is None or dev_loss < state.best_dev_loss)
        if dev_loss is not None:
            stalled = state.best_dev_loss is not None and dev_loss > state.best_dev_loss - settings.es_min_delta
            state.stalled_epochs = state.stalled_epochs + 1 if stalled else 0
        if better:
            state.best_dev_loss = dev_loss
        self.report(record, better)
        if settings.early_stop and state.stalled_epochs >= settings.es_epochs:
            print(f"early stop: the dev loss has not fallen by {settings.es_min_delta} for {settings.es_epochs} epochs")
            state.finished = True
        elif (
            settings.reduce_lr_on_plateau and 0 == state.stalled_epochs % settings.plateau_epochs < state.stalled_epochs
        ):
            self.cut_learning_rate()
        state.finished = state.finished or state.epoch >= settings.epochs
        if better:
            self.store.save_best(self.trainer.snapshot(asdict(state)))
        self.save()

    def cut_learning_rate(self) -> None:
        """Go back to the best weights with a smaller learning rate."""
        self.trainer.restore(self.store.load_best())
        self.trainer.learning_rate = self.trainer.learning_rate * self.settings.plateau_reduction
        print(f"plateau: back to the best weights, learning rate {self.trainer.learning_rate:g}", flush=True)

    def report(self, record: dict[str, Any], better: bool) -> None:
        """One line an epoch, and the summaries."""
        losses = {"train": record["train_loss"], "dev": record["dev_loss"], **record.get("metrics", {})}
        for name, loss in losses.items():
            if loss is not None:
                self.summaries.scalar(f"epoch_loss/{name}", loss, record["epoch"])
        dev = "" if record["dev_loss"] is None else f", dev loss {record['dev_loss']:.3f}{' (best)' if better else ''}"
        metrics = "".join(f", {name} {loss:.3f}" for name, loss in record.get("metrics", {}).items())
        seconds = format_duration(record["seconds"])
        epoch = f"epoch {record['epoch']}/{self.settings.epochs}"
        print(f"{epoch}: train loss {record['train_loss']:.3f}{dev}{metrics}, {seconds}", flush=True)


def _validation_batches(clips: ClipSet) -> list[np.ndarray]:
    """Neighbours in length, as many as `DEV_BATCH_FRAMES` padded frames allow."""
    order = np.argsort(clips.n_samples, kind="stable")
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        longest = clips.geometry.n_frames(int(clips.n_samples[order[min(end, len(order) - 1)]]))
        if end == len(order) or (end + 1 - start) * longest > DEV_BATCH_FRAMES:
            batches.append(order[start:end])
            start = end
    return batches
