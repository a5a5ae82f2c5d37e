"""From a plan to audio on disk: clips through the workers, outcomes into the journal, members into shards."""

import sys
from collections.abc import Iterator

from components.import_cv.convert.journal import Journal
from components.import_cv.convert.work import ClipTask, Outcome
from components.import_cv.convert.workers import Pool
from components.import_cv.plan.planning import Plan
from components.import_cv.plan.reasons import Reason
from components.import_cv.read.release import Source
from components.import_cv.settings import ImportSettings
from components.import_cv.write.corpus_folder import CorpusFolder
from components.import_cv.write.outcomes import NO_SHARD, Outcomes
from components.import_cv.write.shards import Piece, ShardWriter, clips_a_window, own_windows, shard_number
from speech.progress import Progress

CHUNK_CLIPS = 8


class Conversion:
    """Converts the clips of a plan in the source's order, chunk by chunk.

    A chunk's audio is written first, to the shards of the window that its clips lie in or, without shards, by the
    workers to WAV files; then its line in the journal, so that a line says what is certainly there.
    """

    def __init__(
        self, settings: ImportSettings, source: Source, target: CorpusFolder, plan: Plan, fingerprint: str
    ) -> None:
        self.settings, self.source, self.target, self.plan = settings, source, target, plan
        self.outcomes = Outcomes(plan.clip_count)
        self.journal = Journal(target.staging, f"{fingerprint} {source.revision()} {settings.partition}")
        self.writer = ShardWriter(target.staging) if settings.layout == "shards" else None
        self.window_clips = clips_a_window(settings.shard_clips, plan.clip_count)
        self.first, self.end = self._own_clips()

    def _own_clips(self) -> tuple[int, int]:
        """Which clips of the source's order this partition converts: the first, and the one behind the last."""
        n_windows = -(-self.plan.clip_count // self.window_clips)
        own = own_windows(self.settings.part, self.settings.parts, n_windows)
        return own.start * self.window_clips, min(own.stop * self.window_clips, self.plan.clip_count)

    def start(self) -> None:
        """Go on with what an interrupted import of the same left, or begin."""
        if self.journal.matches():
            self.journal.resume(self.outcomes, self._has_audio)
            print(
                f"import: going on behind {self.journal.position - self.first:,} clips that are done", file=sys.stderr
            )
        else:
            self.target.clear()
            self.journal.start()
        self.journal.position = max(self.journal.position, self.first)
        if self.writer is not None and self.journal.window != NO_SHARD:
            self.writer.open(self.journal.window, self.journal.sizes)

    def _has_audio(self, clip: int, samples: int, shard: int) -> bool:
        return self.target.has_audio(self.plan.sources[clip], samples, shard)

    def run(self, pool: Pool[ClipTask, Outcome]) -> None:
        """Convert what is not done."""
        if self.settings.layout == "clips":
            self.target.staged_clips.mkdir(parents=True, exist_ok=True)
        done = self.journal.position - self.first
        with Progress("import", self.end - self.first, "clips", done=done) as progress:
            for _, outcomes in pool.ordered(self._chunks()):
                self._store(outcomes)
                progress.update(len(outcomes))
        self._finish_window()
        self.journal.finish({"members_outside_the_archive": self.source.strange_members})

    def _chunks(self) -> Iterator[list[ClipTask]]:
        """What is not done of this partition, in the source's order; no chunk reaches over the end of a window."""
        chunk: list[ClipTask] = []
        plan, start = self.plan, self.journal.position
        for position, (clip, data, refused) in enumerate(self.source.clips(plan, self.settings.max_clip_bytes)):
            if position < start:
                continue
            if position >= self.end:
                break
            chunk.append(ClipTask(clip, plan.sources[clip], plan.shortest[clip], plan.listed_ms[clip], data, refused))
            window_ends = (position + 1) % self.window_clips == 0
            if len(chunk) == CHUNK_CLIPS or window_ends:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _store(self, outcomes: list[Outcome]) -> None:
        """Write a chunk's audio, then its line in the journal, and note what became of its clips."""
        window = NO_SHARD if self.writer is None else self.journal.position // self.window_clips
        shards = [self._shard(window, outcome) for outcome in outcomes]
        offsets, pieces = self._append(window, outcomes, shards)
        self.journal.record(window, pieces, outcomes, shards, offsets)
        for outcome, shard, offset in zip(outcomes, shards, offsets, strict=True):
            self.outcomes.record(
                outcome.clip,
                outcome.reason,
                outcome.samples,
                outcome.digest,
                outcome.reused,
                outcome.detail,
                outcome.loudest_db,
                outcome.clipped,
                shard,
                offset,
                outcome.checksum,
            )

    def _shard(self, window: int, outcome: Outcome) -> int:
        """The shard of a clip: of its window, and of the set of its first row."""
        if window == NO_SHARD or outcome.reason is not Reason.ACCEPTED:
            return NO_SHARD
        return shard_number(window, self.plan.sets[self.plan.homes[outcome.clip]])

    def _append(self, window: int, outcomes: list[Outcome], shards: list[int]) -> tuple[list[int], list[Piece]]:
        """Append a chunk to its shards: where each clip begins there, and what was written to which of them."""
        if self.writer is None:
            return [0] * len(outcomes), []
        if self.writer.window != window:
            self._finish_window()
            self.writer.open(window)
        return self.writer.append(outcomes, shards)

    def _finish_window(self) -> None:
        if self.writer is not None and self.writer.window >= 0:
            window = self.writer.window
            self.writer.finish()
            self.journal.synced(window)

    def close(self) -> None:
        """Leave everything as it is, for a rerun."""
        if self.writer is not None:
            self.writer.close()
        self.journal.close()
