"""Clips: reading samples from files and from memory-mapped tar shards and sample databases."""

import io
import mmap
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np

from speech.clips import opus_packets
from speech.clips.manifest import Clip, Manifest
from speech.errors import InputError

WAV_HEADER_BYTES = 44
PIECE_VALUES = 1 << 22  # decoded at once, of all channels
MOST_VALUES = 1 << 28  # of a recording, all channels: 1 GiB, more than four hours at 16 kHz


class NotPlainPcm(InputError):
    """A WAV file of another layout than mono 16-bit PCM."""


def wav_header(samples: int, sample_rate: int) -> bytes:
    """The canonical 44-byte header of a mono 16-bit WAV file."""
    data = samples * 2
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + data,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        sample_rate,
        sample_rate * 2,
        2,
        16,
        b"data",
        data,
    )


def parse_wav(data: bytes | memoryview, where: str) -> tuple[np.ndarray, int]:
    """The int16 samples `[N]` (a view of `data`) and the sample rate in Hz of a mono 16-bit WAV file.

    Raises InputError for any other content.
    """
    view = memoryview(data)
    if len(view) < 12 or bytes(view[:4]) != b"RIFF" or bytes(view[8:12]) != b"WAVE":
        raise InputError(f"{where}: not a WAV file")
    position, sample_rate, layout = 12, 0, None
    while position + 8 <= len(view):
        name, size = struct.unpack_from("<4sI", view, position)
        body = position + 8
        if name == b"fmt " and body + 16 <= len(view):
            code, channels, sample_rate, _, _, bits = struct.unpack_from("<HHIIHH", view, body)
            layout = (code, channels, bits)
        elif name == b"data":
            if layout is None or layout[1:] != (1, 16) or layout[0] not in (1, 0xFFFE):
                raise NotPlainPcm(f"{where}: expected mono 16-bit PCM, found (format, channels, bits) {layout}")
            if body + size > len(view):
                raise InputError(f"{where}: truncated: {size} bytes of audio announced, {len(view) - body} present")
            return np.frombuffer(view[body : body + size - size % 2], "<i2"), sample_rate
        position = body + size + size % 2
    raise InputError(f"{where}: a WAV file without audio data")


class ClipReader:
    """Reads the samples of a manifest's clips; shards are memory-mapped once and sliced without a copy."""

    def __init__(self, manifest: Manifest, sample_rate: int) -> None:
        self.manifest = manifest
        self.sample_rate = sample_rate
        self._shards: dict[str, mmap.mmap] = {}

    def samples(self, clip: Clip) -> np.ndarray:
        """The int16 samples `[N]` of a clip at the reader's rate; raises InputError naming the clip."""
        samples, rate = self.read(clip)
        return samples if rate == self.sample_rate else resample(samples, rate, self.sample_rate)

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """The int16 samples `[N]` of a clip as they are, and their rate in Hz; raises InputError naming the clip."""
        where = f"{self.manifest.path}: {clip.wav_filename}"
        if not clip.shard:
            return self._file(clip, where)
        data = memoryview(self._shard(clip.shard))[clip.offset : clip.offset + clip.wav_filesize]
        if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
            try:
                return parse_wav(data, where)
            except NotPlainPcm:
                pass  # stereo, 24-bit, float: libsndfile reads them
        elif clip.shard.endswith(".sdb"):
            data = memoryview(opus_packets.to_ogg(opus_packets.parse(data, where)))
        return decode(io.BytesIO(data), where)

    def _file(self, clip: Clip, where: str) -> tuple[np.ndarray, int]:
        path = self.manifest.resolve(clip.wav_filename)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{where}: {error.strerror}") from error
        if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
            try:
                return parse_wav(data, where)
            except InputError:
                return decode(path, where)  # stereo, 24-bit, float: libsndfile reads them
        return decode(path, where)

    def _shard(self, name: str) -> mmap.mmap:
        if name not in self._shards:
            path = self.manifest.resolve(name)
            try:
                with path.open("rb") as file:
                    self._shards[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: the shard cannot be read: {error}") from error
        return self._shards[name]


def decode(source: Path | IO[bytes], where: str) -> tuple[np.ndarray, int]:
    """Any file that libsndfile reads (WAV, FLAC, Opus, Ogg, MP3) -> mono int16 samples `[N]`, rate in Hz."""
    import soundfile

    try:
        with soundfile.SoundFile(source) as file:
            samples, rate = _read_bounded(file, where), file.samplerate
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{where}: not readable as audio: {error}") from error
    if not np.isfinite(samples).all():
        raise InputError(f"{where}: not readable as audio: samples that are not numbers")
    return to_int16(samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]), rate


def _read_bounded(file: Any, where: str) -> np.ndarray:
    """All samples `[N, channels]`, float32, a piece at a time: a header may announce any length, and memory is none."""
    pieces, values, frames = [], 0, max(1, PIECE_VALUES // file.channels)
    while True:
        pieces.append(file.read(frames, dtype="float32", always_2d=True))
        values += pieces[-1].size
        if values > MOST_VALUES:
            raise InputError(f"{where}: longer than a clip can be: {values:,} samples and more")
        if len(pieces[-1]) < frames:
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def duration_s(file: IO[bytes]) -> float:
    """The length of an audio file, by its header; 0 for what libsndfile cannot open."""
    import soundfile

    try:
        info = soundfile.info(file)
    except (soundfile.LibsndfileError, RuntimeError, TypeError):
        return 0.0
    return info.frames / info.samplerate


def resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """int16 samples at `rate` Hz -> int16 samples at `target_rate` Hz."""
    import soxr

    return to_int16(soxr.resample(samples.astype(np.float32) / 32768.0, rate, target_rate))


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples in -1...1 -> int16, rounded and clipped."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
