"""Which clips make a batch, and in which order the batches come: from lengths and (seed, epoch) alone.

Batches hold clips of about the same length, because what is padded is computed for nothing. Nothing is compiled for a
batch's shape, so lengths need no fixed boundaries: a clip's bucket is drawn anew each epoch, by its length and a little
chance, which leaves no batch that holds the same clips twice and no half-filled bucket.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# How far a clip's length may stray when neighbours are drawn, as a share of it. Neighbours among few clips differ in
# length by themselves, so they may stray less; but always enough that epochs differ, and where the goal is out of reach
# for so few clips, as far as ever.
MOST_JITTER, LEAST_JITTER = 0.035, 0.015
PADDING_GOAL = 0.047  # a little below 5 %
PADDING_OF_JITTER = 0.6  # what straying adds to the padding, as a share of the jitter; measured


@dataclass(frozen=True)
class BatchSize:
    """So many clips (0: any number) that have at most so many frames with their padding (0: any number)."""

    clips: int = 0
    frames: int = 0

    def cut(self, order: np.ndarray, n_frames: np.ndarray) -> list[np.ndarray]:
        """Positions in `order` `[N]` -> batches; a clip that is too long for any batch gets one of its own."""
        if not self.frames:
            return [order[start : start + self.clips] for start in range(0, len(order), self.clips)]
        starts, longest = [0], 0  # where each batch begins, and the frames of the longest clip in the last one
        for position, frames in enumerate(n_frames[order].tolist()):
            longest = max(longest, frames)
            n_clips = position + 1 - starts[-1]  # of the last batch with this clip
            if n_clips > 1 and not self._may_hold(n_clips, longest):
                starts.append(position)
                longest = frames
        return np.split(order, starts[1:])

    def _may_hold(self, n_clips: int, longest: int) -> bool:
        """Whether so many clips that are padded to so many frames fit into a batch."""
        return n_clips * longest <= self.frames and (not self.clips or n_clips <= self.clips)


def plan_sorted(n_frames: np.ndarray, size: BatchSize) -> list[np.ndarray]:
    """Batches of neighbours in length, shortest first: the order of validation, and of a first epoch."""
    return size.cut(np.argsort(n_frames, kind="stable"), n_frames)


def plan_shuffled(n_frames: np.ndarray, size: BatchSize, seed: int, epoch: int) -> list[np.ndarray]:
    """Batches of clips of about the same length, drawn and ordered at random from (seed, epoch)."""
    generator = np.random.default_rng([seed, epoch])
    jitter = _jitter(padding(n_frames, plan_sorted(n_frames, size)))
    stray = 1.0 + generator.uniform(-jitter, jitter, len(n_frames))
    batches = size.cut(np.argsort(n_frames * stray, kind="stable"), n_frames)
    return [batches[position] for position in generator.permutation(len(batches))]


def _jitter(least_padding: float) -> float:
    """How far lengths may stray where neighbours alone have so much padding."""
    room = PADDING_GOAL - least_padding
    if room < 0:
        return MOST_JITTER
    return min(max(room / PADDING_OF_JITTER, LEAST_JITTER), MOST_JITTER)


def padding(n_frames: np.ndarray, batches: Sequence[np.ndarray]) -> float:
    """The share of padding among the frames of these batches."""
    padded = sum(int(n_frames[batch].max()) * len(batch) for batch in batches)
    return 1.0 - sum(int(n_frames[batch].sum()) for batch in batches) / padded if padded else 0.0
