"""A corpus that a small model learns in seconds: every letter is a tone."""

from pathlib import Path

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.audio import wav_header
from speech.manifest import Clip, write_manifest

TONES_HZ = {" ": 0, "a": 400, "b": 900, "c": 1600, "d": 2600}


def speak(text: str, seed: int) -> np.ndarray:
    """int16 samples: 120 ms of tone a letter, with a little noise."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(int(0.12 * 16_000)) / 16_000
    sounds = [np.sin(2 * np.pi * TONES_HZ[letter] * time_s) * 6000 for letter in text]
    signal = np.concatenate([np.zeros(800), *sounds, np.zeros(800)])
    return (signal + generator.normal(0, 100, len(signal))).astype(np.int16)


def write_csv(folder: Path, name: str, texts: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number, text in enumerate(texts):
        samples = speak(text, number)
        path = folder / f"{name}-{number}.wav"
        path.write_bytes(wav_header(len(samples), 16_000) + samples.tobytes())
        clips.append(Clip(path.name, path.stat().st_size, text))
    write_manifest(folder / f"{name}.csv", clips)
    return folder / f"{name}.csv"


def texts(count: int, seed: int, letters: str = "abcd") -> list[str]:
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list(letters), generator.integers(3, 7))) for _ in range(count)]


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv (22 clips), dev.csv (6), alphabet.txt, and other.csv in another alphabet."""
    folder = tmp_path_factory.mktemp("tones")
    write_csv(folder, "train", texts(22, 1))
    write_csv(folder, "dev", texts(6, 2))
    write_csv(folder / "other", "train", texts(12, 3, "ab"))
    Alphabet((" ", "a", "b", "c", "d")).save(folder / "alphabet.txt")
    Alphabet((" ", "a", "b")).save(folder / "other" / "alphabet.txt")
    return folder
