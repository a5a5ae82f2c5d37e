"""The same recording under two names: several releases may have it, and a corpus has it once."""

from collections.abc import Iterable

from components.import_cv.plan.reasons import Reason
from components.import_cv.write.corpus_folder import ClipPaths
from components.import_cv.write.outcomes import Outcomes
from speech.artifacts import SPLITS

_RANKS = {name: rank for rank, name in enumerate(SPLITS, 1)}  # what is tested on is never trained on


def refuse_repeats(rows: Iterable[tuple[str, int]], outcomes: Outcomes, sources: ClipPaths) -> None:
    """Refuse the clips whose source file has the bytes of another's, but for one.

    Args:
        rows: The set and the clip of each row; -1 for a row without a clip.
        outcomes: What became of the clips; the refused ones change.
        sources: The path of each clip.

    The one that stays is in the test set rather than the dev set, and there rather than in the training set; then the
    first.
    """
    ranks = bytearray(outcomes.count)
    for set_name, clip in rows:
        if clip >= 0:
            ranks[clip] = max(ranks[clip], _RANKS.get(set_name, 0))
    kept: dict[bytes, int] = {}
    for clip in sorted(range(outcomes.count), key=lambda clip: -ranks[clip]):
        if outcomes.reasons[clip] == Reason.ACCEPTED and outcomes.recorded[clip]:
            first = kept.setdefault(outcomes.digest(clip), clip)
            if first != clip:
                outcomes.reasons[clip] = Reason.REPEATED_AUDIO
                outcomes.details[clip] = f"the same as {sources[first]}"
