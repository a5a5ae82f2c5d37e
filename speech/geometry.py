"""The shape of a model and of its features: what travels inside checkpoints and exported models."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from speech.errors import InputError

LARGEST = 1 << 24  # of any number in a geometry

N = TypeVar("N", bound=Any)  # a number of samples: int, an array or a tensor of them


@dataclass(frozen=True)
class Geometry:
    """Everything that a later step must know to run a model; DeepSpeech's constants are the defaults."""

    n_hidden: int
    n_labels: int  # symbols of the alphabet, the blank not counted
    layer_norm: bool = False
    relu_clip: float = 20.0
    audio_sample_rate: int = 16_000
    feature_win_len: int = 32  # ms
    feature_win_step: int = 20  # ms
    n_input: int = 26  # MFCC coefficients a frame
    n_context: int = 9  # frames of context on each side

    @property
    def window_samples(self) -> int:
        """Samples in one analysis window."""
        return self.audio_sample_rate * self.feature_win_len // 1000

    @property
    def step_samples(self) -> int:
        """Samples from one analysis window to the next."""
        return self.audio_sample_rate * self.feature_win_step // 1000

    @property
    def window_frames(self) -> int:
        """Frames that the first layer sees at once: the frame and its context on both sides."""
        return 2 * self.n_context + 1

    @property
    def n_classes(self) -> int:
        """Width of the logits: the symbols and the blank."""
        return self.n_labels + 1

    def n_frames(self, samples: N, largest: Callable[[Any, Any], Any] = max) -> N:
        """Feature frames of a signal of `samples`, or of many: with numpy's or TensorFlow's `maximum` as `largest`."""
        return largest(0, 1 + (samples - self.window_samples) // self.step_samples)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> "Geometry":
        """Read the JSON form; unknown keys are ignored, a missing one raises InputError."""
        if not isinstance(values, dict):
            raise InputError(f"{where}: not a model geometry: {str(values)[:40]!r}")
        known = {field.name: field.type for field in fields(cls)}
        for name, value in values.items():
            if known.get(name) is int and not (type(value) is int and 0 <= value <= LARGEST):
                raise InputError(f"{where}: not a model geometry: {name} is {str(value)[:40]!r}")
            if known.get(name) is float and not (isinstance(value, int | float) and math.isfinite(value)):
                raise InputError(f"{where}: not a model geometry: {name} is {str(value)[:40]!r}")
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except TypeError as error:
            raise InputError(f"{where}: not a model geometry: {error}") from error
