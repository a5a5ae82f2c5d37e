"""The journal of an import: what is done, so that an interrupted import goes on where it was.

One JSON line a chunk, written after the chunk's audio. A line that was cut by the interruption does not count.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.import_cv.outcomes import NO_SHARD, Outcomes
from components.import_cv.shards import checksums_match, shard_name
from components.import_cv.work import Outcome

NAME = "journal.jsonl"


class Journal:
    """Append-only; `folder` is the staging folder that holds the unfinished shards too."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.position = 0  # clips of the source's order that are done
        self.shard = NO_SHARD  # the unfinished one
        self.shard_bytes = 0
        self.notes: dict[str, Any] = {}
        self.complete = False
        self._file = -1

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self.folder / NAME

    def matches(self) -> bool:
        """Whether there is a journal of the same import."""
        try:
            with self.path.open("rb") as file:
                return json.loads(file.readline()).get("fingerprint") == self.fingerprint
        except (OSError, ValueError, AttributeError):
            return False

    def start(self) -> None:
        """Begin an empty journal."""
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        self._append({"fingerprint": self.fingerprint})

    def resume(self, outcomes: Outcomes, has_audio: Callable[[int, int, int], bool]) -> None:
        """Record what is done in `outcomes`, drop what is not certainly on disk, and go on behind it.

        `has_audio(clip, samples, shard)` tells whether a clip's file or shard is there.
        """
        end, tail = 0, []  # chunks of a shard that may not have survived a power cut
        for line_end, entry in self._lines():
            if "clips" in entry:
                stored = [(clip, samples) for clip, reason, samples, *_ in entry["clips"] if not reason]
                if not all(has_audio(clip, samples, entry["shard"]) for clip, samples in stored):
                    break
                tail.append((line_end, entry))
                if entry["shard"] != NO_SHARD:
                    continue
            for _, chunk in tail:
                self._take(chunk, outcomes)
            tail.clear()
            if "complete" in entry:
                self.complete, self.notes = True, entry["complete"]
            self.shard, self.shard_bytes, end = NO_SHARD, 0, line_end
        if tail:
            pieces = [(entry["end"], entry["checksum"]) for _, entry in tail]
            whole = checksums_match(self.folder / shard_name(tail[0][1]["shard"]), pieces)
            for line_end, entry in tail[:whole]:
                self._take(entry, outcomes)
                self.shard, self.shard_bytes, end = entry["shard"], entry["end"], line_end
        os.truncate(self.path, end)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def _take(self, entry: dict[str, Any], outcomes: Outcomes) -> None:
        self.position = entry["position"]
        for clip, reason, samples, digest, reused, detail, offset in entry["clips"]:
            shard = NO_SHARD if reason else entry["shard"]
            outcomes.record(clip, reason, samples, bytes.fromhex(digest), reused, detail, shard, offset)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        position = 0
        with self.path.open("rb") as file:
            for line in file:
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if not isinstance(entry, dict):
                    return
                position += len(line)
                yield position, entry

    def record(self, shard: int, end: int, checksum: int, outcomes: list[Outcome], offsets: list[int]) -> None:
        """A chunk is done: its members end at byte `end` of the shard."""
        self.position += len(outcomes)
        clips = [
            (
                outcome.clip,
                int(outcome.reason),
                outcome.samples,
                outcome.digest.hex(),
                int(outcome.reused),
                outcome.detail,
                offset,
            )
            for outcome, offset in zip(outcomes, offsets, strict=True)
        ]
        self._append({"position": self.position, "shard": shard, "end": end, "checksum": checksum, "clips": clips})

    def skip(self, count: int) -> None:
        """Clips that other partitions import."""
        self.position += count

    def synced(self, shard: int) -> None:
        """A shard is finished and safe from power cuts."""
        self._append({"synced": shard})

    def finish(self, notes: dict[str, Any]) -> None:
        """Every clip is done."""
        if not self.complete:
            self.complete, self.notes = True, notes
            self._append({"complete": notes})

    def close(self) -> None:
        """Close the file; the journal stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, entry: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(entry, separators=(",", ":")).encode() + b"\n")
