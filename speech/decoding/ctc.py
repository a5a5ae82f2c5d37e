"""The CTC loss of given emissions: how unlikely the model finds the reference.

Source: Graves et al., "Connectionist Temporal Classification", 2006, the forward variable of section 4.1, in the log
domain. Defined where training operators refuse: for no labels, no frames, and more labels than frames can carry.
"""

from collections.abc import Sequence

import numpy as np

CLIPS_AT_ONCE = 64


def ctc_losses(emissions: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> np.ndarray:
    """Negative log-likelihood in nats of each clip, `[N]`: probabilities `[T, C]`, blank last, and labels `[L]`.

    Infinite where the frames cannot carry the labels: each takes one, and equal neighbours a blank between them.
    """
    losses = np.zeros(len(labels))
    order = np.argsort([len(clip) for clip in emissions], kind="stable")
    for start in range(0, len(order), CLIPS_AT_ONCE):
        chosen = order[start : start + CLIPS_AT_ONCE]
        losses[chosen] = _batch_losses([emissions[i] for i in chosen], [labels[i] for i in chosen])
    return losses


def frames_needed(labels: np.ndarray) -> int:
    """The fewest frames that can carry `labels`: one each, and a blank between equal neighbours."""
    return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))


def _batch_losses(emissions: list[np.ndarray], labels: list[np.ndarray]) -> np.ndarray:
    clips, classes = len(emissions), emissions[0].shape[1]
    n_frames = np.array([len(clip) for clip in emissions])
    n_states = np.array([2 * len(clip) + 1 for clip in labels])
    states = np.full((clips, n_states.max()), classes - 1)  # [N, S]: blank, label, blank, ..., blank
    log_p = np.full((n_frames.max(), clips, classes), -np.inf)
    for clip, (probabilities, clip_labels) in enumerate(zip(emissions, labels, strict=True)):
        states[clip, 1 : n_states[clip] : 2] = clip_labels
        log_p[: len(probabilities), clip] = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    skips = np.zeros(states.shape, bool)  # a label may follow another one without a blank if they differ
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]

    everyone = np.arange(clips)
    alpha = np.full((clips, states.shape[1] + 2), -np.inf)  # two unreachable states in front: no special cases
    for frame in range(len(log_p)):
        before = alpha[:, 2:]
        if frame:
            jump = np.where(skips, alpha[:, :-2], -np.inf)
            reached = np.logaddexp(np.logaddexp(before, alpha[:, 1:-1]), jump)
        else:
            reached = np.where(np.arange(states.shape[1]) < 2, 0.0, before)
        now = reached + log_p[frame][everyone[:, None], states]
        alpha[:, 2:] = np.where((frame < n_frames)[:, None], now, before)
    last, before_last = alpha[everyone, n_states + 1], alpha[everyone, n_states]
    no_frames = np.where(n_states == 1, 0.0, np.inf)
    return np.where(n_frames == 0, no_frames, -np.logaddexp(last, before_last))
