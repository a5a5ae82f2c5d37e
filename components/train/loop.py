"""The outer loop of training: when to validate, save, cut the learning rate and stop. speech.nn computes."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from components.train.followed.tracker import TrainingTracker
from components.train.followed.training_curves import TrainingCurves
from components.train.interruption import Interruption
from components.train.recipes.schedule import Schedule
from components.train.saving.average import mean_of
from components.train.saving.saver import Saver
from components.train.saving.store import CheckpointStore
from components.train.settings import TrainSettings
from components.train.validation import Scores, Validator
from speech.augmentation import Augmenter
from speech.clips.tally import NO_GRADIENT, NO_LOSS
from speech.errors import InputError, RetryError
from speech.features.feature_cache import Cache
from speech.nn.batches import Batch, ClipSet, EpochAugmentation, Worker, stream, subset
from speech.nn.plans import BatchSize, plan_shuffled, plan_sorted
from speech.nn.training import StepResult, Trainer
from speech.progress import Progress, format_duration


@dataclass
class RunState:
    """Where a run is: everything besides the weights that the rest of it depends on."""

    run_key: str
    epoch: int = 0
    batch: int = 0  # the next batch of the epoch
    loss_sum: float = 0.0  # over the batches of the epoch so far
    loss_count: int = 0
    best: dict[str, Any] | None = None  # the best checkpoint's epoch (0: what was loaded) and scores
    stalled_epochs: int = 0
    finished: bool = False
    average: dict[str, Any] | None = None  # what came of the last epochs' mean, once it was tried
    history: list[dict[str, Any]] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)  # where the run started, for reports; a resumed one keeps it
    tracked_as: str = ""  # the run's name in a tracking server
    base: dict[str, Any] | None = (
        None  # the checkpoint that was loaded, and its dev loss, which the epochs have to beat
    )

    @property
    def base_is_best(self) -> bool:
        """Whether no epoch was better than the checkpoint that the run started from."""
        return self.base is not None and self.best is not None and self.best["epoch"] == 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunState":
        """Read the JSON form."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


class Waiting:
    """Passes batches on, and measures the time until each is there."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = batches
        self.waited_s = self.worked_s = 0.0
        self.newest_s = 0.0  # the wait for the newest batch

    @property
    def share(self) -> float:
        """The share of the time in which the device had nothing to do."""
        return self.waited_s / max(self.waited_s + self.worked_s, 1e-9)

    def __iter__(self) -> Iterator[Batch]:
        before = time.monotonic()
        for batch in self._batches:
            asked = time.monotonic()
            self.newest_s = asked - before
            self.waited_s += self.newest_s
            try:
                yield batch
            finally:  # whoever has the last batch that it wants asks for no more
                before = time.monotonic()
                self.worked_s += before - asked


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
    curves: TrainingCurves
    cache: Cache | None = None
    base: str = ""  # the name of the checkpoint that the epochs have to beat
    tracker: TrainingTracker | None = None
    waiting: Waiting | None = None  # of the newest epoch

    def __post_init__(self) -> None:
        self.saver = Saver(self.store, self.trainer)
        self.schedule = Schedule.of(self.settings)
        self.validator = Validator(
            self.trainer,
            self.worker,
            self.check_clips,
            self.settings.dev_batch_size,
            self.settings.reverse_dev,
            self.settings.show_progressbar,
        )
        self.n_batches = 0  # of the current epoch

    def run(self) -> RunState:
        """Train until `--epochs` are done or the dev loss has stalled; returns the final state.

        Raises RetryError after saving when SIGTERM arrives.
        """
        state = self.state
        self._check_workers()
        with Interruption().armed() as interruption, self.saver:
            if not self.settings.skip_batch_test and state.epoch < self.settings.epochs:
                self.try_longest_batch()
            if self.base and state.base is None and not state.epoch and not state.batch and self.settings.epochs:
                self.measure_base()
            while state.epoch < self.settings.epochs and not state.finished:
                started = time.monotonic()
                self.train_epoch(interruption)
                scores = self.validator.measure(self.dev_sets, "validation") if self.dev_sets else None
                metrics = {clips.source: self.validator.measure([clips], "metrics").loss for clips in self.metrics_sets}
                self.finish_epoch(scores, metrics, time.monotonic() - started)
                if interruption.requested and not state.finished:
                    self.saver.wait()
                    raise RetryError(f"SIGTERM: saved after epoch {state.epoch}; the same command goes on from there")
            if not state.history:  # --epochs 0: the checkpoint is what it started from
                state.finished = True
                self.save()
            self.try_average()
        self.curves.finish(self.trainer.global_step)
        if state.base is not None and state.base_is_best:
            name, loss = state.base["checkpoint"], state.base["dev_loss"]
            print(f"no epoch was better than {name} (dev loss {loss:.3f}): it stays the best", flush=True)
        for clips in (self.train_set, *self.dev_sets, *self.metrics_sets):
            clips.count_left_out(self.trainer.sum_of_workers(clips.left_out_while_reading))
        return state

    def measure_base(self) -> None:
        """The loaded checkpoint's dev loss: it is the best of this run until an epoch is better."""
        if not self.dev_sets:
            return
        scores = self.validator.measure(self.dev_sets, "validation before training")
        if not np.isfinite(scores.loss):
            return
        state = self.state
        state.base = {"checkpoint": self.base, **scores.as_record()}
        state.best = {"epoch": 0, **scores.as_record()}
        self.curves.measured(self.trainer.global_step, scores)
        print(f"before training: {scores} ({self.base})", flush=True)
        self.save(last=False, best=True)

    def try_average(self) -> None:
        """Measure the mean of the last epochs' weights; if it is better than the best checkpoint, it becomes that."""
        state, settings, chief = self.state, self.settings, self.trainer.devices.is_chief
        if settings.average_checkpoints < 2 or state.best is None or len(state.history) < 2:
            return
        self.saver.wait()
        self.trainer.restore(mean_of(self.store.epoch_ends) if chief else None)
        scores = self.validator.measure(self.dev_sets, "validation of the average")
        better = self.is_best(scores)
        epochs = min(settings.average_checkpoints, len(state.history))
        state.average = {"epochs": epochs, **scores.as_record(), "is_best": better}
        print(f"mean of the last {epochs} epochs' weights: {scores}{' (best)' if better else ''}", flush=True)
        if better:
            state.best = {"epoch": state.epoch, **scores.as_record()}
            self.save(last=False, best=True)

    def save(self, last: bool = True, best: bool = False) -> None:
        """Write the newest checkpoint, the best one, or the same as both, if this is the worker that does."""
        if self.trainer.devices.is_chief:
            unwritten = {"unwritten_curves": self.curves.unwritten} if last else {}
            self.saver.save(asdict(self.state) | unwritten, last=last, best=best)

    @property
    def save_every_s(self) -> float:
        """Time between checkpoints within an epoch."""
        times = (self.settings.checkpoint_secs, self.settings.upload_secs if self.store.mirror else 0)
        return min((seconds for seconds in times if seconds > 0), default=math.inf)

    @property
    def worker(self) -> Worker:
        """The share of each batch that this process reads."""
        return Worker(self.trainer.devices.worker, self.trainer.devices.n_workers)

    @property
    def batch_size(self) -> BatchSize:
        """What makes an optimizer step."""
        settings, parts = self.settings, self.settings.gradient_accumulation_steps
        if settings.train_batch_frames:
            return BatchSize(frames=settings.train_batch_frames * parts)
        return BatchSize(settings.train_batch_size * parts)

    def _check_workers(self) -> None:
        """Several workers have to start from the same place, or they would wait for each other forever."""
        if self.worker.of == 1:
            return
        place = np.array([self.trainer.global_step, self.state.epoch, self.state.batch], np.float64)
        with self.trainer.devices.waiting_for("all workers to have read their clips"):
            sums, squares = self.trainer.sum_of_workers(np.stack([place, place**2]))
        if (squares * self.worker.of != sums**2).any():
            raise InputError(
                f"worker {self.worker.number} is at step {self.trainer.global_step}, another one is not: give all of "
                "them the same --checkpoint_dir, on a shared disk or as an s3:// prefix"
            )

    def try_longest_batch(self) -> None:
        """Forward and backward pass of the longest clips, without an update: memory that is too small shows now."""
        longest = plan_sorted(self.train_set.n_frames, self.batch_size)[-1:]
        if not self.settings.train_batch_frames:
            longest = [np.argsort(self.train_set.n_samples, kind="stable")[-self.batch_size.clips :]]
        for batch in stream(self.train_set, longest, worker=self.worker):
            self.trainer.try_gradients(batch)

    def plan(self) -> list[np.ndarray]:
        """The batches of the current epoch."""
        settings, n_frames = self.settings, self.train_set.n_frames
        if settings.shuffle_batches and self.state.epoch >= settings.shuffle_start:
            batches = plan_shuffled(n_frames, self.batch_size, settings.random_seed, self.state.epoch)
        else:
            batches = plan_sorted(n_frames, self.batch_size)
            batches = batches[::-1] if settings.reverse_train else batches
        return batches * settings.augmentations_per_epoch

    def rate_factor(self, batch: int) -> float:
        """The schedule's factor of the learning rate for a batch of the current epoch."""
        return self.schedule.factor((self.state.epoch + batch / max(1, self.n_batches)) / self.settings.epochs)

    def train_epoch(self, interruption: Interruption) -> None:
        """Train on what is left of the current epoch."""
        settings, state = self.settings, self.state
        batches, saved = self.plan(), time.monotonic()
        self.n_batches = len(batches)
        clips, done = sum(map(len, batches)), sum(map(len, batches[: state.batch]))
        augmentation = EpochAugmentation(self.augmenter, state.epoch, settings.epochs, settings.augmentations_per_epoch)
        if self.cache is not None and settings.cache_for_epochs and state.epoch % settings.cache_for_epochs == 0:
            self.cache.clear()
        label, show = f"epoch {state.epoch + 1}/{settings.epochs}", settings.show_progressbar
        start, worker = state.batch, self.worker
        made = stream(self.train_set, batches, start=start, augmentation=augmentation, cache=self.cache, worker=worker)
        self.waiting = Waiting(made)
        self.curves.begin_epoch(state.epoch + start / max(1, len(batches)))
        with Progress(label, clips, "clips", done=done, show=show) as progress:
            for batch in self.waiting:
                result = self.train_batch(batch, interruption.requested)
                state.batch = batch.index + 1
                if result.applied:
                    state.loss_sum += result.mean_loss
                    state.loss_count += 1
                    self.add_to_curves(result, batch.index)
                progress.update(len(batches[batch.index]), loss=f"{state.loss_sum / max(1, state.loss_count):.3f}")
                if state.batch == len(batches):
                    break  # the checkpoint of the epoch's end follows
                if worker.of == 1:
                    self.check_clips(self.train_set)
                # Another worker's wish to stop comes with the step; this one's own may be younger than the step.
                stop = result.stop if worker.of > 1 else interruption.requested
                if stop or (time.monotonic() - saved >= self.save_every_s and self.saver.ready):
                    self.save()
                    saved = time.monotonic()
                if stop:
                    self.saver.wait()
                    step = self.trainer.global_step
                    raise RetryError(f"SIGTERM: saved at step {step}; the same command goes on from there")
        if not state.loss_count:
            reasons = self.train_set.tally.reasons()
            raise InputError(f"{self.train_set.source}: no clip could be trained on ({reasons}): check the audio files")
        state.batch = len(batches)
        self.check_clips(self.train_set)

    def add_to_curves(self, result: StepResult, batch: int) -> None:
        """The step that was just taken, of a batch of the current epoch."""
        rate = self.trainer.learning_rate * self.rate_factor(batch)
        waited_s = self.waiting.newest_s if self.waiting else 0.0
        epoch = self.state.epoch + (batch + 1) / self.n_batches
        self.curves.step(self.trainer.global_step, epoch, result, rate, waited_s)

    def check_clips(self, clips: ClipSet) -> None:
        """Stop when too many clips turn out to be of no use, as soon as that shows; what was trained is kept."""
        counts = self.trainer.sum_of_workers(clips.left_out_while_reading)
        try:
            clips.check_left_out(counts)
        except InputError as error:
            self.save()
            raise InputError(f"{error}; the same command goes on at step {self.trainer.global_step}") from error

    def train_batch(self, batch: Batch, stop: bool = False) -> StepResult:
        """One optimizer step; clips without a finite loss are named and left out.

        The result says that nothing was applied if no clip was left, on any worker.
        """
        rate_factor = self.rate_factor(batch.index)
        result = self.trainer.train(batch, stop=stop, rate_factor=rate_factor)
        while not result.applied:
            finite = np.isfinite(result.losses)
            for position in batch.clips[~finite]:
                self.train_set.leave_out(int(position), NO_LOSS)
            if not result.n_not_finite:
                for position in batch.clips:
                    self.train_set.leave_out(int(position), NO_GRADIENT)
            if result.n_not_finite in (0, result.n_clips):
                break
            batch = subset(batch, finite)
            result = self.trainer.train(batch, stop=stop, rate_factor=rate_factor)
        return result

    def finish_epoch(self, scores: Scores | None, metrics: dict[str, float], seconds: float) -> None:
        """Record the epoch, save, and apply early stopping and the plateau rule."""
        settings, state = self.settings, self.state
        record = {
            "epoch": state.epoch + 1,
            "train_loss": state.loss_sum / state.loss_count if state.loss_count else float("nan"),
            **(scores.as_record() if scores else {"dev_loss": None}),
            "learning_rate": self.trainer.learning_rate * self.rate_factor(self.n_batches - 1),
            "seconds": round(seconds, 2),
            **({"metrics": metrics} if metrics else {}),
        }
        state.history.append(record)
        state.epoch, state.batch, state.loss_sum, state.loss_count = state.epoch + 1, 0, 0.0, 0
        better = scores is not None and self.is_best(scores)
        if scores is not None:
            stalled = not better
            if settings.best_by == "loss" and state.best is not None:
                stalled = scores.loss > state.best["dev_loss"] - settings.es_min_delta
            state.stalled_epochs = state.stalled_epochs + 1 if stalled else 0
            if better:
                state.best = {"epoch": state.epoch, **scores.as_record()}
        self.report(record, scores, better)
        if settings.early_stop and state.stalled_epochs >= settings.es_epochs:
            by = f"the dev loss has not fallen by {settings.es_min_delta}"
            by = by if settings.best_by == "loss" else f"no epoch was better by dev {settings.best_by.upper()}"
            print(f"early stop: {by} for {settings.es_epochs} epochs")
            state.finished = True
        elif self.schedule.cuts and 0 == state.stalled_epochs % settings.plateau_epochs < state.stalled_epochs:
            self.cut_learning_rate()
        state.finished = state.finished or state.epoch >= settings.epochs
        self.save(best=better)

    def is_best(self, scores: Scores) -> bool:
        """Whether no checkpoint of the run was as good."""
        best, by = self.state.best, self.settings.best_by
        return best is None or scores.rank(by) < Scores.from_record(best).rank(by)

    def cut_learning_rate(self) -> None:
        """Go back to the best weights with a smaller learning rate."""
        self.trainer.restore(self.saver.load_best() if self.trainer.devices.is_chief else None)
        self.trainer.learning_rate = self.trainer.learning_rate * self.settings.plateau_reduction
        print(f"plateau: back to the best weights, learning rate {self.trainer.learning_rate:g}", flush=True)

    def report(self, record: dict[str, Any], scores: Scores | None, better: bool) -> None:
        """One line an epoch, and the curves."""
        self.curves.epoch(self.trainer.global_step, record, scores)
        if self.tracker:
            self.tracker.show(self.state.history)
        dev = f", {scores}{' (best)' if better else ''}" if scores else ""
        metrics = "".join(f", {name} {loss:.3f}" for name, loss in record.get("metrics", {}).items())
        seconds = format_duration(record["seconds"])
        if self.waiting is not None:
            seconds += f", waited for clips {self.waiting.share:.1%} of the time"
        epoch = f"epoch {record['epoch']}/{self.settings.epochs}"
        print(f"{epoch}: train loss {record['train_loss']:.3f}{dev}{metrics}, {seconds}", flush=True)
