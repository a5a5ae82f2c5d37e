"""A look at every clip before the work: is its file there, how long is it, at which rate; by file headers alone.

What a CSV says about a file's size is not believed: the peers only sort by it, and many lists have none.
"""

import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.clips.manifest import Clip
from speech.clips.tally import MISSING, MISSING_SHARD, SHORT_SHARD, UNREADABLE
from speech.native.processors import cores

HEADER_BYTES = 1024  # of a WAV file: what stands in front of the samples is seldom longer
CLIPS_AT_ONCE = 500
THREADS_PER_CORE = 4  # most of the time is the file system's
_CANONICAL = struct.Struct("<4s4x4s4sIHHIIHH4sI")  # RIFF .. WAVE fmt_ .. data: 44 bytes without anything in between
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True)
class Survey:
    """What the files of a set's clips say."""

    seconds: np.ndarray  # [N] float64; NaN: not known
    rates_hz: np.ndarray  # [N] int32; 0: not known
    reasons: dict[int, str]  # position of a clip that cannot be read -> why


Look = tuple[float, int, str]  # seconds, rate, why it cannot be read
_UNKNOWN: Look = (float("nan"), 0, "")


def survey(folder: Path, clips: Sequence[Clip]) -> Survey:
    """Look at every clip; names are relative to `folder`. Clips in shards whose length is recorded are not opened."""
    seconds, rates_hz = np.full(len(clips), np.nan), np.zeros(len(clips), np.int32)
    reasons: dict[int, str] = {}
    root = str(folder)
    shards = {name: _size(os.path.join(root, name)) for name in {clip.shard for clip in clips} if name}  # noqa: PTH118

    def look_at(start: int) -> None:
        for position in range(start, min(start + CLIPS_AT_ONCE, len(clips))):
            clip = clips[position]
            if clip.shard:
                look = _in_shard(root, clip, shards[clip.shard])
            else:
                look = _look(os.path.join(root, clip.wav_filename))  # noqa: PTH118 - a million times
            seconds[position], rates_hz[position], reason = look
            if reason:
                reasons[position] = reason

    with ThreadPoolExecutor(THREADS_PER_CORE * cores()) as pool:
        for _ in pool.map(look_at, range(0, len(clips), CLIPS_AT_ONCE)):
            pass
    return Survey(seconds, rates_hz, dict(sorted(reasons.items())))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return -1


def _in_shard(root: str, clip: Clip, shard_size: int) -> Look:
    if shard_size < 0:
        return (float("nan"), 0, MISSING_SHARD)
    if clip.offset + clip.wav_filesize > shard_size:
        return (float("nan"), 0, SHORT_SHARD)
    if clip.duration_s > 0:
        return (clip.duration_s, 0, "")
    return _look(os.path.join(root, clip.shard), clip.offset, clip.wav_filesize)  # noqa: PTH118


def _look(path: str, offset: int = 0, size: int = -1) -> Look:
    """A file, or `size` bytes from `offset` of one."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            head = os.pread(descriptor, HEADER_BYTES, offset)
            size = os.fstat(descriptor).st_size if size < 0 else size
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return (float("nan"), 0, MISSING)
    except (OSError, ValueError):  # no right to read it, a folder, a name with a zero byte
        return (float("nan"), 0, UNREADABLE)
    facts = wav_facts(head[:size] if size < len(head) else head, size)
    if facts is not None:
        frames, rate = facts
        return (frames / rate, rate, "")
    return _sniff(path) if not offset else _UNKNOWN


def wav_facts(head: bytes, size: int) -> tuple[int, int] | None:
    """Frames and rate in Hz of a WAV file of `size` bytes, by the first of them.

    None for what is no WAV file, is compressed, or has its samples behind `head`.
    """
    if len(head) >= _CANONICAL.size:
        riff, wave, fmt, fmt_size, code, _, rate, _, width, _, data, n_bytes = _CANONICAL.unpack_from(head)
        if riff == b"RIFF" and wave == b"WAVE" and fmt == b"fmt " and fmt_size == 16 and data == b"data":
            return _facts(code, rate, width, n_bytes, size - _CANONICAL.size)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    position, layout = 12, None
    while position + 8 <= len(head):
        name, n_bytes = struct.unpack_from("<4sI", head, position)
        body = position + 8
        if name == b"fmt " and body + 16 <= len(head):
            layout = struct.unpack_from("<HHIIHH", head, body)
        elif name == b"data":
            if layout is None:
                return None
            code, _, rate, _, width, _ = layout
            return _facts(code, rate, width, n_bytes, size - body)
        position = body + n_bytes + n_bytes % 2
    return None


def _facts(code: int, rate: int, width: int, announced: int, there: int) -> tuple[int, int] | None:
    if code not in (_PCM, _FLOAT, _EXTENSIBLE) or not rate or not width:
        return None
    return max(0, min(announced, there)) // width, rate


def _sniff(path: str) -> Look:
    """What libsndfile says of a file (FLAC, Ogg, MP3, odd WAV files)."""
    try:
        import soundfile
    except (ImportError, OSError):  # said by the check of packages; a library without its C part is an OSError
        return _UNKNOWN
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, RuntimeError, TypeError):
        return (float("nan"), 0, UNREADABLE)
    return (info.frames / info.samplerate, info.samplerate, "")
