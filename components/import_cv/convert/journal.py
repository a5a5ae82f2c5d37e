"""The journal of an import: what is done, so that an interrupted import goes on where it was.

One JSON line a chunk, written after the chunk's audio. A line that was cut by the interruption does not count.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from components.import_cv.convert.work import Outcome
from components.import_cv.write.outcomes import NO_SHARD, Outcomes
from components.import_cv.write.shards import Piece, checksums_match, shard_name

NAME = "journal.jsonl"


class Journal:
    """Append-only; `folder` is the staging folder that holds the unfinished shards too."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.position = 0  # clips of the source's order that are done
        self.window = NO_SHARD  # the unfinished one
        self.sizes: dict[int, int] = {}  # of its shards, bytes
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
        end = 0
        tail: list[tuple[int, dict[str, Any]]] = []  # chunks of a window that may not have survived a power cut
        for line_end, entry in self._lines():
            if "clips" in entry:
                stored = [clip for clip in entry["clips"] if not clip[1]]
                if not all(has_audio(clip, samples, shard) for clip, _, samples, *_, shard, _, _ in stored):
                    break
                tail.append((line_end, entry))
                if entry["window"] != NO_SHARD:
                    continue
            for _, chunk in tail:
                self._take(chunk, outcomes)
            tail.clear()
            if "complete" in entry:
                self.complete, self.notes = True, entry["complete"]
            end = line_end
        for line_end, entry in tail[: self._undamaged([entry for _, entry in tail])]:
            self._take(entry, outcomes)
            self.window, end = entry["window"], line_end
            self.sizes |= {shard: size for shard, size, _ in entry["pieces"]}
        os.truncate(self.path, end)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def _undamaged(self, entries: Sequence[dict[str, Any]]) -> int:
        """How many of a window's chunks, from the first on, are whole in all of its shards."""
        whole = len(entries)
        pieces: dict[int, list[tuple[int, Piece]]] = {}  # shard -> which chunk, and what it wrote there
        for number, entry in enumerate(entries):
            for piece in (Piece(*values) for values in entry["pieces"]):
                pieces.setdefault(piece.shard, []).append((number, piece))
        for shard, written in pieces.items():
            good = checksums_match(self.folder / shard_name(shard), [piece for _, piece in written])
            if good < len(written):
                whole = min(whole, written[good][0])
        return whole

    def _take(self, entry: dict[str, Any], outcomes: Outcomes) -> None:
        self.position = entry["position"]
        for clip, reason, samples, digest, *rest in entry["clips"]:
            outcomes.record(clip, reason, samples, bytes.fromhex(digest), *rest)

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

    def record(
        self,
        window: int,
        pieces: Sequence[Piece],
        outcomes: Sequence[Outcome],
        shards: Sequence[int],
        offsets: Sequence[int],
    ) -> None:
        """A chunk is done: what it wrote to which shards, and what became of each clip."""
        self.position += len(outcomes)
        clips = [
            (
                outcome.clip,
                int(outcome.reason),
                outcome.samples,
                outcome.digest.hex(),
                int(outcome.reused),
                outcome.detail,
                outcome.loudest_db,
                outcome.clipped,
                shard,
                offset,
                outcome.checksum,
            )
            for outcome, shard, offset in zip(outcomes, shards, offsets, strict=True)
        ]
        self._append({"position": self.position, "window": window, "pieces": pieces, "clips": clips})

    def synced(self, window: int) -> None:
        """A window's shards are finished and safe from power cuts."""
        self._append({"synced": window})

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
