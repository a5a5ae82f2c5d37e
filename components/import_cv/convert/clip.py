"""One clip: the bytes of an audio file -> mono 16-bit samples, or the reason why not. Runs in the worker processes."""

import hashlib
import io
import os
import shutil
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr

from components.import_cv.convert import mp3
from components.import_cv.plan.reasons import Reason, Refused
from speech.clips.audio import to_int16

MAX_DECODED_BYTES = 1 << 28
UNKNOWN_FRAMES = 1 << 40  # more than any file has: a FLAC that was written as a stream
FOREIGN = {  # formats of ffmpeg's that libsndfile has no decoder for, by their first bytes
    "MP4 or M4A": (4, b"ftyp"),
    "WebM or Matroska": (0, b"\x1a\x45\xdf\xa3"),
    "AMR": (0, b"#!AMR"),
    "WMA": (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
}
CONVERTER = 1  # raised when the same source would give other samples: earlier corpora are then not reused


@dataclass(frozen=True)
class Audio:
    """Decoded audio: float32 samples `[N]` of one channel, -1...1."""

    samples: np.ndarray
    rate_hz: int


class _Memory:
    """Bytes as a file for libsndfile; a file in memory where the system has them, for its reads cost less."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("clip") if hasattr(os, "memfd_create") else -1

    def open(self, data: bytes) -> soundfile.SoundFile:
        if self._descriptor < 0:
            return soundfile.SoundFile(io.BytesIO(data))
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return soundfile.SoundFile(self._descriptor, closefd=False)


class Decoder:
    """Decodes files held in memory; refuses what is not audio, breaks off, or is longer than `max_duration_s`."""

    def __init__(self, sample_rate: int, max_duration_s: float) -> None:
        self.sample_rate = sample_rate
        self.max_duration_s = max_duration_s
        self._memory = _Memory()

    def __call__(self, data: bytes, listed_ms: int = 0) -> np.ndarray:
        """int16 samples `[N]` at the decoder's rate; raises Refused."""
        if not data:
            raise Refused(Reason.EMPTY)
        audio = self._decode(data)
        if not len(audio.samples):
            raise Refused(Reason.NO_SAMPLES)
        duration_ms = len(audio.samples) / audio.rate_hz * 1000
        if listed_ms - duration_ms > max(250, 0.05 * listed_ms):
            raise Refused(
                Reason.TRUNCATED, f"{duration_ms / 1000:.2f} s of the {listed_ms / 1000:.2f} s that the release lists"
            )
        samples = audio.samples
        if audio.rate_hz != self.sample_rate:
            samples = soxr.resample(samples, audio.rate_hz, self.sample_rate)
        return to_int16(samples)

    def _decode(self, data: bytes) -> Audio:
        padding = 0
        if data[:3] == b"ID3" or (data[0] == 0xFF and data[1:2] >= b"\xe0"):
            data, padding = _announced(data)
        try:
            return self._read(data, padding)
        except soundfile.LibsndfileError as error:
            foreign = _foreign_format(data)
            if foreign:
                return self._read_with_ffmpeg(data, foreign)
            repaired = _without_junk(data)
            if repaired is None:
                raise Refused(Reason.NOT_AUDIO, _one_line(error)) from error
        try:
            return self._read(repaired, mp3.DECODER_DELAY_SAMPLES)
        except soundfile.LibsndfileError as error:
            raise Refused(Reason.NOT_AUDIO, _one_line(error)) from error

    def _read(self, data: bytes, padding: int) -> Audio:
        with self._memory.open(data) as file:
            announced, rate, channels = file.frames, file.samplerate, file.channels
            if announced >= UNKNOWN_FRAMES:  # libsndfile opens it and then fails to read it
                return self._read_with_ffmpeg(data, f"{file.format} of unknown length")
            if announced > (self.max_duration_s + 0.1) * rate:
                raise Refused(Reason.TOO_LONG, f"{announced / rate:.1f} s")
            if announced * channels * 4 > MAX_DECODED_BYTES:
                raise Refused(Reason.TOO_BIG, f"{channels} channels")
            samples = file.read(dtype="float32")
            if file.subtype in ("FLOAT", "DOUBLE") and not np.isfinite(samples).all():
                raise Refused(Reason.NOT_AUDIO, "samples that are not numbers")
        if samples.ndim == 2:
            samples = samples.mean(axis=1, dtype=np.float32)
        _check_complete(data, len(samples), announced, rate)
        if padding:
            samples = np.concatenate((np.zeros(padding, np.float32), samples))
        return Audio(samples, rate)

    def _read_with_ffmpeg(self, data: bytes, name: str) -> Audio:
        if shutil.which("ffmpeg") is None:
            raise Refused(Reason.NEEDS_FFMPEG, name)
        from pydub import AudioSegment
        from pydub.exceptions import PydubException

        try:
            segment: Any = AudioSegment.from_file(io.BytesIO(data), duration=self.max_duration_s + 1)
        except (PydubException, OSError, ValueError, IndexError, KeyError) as error:
            raise Refused(Reason.NOT_AUDIO, f"{name}: {_one_line(error)}") from error
        if segment.duration_seconds > self.max_duration_s + 0.1:
            raise Refused(Reason.TOO_LONG, f"more than {self.max_duration_s:g} s")
        values = np.array(segment.get_array_of_samples(), np.float32).reshape(-1, segment.channels)  # [N, channels]
        return Audio(values.mean(axis=1) / np.float32(segment.max_possible_amplitude), segment.frame_rate)


def _announced(data: bytes) -> tuple[bytes, int]:
    """An MP3 whose header announces its frames, and the samples that libmpg123 cuts from its start.

    A file without such a header is counted here and gets one.
    """
    stream = mp3.read_stream(data, count=False)
    if stream is None or stream.announced or stream.other_header:
        return data, 0
    if stream.cut:
        raise Refused(Reason.TRUNCATED, f"the last of {stream.frames + 1} frames breaks off")
    if not stream.frames:
        raise Refused(Reason.NO_SAMPLES, "no MP3 frame")
    if stream.first.layer != 3:
        return data, 0
    return mp3.with_frame_count(data, stream), mp3.DECODER_DELAY_SAMPLES


def _without_junk(data: bytes) -> bytes | None:
    """The MP3 behind what libsndfile takes for no audio; None if there is none. Raises Refused if it breaks off."""
    if data[:4] in (b"RIFF", b"fLaC", b"OggS"):
        return None
    stream = mp3.read_stream(data)
    if stream is None:
        return None
    if stream.cut or stream.frames < stream.announced - 1:
        raise Refused(Reason.TRUNCATED, f"{stream.frames} whole frames, and no end")
    if stream.start and stream.frames >= 3 and stream.first.layer == 3:
        return mp3.with_frame_count(data, stream)
    return None


def _check_complete(data: bytes, decoded: int, announced: int, rate: int) -> None:
    """Raise Refused if fewer samples were decoded than the file's own header announces."""
    if data[:4] == b"RIFF":
        missing = _wav_bytes_missing(data)
        if missing:
            raise Refused(Reason.TRUNCATED, f"{missing} bytes less than the header announces")
    if decoded >= announced:
        return
    stream = mp3.read_stream(data)
    if stream is not None and stream.announced and not stream.cut and stream.frames >= stream.announced - 1:
        miscounted = announced - decoded <= 2 * stream.first.samples
        if miscounted:  # some encoders count the header's own frame
            return
    raise Refused(Reason.TRUNCATED, f"{decoded / rate:.2f} s of the {announced / rate:.2f} s that the header announces")


def _wav_bytes_missing(data: bytes) -> int:
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        if name == b"data":
            # a writer that streams announces "all that follows"
            return 0 if size >= 0x7FFFF000 else max(0, position + 8 + size - len(data))
        position += 8 + size + size % 2
    return 0


def _foreign_format(data: bytes) -> str:
    return next((name for name, (at, magic) in FOREIGN.items() if data[at : at + len(magic)] == magic), "")


def _one_line(error: BaseException) -> str:
    """An error's message without addresses of objects, which differ from run to run."""
    text = getattr(error, "error_string", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def digest(data: bytes) -> bytes:
    """What a source file is recognised by in a later import: 16 bytes of its SHA-256."""
    return hashlib.sha256(data).digest()[:16]
