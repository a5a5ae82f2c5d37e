"""What a worker process does with a handful of clips: load, recognise or convert, and pack."""

import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.import_cv.convert.clip import Decoder, digest
from components.import_cv.convert.level import level_of
from components.import_cv.convert.previous import Previous
from components.import_cv.plan.planning import wav_name
from components.import_cv.plan.reasons import Reason, Refused
from components.import_cv.read.release import Loader
from components.import_cv.settings import ImportSettings
from speech.clips.audio import WAV_HEADER_BYTES, wav_header

TAR_BLOCK_BYTES = 512


class ClipTask(NamedTuple):
    """One clip to convert."""

    clip: int
    source: str
    shortest: int  # characters of the clip's shortest transcript
    listed_ms: int
    data: bytes | None = None  # the file, where the parent process reads the source
    refused: Reason = Reason.ACCEPTED  # seen by the parent process already


class Outcome(NamedTuple):
    """What became of a clip."""

    clip: int
    reason: Reason
    samples: int
    digest: bytes
    reused: bool
    detail: str
    loudest_db: int = 0
    clipped: int = 0  # of 10,000 samples
    member: bytes = b""  # header and contents of the tar member
    header_bytes: int = 0  # of the member, in front of the WAV file
    checksum: int = 0  # CRC-32 of the WAV file


@dataclass
class ClipWork:
    """Turns items into outcomes; with a `clip_folder`, each WAV file is written there instead of being handed back."""

    settings: ImportSettings
    loader: Loader
    previous: Previous | None = None
    clip_folder: Path | None = None
    member_prefix: str = "clips/"
    _made: set[str] = field(default_factory=set)

    @cached_property
    def _decode(self) -> Decoder:
        return Decoder(self.settings.audio_sample_rate, self.settings.max_duration_s)

    def __call__(self, items: Sequence[ClipTask]) -> list[Outcome]:
        """One outcome an item, in order."""
        return [self._one(item, data) for item, data in zip(items, self._load(items), strict=True)]

    def give_up(self, item: ClipTask) -> Outcome:
        """The outcome of an item that ended the worker process."""
        return Outcome(item.clip, Reason.DECODER_FAILED, 0, b"", False, "the decoder crashed")

    def _load(self, items: Sequence[ClipTask]) -> Iterator[bytes | Refused]:
        waiting = [item.source for item in items if item.data is None and not item.refused]
        loaded = self.loader.load(waiting, self.settings.max_clip_bytes)
        for item in items:
            if item.refused:
                yield Refused(item.refused)
            elif item.data is not None:
                yield item.data
            else:
                yield next(loaded)

    def _one(self, item: ClipTask, data: bytes | Refused) -> Outcome:
        if isinstance(data, Refused):
            return Outcome(item.clip, data.reason, 0, b"", False, data.detail)
        source = digest(data)
        samples = 0
        try:
            wav = self.previous.wav(source) if self.previous is not None else None
            reused = wav is not None
            if wav is None:
                decoded = self._decode(data, item.listed_ms)
                samples = len(decoded)
                wav = wav_header(samples, self.settings.audio_sample_rate) + _little_endian(decoded)
            samples = (len(wav) - WAV_HEADER_BYTES) // 2
            if self.settings.too_long(samples):
                raise Refused(Reason.TOO_LONG, f"{samples / self.settings.audio_sample_rate:.2f} s")
            if self.settings.too_short(samples, item.shortest):
                seconds = samples / self.settings.audio_sample_rate
                raise Refused(Reason.TOO_SHORT, f"{item.shortest} characters in {seconds:.2f} s")
        except Refused as refused:
            return Outcome(item.clip, refused.reason, samples, source, False, refused.detail)
        except Exception as error:  # whatever a decoder raises on strange data concerns this clip only
            return Outcome(item.clip, Reason.DECODER_FAILED, 0, source, False, f"{type(error).__name__}: {error}"[:200])
        name = wav_name(item.source)
        level = level_of(np.frombuffer(wav, "<i2", offset=WAV_HEADER_BYTES), self.settings.audio_sample_rate)
        outcome = Outcome(item.clip, Reason.ACCEPTED, samples, source, reused, "", *level, checksum=zlib.crc32(wav))
        if self.clip_folder is not None:
            self._write(self.clip_folder, name, wav)
            return outcome
        header = tar_header(self.member_prefix + name, len(wav))
        padding = b"\0" * (-len(wav) % TAR_BLOCK_BYTES)
        return outcome._replace(member=b"".join((header, wav, padding)), header_bytes=len(header))

    def _write(self, folder: Path, name: str, wav: bytes) -> None:
        path = folder / name
        if "/" in name and path.parent.as_posix() not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent.as_posix())
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(wav)
        temporary.replace(path)


def _little_endian(samples: np.ndarray) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


def tar_header(name: str, size: int) -> bytes:
    """The header blocks of a tar member: no time, no owner, so that equal clips make equal shards."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
