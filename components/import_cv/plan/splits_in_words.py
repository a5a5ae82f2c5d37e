"""What is said about how train, dev and test were chosen: on the terminal, and in the report."""

from collections.abc import Iterator, Mapping
from typing import Any


def in_words(facts: Mapping[str, Any]) -> Iterator[str]:
    """Lines: what was made and why, what holds of it, and what does not. None if every set is the release's own."""
    for name in facts["made"]:
        one = facts["sets"][name]
        tables = " and ".join(f"{table}.tsv" for table in one["of"])
        yield (
            f"{name} is made of {tables}, {one['clips']:,} clips by {_speakers(one['speakers'])}: {one['why']}"
            + (f"; a share measured on it is within {one['margin']:.0%} at 99 % confidence" if "margin" in one else "")
        )
    for sentence in facts.get("promises", ()):
        yield f"of the made sets holds: {sentence}"
    for sentence in facts.get("cannot_promise", ()):
        yield f"NOT PROMISED: {sentence}"


def _speakers(count: int) -> str:
    return "1 speaker" if count == 1 else f"{count:,} speakers"
