"""CTC best path: the likeliest label of each frame, repeats merged, blanks dropped. No scorer, no search."""

import numpy as np

from speech.alphabet import Alphabet


def best_path_labels(emissions: np.ndarray) -> np.ndarray:
    """Probabilities or logits `[T, C]`, blank last -> labels `[L]`."""
    if not len(emissions):
        return np.zeros(0, np.int64)
    best = emissions.argmax(axis=1)  # [T]
    changes = np.concatenate([[True], best[1:] != best[:-1]])
    return best[changes & (best != emissions.shape[1] - 1)]


def labels_of_batch(likeliest: np.ndarray, n_frames: np.ndarray, blank: int) -> list[np.ndarray]:
    """Likeliest class of each frame `[B, T]` and frame counts `[B]` -> labels `[L]` of each clip."""
    kept = likeliest != blank
    kept[:, 1:] &= likeliest[:, 1:] != likeliest[:, :-1]
    kept &= np.arange(likeliest.shape[1]) < n_frames[:, np.newaxis]
    return np.split(likeliest[kept], np.cumsum(kept.sum(axis=1))[:-1])


def best_path(emissions: np.ndarray, alphabet: Alphabet) -> str:
    """Probabilities or logits `[T, C]`, blank last -> the transcript."""
    return alphabet.decode(best_path_labels(emissions))
