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
from speech.errors import RetryError
from speech.nn.batches import Batch, ClipSet, plan_shuffled, plan_sorted, stream, subset
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


def run(
    settings: TrainSettings,
    trainer: Trainer,
    train_set: ClipSet,
    dev_sets: Sequence[ClipSet],
    store: CheckpointStore,
    state: RunState,
) -> RunState:
    """Train until `--epochs` are done or the dev loss has stalled; returns the final state.

    Raises RetryError after saving when SIGTERM arrives.
    """
    with Interruption().armed() as interruption:
        while state.epoch < settings.epochs and not state.finished:
            started = time.monotonic()
            _train_epoch(settings, trainer, train_set, store, state, interruption)
            dev_loss = validate(settings, trainer, dev_sets) if dev_sets else None
            _finish_epoch(settings, trainer, store, state, dev_loss, time.monotonic() - started)
            if interruption.requested and not state.finished:
                raise RetryError(f"SIGTERM: saved after epoch {state.epoch}; the same command goes on from there")
    if not state.history:  # --epochs 0: the checkpoint is what it started from
        state.finished = True
        store.save_last(trainer.snapshot(asdict(state)))
    return state


def _train_epoch(
    settings: TrainSettings,
    trainer: Trainer,
    clips: ClipSet,
    store: CheckpointStore,
    state: RunState,
    interruption: Interruption,
) -> None:
    batches = _plan(settings, clips, state.epoch)
    saved = time.monotonic()
    done = sum(map(len, batches[: state.batch]))
    first = state.batch
    with Progress(f"epoch {state.epoch + 1}/{settings.epochs}", len(clips), "clips", done=done) as progress:
        for batch in stream(clips, batches[first:]):
            loss = _train_batch(trainer, clips, batch)
            state.batch = first + batch.index + 1
            if loss is not None:
                state.loss_sum += loss
                state.loss_count += 1
            progress.update(len(batch.clips), loss=f"{state.loss_sum / max(1, state.loss_count):.3f}")
            if state.batch == len(batches):
                break  # the checkpoint of the epoch's end follows
            if interruption.requested or time.monotonic() - saved >= settings.checkpoint_secs > 0:
                store.save_last(trainer.snapshot(asdict(state)))
                saved = time.monotonic()
            if interruption.requested:
                raise RetryError(f"SIGTERM: saved at step {trainer.global_step}; the same command goes on from there")
    state.batch = len(batches)


def _plan(settings: TrainSettings, clips: ClipSet, epoch: int) -> list[np.ndarray]:
    if settings.shuffle_batches and epoch >= settings.shuffle_start:
        return plan_shuffled(clips.n_samples, settings.train_batch_size, settings.random_seed, epoch)
    return plan_sorted(clips.n_samples, settings.train_batch_size)


def _train_batch(trainer: Trainer, clips: ClipSet, batch: Batch) -> float | None:
    """One optimizer step; clips without a finite loss are named and left out. None if no clip was left."""
    losses, applied = trainer.train(batch)
    while not applied:
        finite = np.isfinite(losses)
        reason = "loss is not finite" if not finite.all() else "gradient is not finite"
        for position in batch.clips[~finite] if not finite.all() else batch.clips:
            clips.skipped.add(reason, clips.name(position))
        if finite.all() or not finite.any():
            return None
        batch = subset(batch, finite)
        losses, applied = trainer.train(batch)
    return float(losses.mean())


def validate(settings: TrainSettings, trainer: Trainer, dev_sets: Sequence[ClipSet]) -> float:
    """The dev loss: the mean over groups of `--dev_batch_size` clips, by length, of their mean losses.

    With several sets, each counts by its number of groups, as in the peers.
    """
    group_losses: list[float] = []
    for clips in dev_sets:
        losses = np.full(len(clips), np.nan)
        with Progress("validation", len(clips), "clips") as progress:
            for batch in stream(clips, _validation_batches(clips)):
                losses[batch.clips] = trainer.losses(batch)
                progress.update(len(batch.clips))
        for position in np.flatnonzero(~np.isfinite(losses)):
            clips.skipped.add("loss is not finite", clips.name(int(position)))
        ordered = losses[np.argsort(clips.n_samples, kind="stable")]
        ordered = ordered[np.isfinite(ordered)]
        size = settings.dev_batch_size
        group_losses += [float(ordered[start : start + size].mean()) for start in range(0, len(ordered), size)]
    return float(np.mean(group_losses)) if group_losses else float("nan")


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


def _finish_epoch(
    settings: TrainSettings,
    trainer: Trainer,
    store: CheckpointStore,
    state: RunState,
    dev_loss: float | None,
    seconds: float,
) -> None:
    """Record the epoch, save, and apply early stopping and the plateau rule."""
    train_loss = state.loss_sum / state.loss_count if state.loss_count else float("nan")
    record = {
        "epoch": state.epoch + 1,
        "train_loss": train_loss,
        "dev_loss": dev_loss,
        "learning_rate": trainer.learning_rate,
        "seconds": round(seconds, 2),
    }
    state.history.append(record)
    state.epoch, state.batch, state.loss_sum, state.loss_count = state.epoch + 1, 0, 0.0, 0
    better = dev_loss is not None and (state.best_dev_loss is None or dev_loss < state.best_dev_loss)
    if dev_loss is not None:
        stalled = state.best_dev_loss is not None and dev_loss > state.best_dev_loss - settings.es_min_delta
        state.stalled_epochs = state.stalled_epochs + 1 if stalled else 0
    if better:
        state.best_dev_loss = dev_loss
    _report(settings, state, record, better)
    if settings.early_stop and state.stalled_epochs >= settings.es_epochs:
        print(f"early stop: the dev loss has not fallen by {settings.es_min_delta} for {settings.es_epochs} epochs")
        state.finished = True
    elif settings.reduce_lr_on_plateau and state.stalled_epochs and state.stalled_epochs % settings.plateau_epochs == 0:
        _cut_learning_rate(settings, trainer, store)
    state.finished = state.finished or state.epoch >= settings.epochs
    if better:
        store.save_best(trainer.snapshot(asdict(state)))
    store.save_last(trainer.snapshot(asdict(state)))


def _cut_learning_rate(settings: TrainSettings, trainer: Trainer, store: CheckpointStore) -> None:
    trainer.restore(store.load_best())
    trainer.learning_rate = trainer.learning_rate * settings.plateau_reduction
    print(f"plateau: back to the best weights, learning rate {trainer.learning_rate:g}", flush=True)


def _report(settings: TrainSettings, state: RunState, record: dict[str, Any], better: bool) -> None:
    dev = "" if record["dev_loss"] is None else f", dev loss {record['dev_loss']:.3f}{' (best)' if better else ''}"
    seconds = format_duration(record["seconds"])
    print(f"epoch {state.epoch}/{settings.epochs}: train loss {record['train_loss']:.3f}{dev}, {seconds}", flush=True)
