"""What an augmentation is: a frozen dataclass of parameters with an `apply`.

Its fields are made by `parameter`; from them come the syntax of `--augment`, the checks and the table in the README.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from speech.augmentation.draws import Chance
from speech.augmentation.ranges import Range

Floats = npt.NDArray[np.float32]

SAMPLE, SIGNAL, SPECTROGRAM, FEATURES = "sample", "signal", "spectrogram", "features"
DOMAINS = (SAMPLE, SIGNAL, SPECTROGRAM, FEATURES)  # in the order in which they are applied
CHOOSABLE_DOMAINS = (SIGNAL, SPECTROGRAM, FEATURES)

real_range: Callable[[str], Range] = Range.parse
whole_range: Callable[[str], Range] = partial(Range.parse, whole=True)


def share(text: str) -> float:
    """A number of 0.0 ... 1.0."""
    value = number(text)
    if not 0 <= value <= 1:
        raise ValueError("expected a number of 0.0 ... 1.0")
    return value


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("expected a number")
    return value


def chosen_domain(text: str) -> str:
    """One of the domains that an augmentation of several can be told."""
    if text not in CHOOSABLE_DOMAINS:
        raise ValueError(f"expected one of {', '.join(CHOOSABLE_DOMAINS)}")
    return text


def path(text: str) -> str:
    """The path of a file or folder."""
    if not text:
        raise ValueError("expected a path")
    return text


def parameter(
    read: Callable[[str], Any],
    default: str | None,
    help: str,
    *,
    unit: str = "",
    above: float = -math.inf,
    least: float = -math.inf,
    aliases: tuple[str, ...] = (),
) -> Any:
    """A field that `--augment` may set: how its text is read, the default's text (None: required) and its bounds.

    `above` and `least` bound every value that a range can reach. `aliases` are other spellings of the name.
    """
    metadata = {"read": read, "help": help, "unit": unit, "above": above, "least": least, "aliases": aliases}
    if default is None:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=read(default), metadata={**metadata, "default": default})


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One augmentation with its parameters."""

    NAME: ClassVar[str]

    p: float = parameter(share, "1.0", "probability that a clip gets it")
    domain: str = dataclasses.field(default=SAMPLE)  # a parameter of those that have several

    def apply(self, array: Floats, chance: Chance) -> Floats:
        """The augmented copy: signals are `[N]`, full scale 1.0; spectrograms `[T, 257]`; features `[T, 26]`."""
        raise NotImplementedError

    def __str__(self) -> str:
        parameters = (field for field in dataclasses.fields(self) if "read" in field.metadata)
        return f"{self.NAME}[{','.join(f'{field.name}={getattr(self, field.name)}' for field in parameters)}]"
