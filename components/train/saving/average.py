"""The mean of the weights that a run had at the ends of its last epochs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from speech.nn import snapshots
from speech.nn.snapshots import Snapshot


def mean_of(prefixes: Sequence[str]) -> Snapshot:
    """The newest of these checkpoints (the last one), with the mean of all their weights."""
    newest = snapshots.load(prefixes[-1])
    sums = {name: value.astype(np.float64) for name, value in newest.weights.items()}
    for prefix in prefixes[:-1]:
        for name, value in snapshots.load(prefix).weights.items():
            sums[name] += value
    return replace(newest, weights={name: (total / len(prefixes)).astype(np.float32) for name, total in sums.items()})
