"""What a model makes of the dev sets: loss, and word and character error rates of greedy decoding."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speech.clips.tally import NO_LOSS
from speech.decoding.greedy import labels_of_batch
from speech.metrics import NORMALIZATIONS, ErrorCount, character_error_table, word_error_table
from speech.nn.batches import Batch, ClipSet, Worker, stream
from speech.nn.plans import BatchSize, plan_sorted
from speech.nn.training import Trainer
from speech.progress import Progress

# Padded frames that validation computes at once; no score depends on it.
DEV_BATCH = BatchSize(frames=40_000)
normalized = NORMALIZATIONS["spaces"]  # as components.evaluate does it by default


@dataclass(frozen=True)
class Scores:
    """What a model comes to on sets of clips."""

    loss: float
    wer: float
    cer: float

    def as_record(self) -> dict[str, float]:
        """The form of histories and states."""
        return {"dev_loss": self.loss, "dev_wer": self.wer, "dev_cer": self.cer}

    @classmethod
    def from_record(cls, record: dict[str, float]) -> "Scores":
        """From such a form."""
        return cls(record["dev_loss"], record["dev_wer"], record["dev_cer"])

    def __str__(self) -> str:
        return f"dev loss {self.loss:.3f}, WER {self.wer:.1%}, CER {self.cer:.1%}"

    def rank(self, by: str) -> tuple[float, ...]:
        """For comparisons, the lower the better: `loss`, or the rate `wer` or `cer`.

        Rates of few clips are often equal; the other rate decides then, and the loss last.
        """
        return {"loss": (self.loss,), "wer": (self.wer, self.cer, self.loss), "cer": (self.cer, self.wer, self.loss)}[
            by
        ]


@dataclass(frozen=True)
class Validator:
    """Measures a trainer's weights; all workers take part, each with some of the batches."""

    trainer: Trainer
    worker: Worker
    check_clips: Callable[[ClipSet], None]  # called when a set has been read
    group: int = 1  # clips whose losses are averaged first
    backwards: bool = False  # groups from long to short clips
    show_progressbar: bool = True

    def measure(self, sets: Sequence[ClipSet], label: str) -> Scores:
        """The scores on sets of clips.

        The loss is the mean over groups of clips, by length, of their mean losses; each set counts by its number of
        groups, as in the peers. The rates are those of all clips together.
        """
        group_losses: list[float] = []
        errors = np.zeros(4)
        for clips in sets:
            losses, of_set = self._read(clips, label)
            errors += of_set
            ordered = losses[np.argsort(clips.n_samples, kind="stable")]
            ordered = ordered[np.isfinite(ordered)][:: -1 if self.backwards else 1]
            starts = range(0, len(ordered), self.group)
            group_losses += [float(ordered[start : start + self.group].mean()) for start in starts]
        words, characters = (ErrorCount(round(errors[k]), round(errors[k + 1])) for k in (0, 2))
        return Scores(float(np.mean(group_losses)) if group_losses else math.nan, words.rate, characters.rate)

    def _read(self, clips: ClipSet, label: str) -> tuple[np.ndarray, np.ndarray]:
        """Losses `[N]`, NaN for clips of no use, and the edits and tokens `[4]` of words and of characters."""
        losses: np.ndarray = np.full(len(clips), np.nan)
        errors: np.ndarray = np.zeros(4)
        batches = plan_sorted(clips.n_frames, DEV_BATCH)
        with Progress(label, len(clips), "clips", show=self.show_progressbar) as progress:
            for batch in stream(clips, batches[self.worker.number :: self.worker.of]):
                heard = self.trainer.heard(batch)
                losses[batch.clips] = heard.losses
                for position in batch.clips[~np.isfinite(heard.losses)]:
                    clips.leave_out(int(position), NO_LOSS)
                errors += _errors(clips, batch, heard.likeliest)
                progress.update(len(batch.clips) * self.worker.of)
        if self.worker.of > 1:
            known = np.isfinite(losses)
            sums = self.trainer.sum_of_workers(np.stack([np.where(known, losses, 0.0), known]))
            losses = np.where(sums[1] > 0, sums[0], np.nan)
            errors = self.trainer.sum_of_workers(errors)
        self.check_clips(clips)
        return losses, errors


def _errors(clips: ClipSet, batch: Batch, likeliest: np.ndarray) -> np.ndarray:
    """Edits and tokens `[4]` of words and of characters of the clips of a batch."""
    found = labels_of_batch(likeliest, batch.n_frames.numpy(), clips.geometry.n_labels)
    hypotheses = [normalized(clips.alphabet.decode(labels.tolist())) for labels in found]
    references = [normalized(clips.transcript(int(position))) for position in batch.clips]
    words = word_error_table(references, hypotheses).total
    characters = character_error_table(references, hypotheses).total
    return np.array([words.edits, words.reference_tokens, characters.edits, characters.reference_tokens], np.float64)
