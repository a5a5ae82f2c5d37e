"""A release of as many clips as one likes: half a second each, all files different, some of them damaged."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from speech.artifacts import SPLITS

SECONDS, RATE_HZ = 0.5, 48_000
SOUNDS = 200
EVERY_BROKEN = 97  # one clip of so many breaks off
FOLDER = "cv-corpus-1.0/en"
WORDS = ("the", "red", "door", "low", "sun", "set", "ten", "go", "far", "old")


def write_release(path: Path, count: int, seed: int) -> int:
    """Write a release of `count` clips as a .tar.gz; returns how many of them are damaged."""
    sounds = [_sound(np.random.default_rng((seed, number))) for number in range(SOUNDS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb", compresslevel=1) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        for name in SPLITS:
            table = "".join(_table(name, count)).encode()
            _add(tar, f"{name}.tsv", table)
        for number in range(count):
            _add(tar, f"clips/{_file(number)}", _clip(sounds[number % SOUNDS], number))
    return len(range(0, count, EVERY_BROKEN))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(f"{FOLDER}/{name}")
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _file(number: int) -> str:
    return f"common_voice_en_{number:08d}.mp3"


def _split(number: int) -> str:
    return {0: "dev", 1: "test"}.get(number % 50, "train")


def _table(name: str, count: int) -> Iterator[str]:
    yield "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\n"
    for number in range(count):
        if _split(number) == name:
            words = (WORDS[number // 10**place % 10] for place in range(4))
            yield f"{name}{number // 100:060d}\t{_file(number)}\t{' '.join(words)}\t2\t0\t\t\t\n"


def _sound(numbers: np.random.Generator) -> bytes:
    """An MP3 of a tone that glides, and noise."""
    time_s = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    pitch_hz = numbers.uniform(100, 400) * (1 + numbers.uniform(-0.5, 0.5) * time_s)
    samples = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ) + 0.01 * numbers.standard_normal(len(time_s))
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.astype(np.float32), RATE_HZ, format="MP3")
    return buffer.getvalue()


def _clip(sound: bytes, number: int) -> bytes:
    """The sound behind a tag with the clip's number, for an import leaves out what it has already."""
    text = b"\x00%08d" % number
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\0\0" + text
    data = b"ID3\x03\0\0\0\0\0" + bytes([len(frame)]) + frame + sound
    return data[: len(data) * 2 // 3] if number % EVERY_BROKEN == 0 else data
