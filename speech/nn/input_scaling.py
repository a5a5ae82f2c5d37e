"""Layer 1 that starts and learns as if each feature had mean 0 and deviation 1.

MFCC have neither: the first one is some ten times as large as most others and far from 0, so it alone decides what
fresh hidden units see, and steps of equal size for all weights change little else. The graph that clients run has no
place for a normalisation. It goes into the fresh weights and into the steps, and checkpoints stay as they are.

With x' = (x - mean) / deviation the sums of layer 1, w x + b, are w' x' + b' where w' = deviation w, b' = b + mean w.
Adam works on w' and b': its moments are those of their gradients, and each step is carried over to w and b.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from speech.geometry import Geometry
from speech.model_files.variables import MOMENTS
from speech.nn.batches import ClipSet
from speech.nn.snapshots import OWN

WEIGHTS, BIAS = "layer_1/weights", "layer_1/bias"
INNER = f"{OWN}/"  # before the names of the moments of w' in a bundle, whose others are those of w
MOST_CLIPS = 500  # are read; a mean over that many is known to a few per cent of the deviation
DECIMALS = 3
LEAST_DEVIATION = 0.01  # of a feature that hardly changes (silence)

Moments = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class InputScaling:
    """Mean and deviation of each feature, `[n_input]` float64."""

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @classmethod
    def of(cls, clips: ClipSet) -> "InputScaling":
        """That of some clips of a set, from its beginning to its end, as they are without augmentation.

        Rounded, so that workers agree whose processors add in another order.
        """
        chosen = np.unique(np.linspace(0, len(clips) - 1, min(len(clips), MOST_CLIPS)).round().astype(int))
        n_frames, total = 0, np.zeros((2, clips.geometry.n_input))
        for position in chosen:
            if (clip := clips.featurised(int(position))) is not None:
                features = clip.features.astype(np.float64)  # [T, n_input]
                n_frames += len(features)
                total += features.sum(0), np.square(features).sum(0)
        mean, square = total / max(1, n_frames)
        deviation = np.sqrt(np.maximum(square - np.square(mean), LEAST_DEVIATION**2))
        return cls(mean.round(DECIMALS), deviation.round(DECIMALS))

    def of_windows(self, geometry: Geometry) -> "WindowScaling":
        """The same for the inputs of layer 1."""
        mean, deviation = (
            np.tile(values, geometry.window_frames)[:, np.newaxis].astype(np.float32)
            for values in (self.mean, self.deviation)
        )
        return WindowScaling(mean, deviation)

    def to_dict(self) -> dict[str, Any]:
        """The form that checkpoints keep."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "InputScaling":
        """From such a form; exact."""
        return cls(np.array(kept["mean"]), np.array(kept["deviation"]))


@dataclass(frozen=True)
class WindowScaling:
    """Mean and deviation of each input of layer 1, `[window_frames * n_input, 1]` float32."""

    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]

    def of_fresh(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Fresh `weights` taken for w' and b'."""
        outer = weights[WEIGHTS] / self.deviation
        return {**weights, WEIGHTS: outer, BIAS: weights[BIAS] - (self.mean * outer).sum(0)}

    def outer_moments(self, moments: Moments) -> dict[str, np.ndarray]:
        """With the moments of w, which other trainers go on with, beside those of w', which this one does.

        The second one leaves out that the gradients of w' and b' go together.
        """
        first, second = (moments[f"{WEIGHTS}/{moment}"] for moment in MOMENTS)
        of_bias = [moments[f"{BIAS}/{moment}"] for moment in MOMENTS]
        outer = (
            self.deviation * first + self.mean * of_bias[0],
            np.square(self.deviation) * second + np.square(self.mean) * of_bias[1],
        )
        found = dict(moments)
        for moment, value, inner in zip(MOMENTS, outer, (first, second), strict=True):
            found |= {f"{WEIGHTS}/{moment}": value, f"{INNER}{WEIGHTS}/{moment}": inner}
        return found

    def inner_moments(self, moments: Moments) -> dict[str, np.ndarray]:
        """The moments of w' in place of those of w: exactly as they were, or made of those of another trainer."""
        names = [f"{WEIGHTS}/{moment}" for moment in MOMENTS]
        kept = {name: value for name, value in moments.items() if not name.startswith(INNER)}
        if all(f"{INNER}{name}" in moments for name in names):
            return kept | {name: moments[f"{INNER}{name}"] for name in names}
        if not all(name in moments for name in names):
            return kept
        of_bias = [moments[f"{BIAS}/{moment}"] for moment in MOMENTS]
        first, second = (moments[name] for name in names)
        second = (second + np.square(self.mean) * of_bias[1]) / np.square(self.deviation)
        return kept | dict(zip(names, ((first - self.mean * of_bias[0]) / self.deviation, second), strict=True))
