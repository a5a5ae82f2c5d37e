"""Reproducible chance: what an augmentation does to a clip is decided by (seed, epoch, clip) and nothing else.

Every augmentation has a stream of random numbers of its own. So it does not matter which thread comes first, where a
killed run resumes, or which other augmentations there are.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from speech.augmentation.ranges import Values

if TYPE_CHECKING:
    from speech.augmentation.recordings import Recordings


@dataclass
class Chance:
    """What one augmentation gets for one clip: random numbers, the clock, and the units of time."""

    generator: np.random.Generator
    clock: float = 0.0  # 0.0 ... 1.0, how much of the training is over
    sample_rate: int = 16_000  # Hz
    frame_ms: float = 20.0  # from one frame to the next
    min_frames: int = 1  # frames that the clip's labels need
    recordings: "Mapping[str, Recordings]" = field(default_factory=dict)  # by the name that --augment gave

    def pick(self, values: Values) -> float:
        """A value of a range at this moment."""
        return values.pick(self.clock, self.generator)

    def pick_count(self, values: Values) -> int:
        """How many of something: a whole number, 0 where the range reaches below."""
        return max(0, round(self.pick(values)))


class Draw:
    """The random numbers of one clip in one epoch; immutable, to be shared by the domains and by threads."""

    __slots__ = ("_key", "clock")

    def __init__(self, seed: int, epoch: int, clip_key: str, clock: float, repetition: int = 0) -> None:
        identity = f"{seed}\0{epoch}\0{repetition}\0{clip_key}"
        self._key = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=32).digest()
        self.clock = clock

    def generator(self, stream: str) -> np.random.Generator:
        """A generator at the beginning of the named stream."""
        digest = hashlib.blake2b(stream.encode(), digest_size=16, key=self._key).digest()
        return np.random.default_rng(int.from_bytes(digest, "little"))
