"""Small releases made on the spot: clips are synthetic speech-like sound, encoded by libsndfile."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

COLUMNS = (
    "client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes",
    "age", "gender", "accents", "variant", "locale", "segment",
)  # fmt: skip


def sound(seconds: float, rate: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    """Float32 samples `[N, C]` of a voice-like tone with noise, band-limited well below 4 kHz."""
    time = np.arange(round(seconds * rate)) / rate
    random = np.random.default_rng(seed)
    pitch = 110 + 40 * random.random()
    tone = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, 9))
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * (2 + random.random()) * time)
    mono = 0.15 * tone * envelope
    return np.repeat(mono[:, None], channels, axis=1).astype(np.float32)


def encoded(samples: np.ndarray, rate: int, format: str = "MP3", subtype: str | None = None) -> bytes:
    """An audio file in memory."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def mp3(seconds: float = 1.0, rate: int = 32000, seed: int = 0, channels: int = 1) -> bytes:
    """An MP3 with a Xing header, as lame writes it."""
    return encoded(sound(seconds, rate, seed, channels), rate)


@dataclass
class Entry:
    """One row and its clip."""

    path: str
    sentence: str = "open the door"
    data: bytes | None = None  # None: no file
    client_id: str = "speaker"
    more: dict[str, str] = field(default_factory=dict)


def tsv(entries: Sequence[Entry], columns: Sequence[str] = COLUMNS) -> str:
    """A TSV file's text."""
    rows = ["\t".join(columns)]
    for entry in entries:
        values = {"client_id": entry.client_id, "path": entry.path, "sentence": entry.sentence, **entry.more}
        rows.append("\t".join(values.get(column, "") for column in columns))
    return "\n".join(rows) + "\n"


def write_release(folder: Path, columns: Sequence[str] = COLUMNS, **sets: Sequence[Entry]) -> Path:
    """A release folder with the given sets and their clips."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for name, entries in sets.items():
        (folder / f"{name}.tsv").write_text(tsv(entries, columns), encoding="utf-8")
        for entry in entries:
            if entry.data is not None:
                (folder / "clips" / entry.path).write_bytes(entry.data)
    return folder


@pytest.fixture(scope="session")
def clips() -> list[bytes]:
    """A few different MP3s of about a second, to be used for many rows."""
    return [mp3(0.8 + 0.1 * seed, (32000, 48000)[seed % 2], seed) for seed in range(6)]


@pytest.fixture
def make_release(tmp_path: Path, clips: list[bytes]) -> Callable[..., Path]:
    """Makes a clean release with so many clips a set."""

    def make(train: int = 6, dev: int = 2, test: int = 2, name: str = "release") -> Path:
        words = ("open the door", "shut my window now", "turn the light on please", "stop the radio")
        sets, number = {}, 0
        for set_name, count in (("train", train), ("dev", dev), ("test", test)):
            entries = []
            for index in range(count):
                sentence = f"{set_name} {words[index % 4]}".capitalize() + "."
                entries.append(
                    Entry(f"clip_{number:05d}.mp3", sentence, clips[number % len(clips)], f"{set_name}{index % 3}")
                )
                number += 1
            sets[set_name] = entries
        return write_release(tmp_path / name, **sets)

    return make
