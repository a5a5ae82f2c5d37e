"""What may be wrong with clips that can be used: found row by row, reported, and left out where that is asked for."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from operator import eq
from typing import Any

import numpy as np

from components.import_cv.plan.planning import Row
from components.import_cv.plan.reasons import Reason
from components.import_cv.write.corpus_folder import ClipPaths
from components.import_cv.write.outcomes import DIGEST_BYTES, Outcomes
from speech.artifacts import SPLITS

SILENT_DB = -50  # RMS of the loudest 50 ms
CLIPPED = 10  # of 10,000 samples
FRAMES_A_SECOND = 50  # of a model: a label needs one, and one more between two that are equal
LOUDNESS_BIN_DB = 3
QUIETEST_BIN_DB = -90
MOST_EXAMPLES = 5
FINDINGS = {
    "duplicate_audio": Reason.DUPLICATE_AUDIO,
    "duplicate_sentence": Reason.DUPLICATE_SENTENCE,
    "silent": Reason.SILENT,
    "clipped": Reason.CLIPPED,
    "too_many_labels": Reason.TOO_MANY_LABELS,
}


class Marks:
    """64-bit keys with bits each, in open addressing: 12 bytes a slot, where a dict takes 150 a key."""

    def __init__(self) -> None:
        self._keys, self._bits, self._count = array("q", bytes(8 * 64)), array("I", bytes(4 * 64)), 0

    def add(self, key: int, bit: int) -> int:
        """Set a bit of a key; returns the bits that it had."""
        slot, mask = self._slot(key), len(self._keys) - 1
        before = self._bits[slot]
        self._keys[slot] = key
        self._bits[slot] = before | bit
        if not before:
            self._count += 1
            if 3 * self._count > 2 * mask:
                self._grow()
        return before

    def _slot(self, key: int) -> int:
        mask = len(self._keys) - 1
        slot = key & mask
        while self._bits[slot] and self._keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        keys, bits = self._keys, self._bits
        self._keys, self._bits = array("q", bytes(16 * len(keys))), array("I", bytes(8 * len(bits)))
        for key, found in zip(keys, bits, strict=True):
            if found:
                slot = self._slot(key)
                self._keys[slot], self._bits[slot] = key, found


def same_audio(outcomes: Outcomes) -> np.ndarray:
    """For each clip the number of the first one whose source has the same bytes, int32 `[clips]`."""
    pairs = np.frombuffer(bytes(outcomes.digests), np.dtype((np.void, DIGEST_BYTES)))
    if not len(pairs):
        return np.zeros(0, np.int32)
    _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    return first.astype(np.int32)[inverse.reshape(-1)]


@dataclass
class SetHealth:
    """What was found in a set."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINDINGS, 0))
    loudness: dict[int, int] = field(default_factory=dict)  # bin -> clips


class Health:
    """Looks at each row whose clip can be used."""

    def __init__(
        self, sets: Sequence[str], outcomes: Outcomes, sources: ClipPaths, sample_rate: int, *, bytes_mode: bool
    ) -> None:
        """`sources` are the clips' paths; with `bytes_mode` the labels are the bytes of UTF-8."""
        self.outcomes, self.sources = outcomes, sources
        self.sample_rate, self.bytes_mode = sample_rate, bytes_mode
        self.sets = {name: SetHealth() for name in sets}
        self.examples: dict[str, list[dict[str, Any]]] = {name: [] for name in FINDINGS}
        self._bits = {name: 1 << number for number, name in enumerate(sets)}
        self._first = same_audio(outcomes)
        self._audio = array("I", bytes(4 * outcomes.count))  # sets that have the audio, by its first clip
        self._spoken, self._sentences = Marks(), Marks()
        pairs = combinations([name for name in SPLITS if name in self.sets], 2)
        self._shared = {pair: {"audio": 0, "sentences": 0} for pair in pairs}

    def findings(self, row: Row, labels: str) -> list[str]:
        """The names of what is found of a row; `labels` is the transcript as it is written."""
        counted, samples = self.sets[row.set_name], self.outcomes.samples[row.clip]
        loudest_db, clipped = self.outcomes.loudest_db[row.clip], self.outcomes.clipped[row.clip]
        place = max(0, (loudest_db - QUIETEST_BIN_DB) // LOUDNESS_BIN_DB)
        counted.loudness[place] = counted.loudness.get(place, 0) + 1
        bit, first = self._bits[row.set_name], int(self._first[row.clip])
        before = self._audio[first]
        self._audio[first] = before | bit
        self._share("audio", before, row.set_name)
        found = []
        if before & bit and first != row.clip:
            found.append("duplicate_audio")
        if self._spoken.add(hash((row.client_id, row.text)), bit) & bit:
            found.append("duplicate_sentence")
        self._share("sentences", self._sentences.add(hash(row.text), bit), row.set_name)
        if loudest_db < SILENT_DB:
            found.append("silent")
        if clipped >= CLIPPED:
            found.append("clipped")
        frames = samples * FRAMES_A_SECOND // self.sample_rate
        if self.needed_frames(labels, frames) > frames:
            found.append("too_many_labels")
        for name in found:
            counted.rows[name] += 1
            if len(self.examples[name]) < MOST_EXAMPLES:
                self.examples[name].append(self._example(name, row, frames))
        return found

    def needed_frames(self, labels: str, frames: int) -> int:
        """Frames that CTC needs for a transcript; not counted to the end where `frames` suffice in any case."""
        written: str | bytes = labels.encode() if self.bytes_mode else labels
        if 2 * len(written) <= frames:
            return len(written)
        return len(written) + sum(map(eq, written, written[1:]))

    def _share(self, what: str, before: int, set_name: str) -> None:
        if not before or before & self._bits[set_name]:
            return
        for pair, shared in self._shared.items():
            other = pair[0] if pair[1] == set_name else pair[1] if pair[0] == set_name else ""
            if other and before & self._bits[other]:
                shared[what] += 1

    def _example(self, name: str, row: Row, frames: int) -> dict[str, Any]:
        detail = {
            "duplicate_audio": f"as {self.sources[int(self._first[row.clip])]}"[:200],
            "silent": f"{self.outcomes.loudest_db[row.clip]} dB",
            "clipped": f"{self.outcomes.clipped[row.clip] / 100:.1f} % of the samples",
            "too_many_labels": f"{len(row.text)} characters, {frames} frames",
        }.get(name, f"by {row.client_id[:12]}" if row.client_id else "")
        return {
            "set": row.set_name,
            "line": row.line,
            "path": row.source[:200],
            "sentence": row.text[:200],
            "detail": detail,
        }

    def describe(self, excluded: Sequence[str], speakers: Callable[[str, str], int]) -> dict[str, Any]:
        """What the report says; `speakers` gives the number that two sets share."""
        return {
            "findings": {
                name: {
                    "meaning": reason.meaning,
                    "rows": sum(one.rows[name] for one in self.sets.values()),
                    "sets": {set_name: one.rows[name] for set_name, one in self.sets.items() if one.rows[name]},
                    "excluded": name in excluded,
                    "examples": self.examples[name],
                }
                for name, reason in FINDINGS.items()
            },
            "shared": [
                {"sets": list(pair), "speakers": speakers(*pair), **shared} for pair, shared in self._shared.items()
            ],
            "loudness_db": {name: self._loudness(one) for name, one in self.sets.items()},
        }

    def _loudness(self, counted: SetHealth) -> dict[str, Any]:
        """Clips by the loudest 50 ms: the n-th bin begins at `first` + n * `bin` dB."""
        bins = -QUIETEST_BIN_DB // LOUDNESS_BIN_DB
        counts = [0] * bins
        for place, clips in counted.loudness.items():
            counts[min(place, bins - 1)] += clips
        return {"first": QUIETEST_BIN_DB, "bin": LOUDNESS_BIN_DB, "counts": counts}


def excluding(findings: Sequence[str], excluded: Sequence[str]) -> Iterator[Reason]:
    """The reasons for which a row is left out."""
    return (FINDINGS[name] for name in findings if name in excluded)
