"""From a plan to audio on disk: clips through the workers, outcomes into the journal, members into shards."""

import sys
from collections.abc import Iterator

from components.import_cv.journal import Journal
from components.import_cv.outcomes import NO_SHARD, Outcomes
from components.import_cv.plan import Plan
from components.import_cv.reasons import Reason
from components.import_cv.release import Source
from components.import_cv.settings import ImportSettings
from components.import_cv.shards import ShardWriter, clips_a_shard, own_shards
from components.import_cv.target import Target
from components.import_cv.work import Item, Outcome
from components.import_cv.workers import Pool
from speech.progress import Progress

CHUNK_CLIPS = 8


class Conversion:
    """Converts the clips of a plan in the source's order, journals, and writes shards."""

    def __init__(self, settings: ImportSettings, source: Source, target: Target, plan: Plan, fingerprint: str) -> None:
        self.settings, self.source, self.target, self.plan = settings, source, target, plan
        self.outcomes = Outcomes(plan.clip_count)
        self.journal = Journal(target.staging, f"{fingerprint} {source.revision()} {settings.partition}")
        self.writer = ShardWriter(target.staging) if settings.layout == "shards" else None
        self.shard_clips = clips_a_shard(settings.shard_clips, plan.clip_count)
        count = -(-plan.clip_count // self.shard_clips)
        own = own_shards(settings.part, settings.parts, count)
        self.first, self.end = own.start * self.shard_clips, min(own.stop * self.shard_clips, plan.clip_count)

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
        if self.writer is not None and self.journal.shard != NO_SHARD:
            self.writer.open(self.journal.shard, self.journal.shard_bytes)

    def _has_audio(self, clip: int, samples: int, shard: int) -> bool:
        return self.target.has_audio(self.plan.sources[clip], samples, shard)

    def run(self, pool: Pool[Item, Outcome]) -> None:
        """Convert what is not done."""
        if self.settings.layout == "clips":
            self.target.staged_clips.mkdir(parents=True, exist_ok=True)
        done = self.journal.position - self.first
        with Progress("import", self.end - self.first, "clips", done=done) as progress:
            for _, outcomes in pool.ordered(self._chunks()):
                self._take(outcomes)
                progress.update(len(outcomes))
        self._finish_shard()
        self.journal.finish({"members_outside_the_archive": self.source.strange_members})

    def _chunks(self) -> Iterator[list[Item]]:
        """Items of this partition in the source's order; no chunk reaches over the end of a shard."""
        chunk: list[Item] = []
        plan, start = self.plan, self.journal.position
        for position, (clip, data, refused) in enumerate(self.source.clips(plan, self.settings.max_clip_bytes)):
            if position >= self.end:
                break
            if position < start:
                continue
            chunk.append(Item(clip, plan.sources[clip], plan.shortest[clip], plan.listed_ms[clip], data, refused))
            if len(chunk) == CHUNK_CLIPS or (position + 1) % self.shard_clips == 0:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _take(self, outcomes: list[Outcome]) -> None:
        offsets, checksum, shard = [0] * len(outcomes), 0, NO_SHARD
        if self.writer is not None:
            shard = self.journal.position // self.shard_clips
            if self.writer.number != shard:
                self._finish_shard()
                self.writer.open(shard)
            offsets, checksum = self.writer.append(outcomes)
        self.journal.record(shard, self.writer.size if self.writer else 0, checksum, outcomes, offsets)
        for outcome, offset in zip(outcomes, offsets, strict=True):
            accepted = outcome.reason is Reason.ACCEPTED
            self.outcomes.record(*outcome[:6], shard if accepted else NO_SHARD, offset if accepted else 0)

    def _finish_shard(self) -> None:
        if self.writer is not None and self.writer.number >= 0:
            shard = self.writer.number
            self.writer.finish()
            self.journal.synced(shard)

    def close(self) -> None:
        """Leave everything as it is, for a rerun."""
        if self.writer is not None:
            self.writer.close()
        self.journal.close()
