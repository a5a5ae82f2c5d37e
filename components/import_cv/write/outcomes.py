"""What became of every clip, in compact columns."""

from array import array
from dataclasses import dataclass, field

from components.import_cv.plan.reasons import Reason

DIGEST_BYTES = 16
NO_SHARD = -1


@dataclass
class Outcomes:
    """Columns by clip number. A clip that nothing was recorded for counts as missing."""

    count: int
    reasons: bytearray = field(init=False)
    samples: array = field(init=False)
    shards: array = field(init=False)
    offsets: array = field(init=False)  # of the WAV file in the shard, bytes
    digests: bytearray = field(init=False)
    reused: bytearray = field(init=False)
    loudest_db: array = field(init=False)
    clipped: array = field(init=False)  # of 10,000 samples
    checksums: array = field(init=False)  # CRC-32 of the WAV file
    recorded: bytearray = field(init=False)  # 0: not this import's, but another partition's
    details: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reasons = bytearray([Reason.MISSING]) * self.count
        self.samples = array("I", bytes(4 * self.count))
        self.shards = array("i", [NO_SHARD]) * self.count
        self.offsets = array("Q", bytes(8 * self.count))
        self.digests = bytearray(DIGEST_BYTES * self.count)
        self.reused = bytearray(self.count)
        self.loudest_db = array("b", bytes(self.count))
        self.clipped = array("H", bytes(2 * self.count))
        self.checksums = array("I", bytes(4 * self.count))
        self.recorded = bytearray(self.count)

    def record(
        self,
        clip: int,
        reason: Reason | int,
        samples: int,
        digest: bytes,
        reused: bool,
        detail: str,
        loudest_db: int,
        clipped: int,
        shard: int,
        offset: int,
        checksum: int,
    ) -> None:
        """Set a clip's outcome."""
        self.reasons[clip] = reason
        self.samples[clip] = samples
        self.shards[clip] = shard
        self.offsets[clip] = offset
        self.digests[DIGEST_BYTES * clip : DIGEST_BYTES * (clip + 1)] = digest.ljust(DIGEST_BYTES, b"\0")
        self.reused[clip] = reused
        self.loudest_db[clip] = loudest_db
        self.clipped[clip] = clipped
        self.checksums[clip] = checksum
        self.recorded[clip] = 1
        if detail:
            self.details[clip] = detail

    def digest(self, clip: int) -> bytes:
        """What the clip's source is recognised by."""
        return bytes(self.digests[DIGEST_BYTES * clip : DIGEST_BYTES * (clip + 1)])

    def fields(self, clip: int) -> tuple[int | str, ...]:
        """A clip's outcome as `record` takes it, with the digest in hexadecimal."""
        return (
            clip,
            self.reasons[clip],
            self.samples[clip],
            self.digest(clip).hex(),
            self.reused[clip],
            self.details.get(clip, ""),
            self.loudest_db[clip],
            self.clipped[clip],
            self.shards[clip],
            self.offsets[clip],
            self.checksums[clip],
        )
