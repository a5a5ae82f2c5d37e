"""What hashes alone decide about made splits: whose speakers and which sentences may be in dev, in test, in train.

The zones do not depend on the release. A clip that is in a made test set of one release is in no train set of a larger
one, whatever was decided about the larger one, because train takes nothing of these zones:

- the speakers of the test zone, in every release with speakers enough;
- with `--split_by auto` and `sentence`, the sentences of the test zone, too: in a release with too few speakers they
  are the test set.
"""

from dataclasses import dataclass

import numpy as np

from components.import_cv.plan.candidates import UNKNOWN_SPEAKER

TRAIN, DEV, TEST = "train", "dev", "test"
AUTO, BY_SPEAKER, BY_SENTENCE = "auto", "speaker", "sentence"
CONFIDENCE_Z = 2.58  # of 99 %, as Common Voice's CorporaCreator takes it
VARIANCE = 0.25  # of a share of one half, the widest


@dataclass(frozen=True)
class Zones:
    """Of the numbers of speakers, or of sentences: the lowest `share` is test's, the next one is dev's."""

    share: float
    made: tuple[str, ...]  # sets that are not made have no zone

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """`[N]` of set names."""
        places = np.minimum(numbers // np.uint64(self._width), np.uint64(2)).astype(np.intp)
        names = np.array([name if name in self.made else TRAIN for name in (TEST, DEV)] + [TRAIN])
        found = names[places]
        found[numbers == np.uint64(UNKNOWN_SPEAKER)] = TRAIN
        return found

    def of_one(self, number: int) -> str:
        """The same of one number."""
        place = min(number // self._width, 2)
        name = (TEST, DEV, TRAIN)[place]
        return name if name in self.made else TRAIN

    @property
    def _width(self) -> int:
        return int(self.share * 2**64)


def sample_size(population: int, margin: float) -> int:
    """Clips that stand for `population` within `margin` at 99 % confidence.

    Common Voice gives dev and test so many each, for the clips of train, with a margin of 0.01 (CorporaCreator).
    """
    if not population:
        return 0
    infinite = CONFIDENCE_Z**2 * VARIANCE / margin**2
    return max(int(infinite / (1 + infinite / population)), 1)


def margin_of(clips: int, population: int) -> float:
    """The margin of error at 99 % confidence of a sample of `clips` of `population`."""
    if not clips:
        return 1.0
    rest = max(population - clips, 0) / max(population - 1, 1)
    return min(CONFIDENCE_Z * (VARIANCE / clips * rest) ** 0.5, 1.0)
