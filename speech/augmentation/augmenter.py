"""All augmentations of a training run, applied to a clip on its way from samples to features."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from speech.augmentation.augmentation import DOMAINS, FEATURES, SAMPLE, SIGNAL, SPECTROGRAM, Augmentation, Floats
from speech.augmentation.draws import Chance, Draw
from speech.augmentation.legacy import LegacyFlags
from speech.augmentation.parsing import parse_augmentations
from speech.augmentation.recordings import Recordings, open_recordings
from speech.augmentation.waveform import Overlay


@dataclass(frozen=True)
class _Step:
    stream: str  # of random numbers: the name and how many of that name came before
    augmentation: Augmentation


class Augmenter:
    """The augmentations of `--augment` and of DeepSpeech's older flags.

    A clip goes through the domains in the order sample, signal (both `apply_signal`), spectrogram, features, and within
    a domain through the augmentations in the order of the command line, the older flags behind. Whether each is applied
    and each of its values are drawn independently, from (seed, epoch, clip) alone. Thread-safe; inputs are never
    changed.
    """

    def __init__(
        self,
        specifications: Sequence[str] = (),
        *,
        legacy: LegacyFlags | None = None,
        seed: int = 0,
        sample_rate: int = 16_000,
        frame_ms: float = 20.0,
        open_source: Callable[[str, int], Recordings] = open_recordings,
    ) -> None:
        """Parse the specifications and open the overlays' sources (`open_source(source, sample rate in Hz)`).

        Raises InputError for a specification or a source that is wrong.
        """
        self._seed, self._sample_rate, self._frame_ms = seed, sample_rate, frame_ms
        newer = [("", augmentation) for augmentation in parse_augmentations(specifications)]
        older = [("legacy ", augmentation) for augmentation in (legacy or LegacyFlags()).augmentations(frame_ms)]
        self.augmentations = tuple(augmentation for _, augmentation in (*newer, *older))
        self._steps: dict[str, list[_Step]] = {domain: [] for domain in DOMAINS}
        counts: Counter[str] = Counter()
        for prefix, augmentation in (*newer, *older):
            name = prefix + augmentation.NAME
            self._steps[augmentation.domain].append(_Step(f"{name} {counts[name]}", augmentation))
            counts[name] += 1
        sources = {augmentation.source for augmentation in self.augmentations if isinstance(augmentation, Overlay)}
        self.recordings = {source: open_source(source, sample_rate) for source in sorted(sources)}

    @property
    def empty(self) -> bool:
        """Whether there is nothing to apply."""
        return not self.augmentations

    def acts_on(self, *domains: str) -> bool:
        """Whether any augmentation works in one of these domains."""
        return any(self._steps[domain] for domain in domains)

    def draw(self, epoch: int, clip_key: str, clock: float, repetition: int = 0) -> Draw:
        """The chance of a clip in an epoch; the clock goes from 0.0 (training starts) to 1.0 (it ends).

        `repetition` tells the passes of one epoch apart (`--augmentations_per_epoch`).
        """
        return Draw(self._seed, epoch, clip_key, clock, repetition)

    def apply_signal(self, samples: npt.NDArray[np.int16] | Floats, draw: Draw) -> Floats:
        """Samples `[N]`, int16 or floating-point of full scale 1.0 -> float32 `[N]` of full scale 1.0."""
        if samples.dtype == np.int16:
            signal = samples.astype(np.float32)
            signal *= np.float32(1 / 32768)
        else:
            signal = samples.astype(np.float32, copy=False)
        return self._apply(SIGNAL, self._apply(SAMPLE, signal, draw, 1), draw, 1)

    def apply_spectrogram(self, spectrogram: Floats, draw: Draw, min_frames: int = 1) -> Floats:
        """Squared magnitudes `[T, bins]` -> `[T', bins]`; `tempo` makes T' no less than min(T, `min_frames`)."""
        return self._apply(SPECTROGRAM, spectrogram, draw, min_frames)

    def apply_features(self, features: Floats, draw: Draw) -> Floats:
        """MFCC `[T, n_input]` -> `[T, n_input]`."""
        return self._apply(FEATURES, features, draw, 1)

    def _apply(self, domain: str, array: Floats, draw: Draw, min_frames: int) -> Floats:
        for step in self._steps[domain]:
            generator = draw.generator(step.stream)
            if array.size and generator.random() < step.augmentation.p:
                chance = Chance(
                    generator, draw.clock, self._sample_rate, self._frame_ms, min_frames, recordings=self.recordings
                )
                array = step.augmentation.apply(array, chance)
        return array
