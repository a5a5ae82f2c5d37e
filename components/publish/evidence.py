"""What the scores of a version rest on: the test clips' results, of the model that is published with them."""

import hashlib
import math
from collections.abc import Collection, Mapping
from typing import Any

from speech.errors import InputError

RATE_TOLERANCE = 1e-6
COUNTS = {"wer": ("word_distance", "word_length"), "cer": ("char_distance", "char_length")}  # of a clip, by rate
_MAKE = "evaluate the model again"


def headline(scores: Any, where: str) -> str:
    """The rate by which an evaluation wants to be judged, `wer` or `cer`; raises InputError for what is none."""
    rate = scores.get("headline", "wer") if isinstance(scores, dict) else None
    if rate not in COUNTS:
        raise InputError(f"{where}: damaged: its headline is {str(rate)[:40]!r}, expected wer or cer: {_MAKE}")
    return str(rate)


def check_samples(rows: Any, where: str, rate: str = "wer") -> list[dict[str, Any]]:
    """The rows of a samples.json; raises InputError for anything but an evaluation's, with the counts of a rate."""
    counts = {*COUNTS["wer"], *COUNTS[rate]}
    if not isinstance(rows, list):
        raise InputError(f"{where}: damaged: expected a list of test clips: {_MAKE}")
    for number, row in enumerate(rows):
        if not (
            isinstance(row, dict)
            and all(isinstance(row.get(name), str) for name in ("wav_filename", "src"))
            and all(_is_count(row.get(name)) for name in counts)
            and isinstance(row.get("client_id", ""), str | None)
        ):
            raise InputError(
                f"{where}: damaged: clip {number}: expected wav_filename, src, {', '.join(sorted(counts))}: {_MAKE}"
            )
    return rows


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def check_scores(scores: Mapping[str, Any], rows: Collection[Mapping[str, Any]], where: str) -> None:
    """Raise InputError unless the scores are those of the clips."""
    wer = scores.get("wer")
    if not isinstance(wer, int | float) or not math.isfinite(wer):
        raise InputError(f"{where}: damaged: its `wer` is {str(wer)[:40]!r}: {_MAKE}")
    words = sum(row["word_length"] for row in rows)
    if words and abs(wer - sum(row["word_distance"] for row in rows) / words) > RATE_TOLERANCE:
        raise InputError(f"{where}: its WER of {wer:.4%} is not that of the clips beside it: {_MAKE}")


def check_measured(scores: Mapping[str, Any], digests: Mapping[str, str], where: str) -> None:
    """Raise InputError unless a file of the version was measured; `digests` are theirs, by name."""
    measured = scores.get("model")
    found = measured.get("sha256") if isinstance(measured, dict) else None
    if not isinstance(found, str):
        raise InputError(f"{where}: it does not say which model it measured: {_MAKE}")
    if found not in {*digests.values(), *_of_networks(digests)}:
        raise InputError(
            f"{where}: the scores of another model (sha256 {found[:12]}...), none of whose files is published: {_MAKE}"
        )


def _of_networks(digests: Mapping[str, str]) -> list[str]:
    """What an evaluation knows IRs by: the digest of the network's and the weights' digests."""
    pairs = ((digest, digests.get(f"{name[:-4]}.bin")) for name, digest in digests.items() if name.endswith(".xml"))
    return [hashlib.sha256(f"{xml}{weights}".encode("ascii")).hexdigest() for xml, weights in pairs if weights]
