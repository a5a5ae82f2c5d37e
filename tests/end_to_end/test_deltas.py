"""A base release and two deltas, from `corpus_uri` to a published version with one command."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from components import images
from tests.components.import_cv.conftest import Entry, encoded, write_release
from tests.fixtures.tones import speak, texts

BASE, FIRST, SECOND = (
    "cv-corpus-20.0-2024-12-11", "cv-corpus-21.0-delta-2025-03-14", "cv-corpus-22.0-delta-2025-06-20",
)  # fmt: skip
RATE = 16_000


def entries(numbers: range, speaker: str) -> list[Entry]:
    made = []
    for number, text in zip(numbers, texts(len(numbers), numbers.start), strict=True):
        data = encoded(speak(text, number), RATE, "WAV")
        made.append(Entry(f"common_voice_xx_{number}.wav", text, data, f"{speaker}{number % 3}"))
    return made


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """The base in a .tar.gz, a delta in a folder, another in a .tar.gz; neither delta has a train.tsv."""
    folder = tmp_path / "releases"
    train, dev, test = entries(range(16), "t"), entries(range(20, 26), "d"), entries(range(30, 36), "s")
    write_release(folder / BASE / "xx", train=train, dev=dev, test=test, validated=[*train, *dev, *test], other=[])
    of_tests = entries(range(40, 42), "s")  # by speakers of the base's test set
    write_release(folder / FIRST / "xx", validated=[*entries(range(50, 54), "n"), *of_tests], other=[])
    write_release(folder / SECOND / "xx", validated=entries(range(60, 63), "m"), other=[])
    for name in (BASE, SECOND):
        with tarfile.open(folder / f"{name}-xx.tar.gz", "w:gz") as tar:
            for file in sorted((folder / name).rglob("*.*"), key=lambda path: path.suffix == ".wav"):
                tar.add(file, file.relative_to(folder))
    return folder


@pytest.mark.slow
def test_a_base_and_two_deltas_become_a_version(releases: Path, tmp_path: Path) -> None:
    uris = [f"{releases}/{BASE}-xx.tar.gz", f"{releases}/{FIRST}/xx", f"{releases}/{SECOND}-xx.tar.gz"]
    command = [
        *(sys.executable, "-m", "pipelines", "run", "--corpus_uri", ",".join(uris), "--output", str(tmp_path / "out")),
        *("--publish_uri", str(tmp_path / "models"), "--n_hidden", "16", "--epochs", "1", "--train_batch_size", "8"),
        *("--min_test_clips", "5"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=images.ROOT)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert facts["clips"]["imported"] == {"train": 16 + 4 + 3, "dev": 6, "test": 6}
    champion = json.loads((tmp_path / "models" / "champion.json").read_text(encoding="utf-8"))
    card = json.loads((tmp_path / "models" / champion["version"] / "model_card.json").read_text(encoding="utf-8"))
    origins = card["data"]["origins"]
    assert [origin["release"] for origin in origins] == [f"{name}/xx" for name in (BASE, FIRST, SECOND)]
    assert [origin["merged"]["imported"] for origin in origins] == [28, 4, 3]
    assert [origin["merged"]["held_out"] for origin in origins] == [0, 2, 0]
    again = subprocess.run(command, capture_output=True, text=True, cwd=images.ROOT)
    assert again.returncode == 0, again.stderr
    assert "import_cv cached" in " ".join(again.stderr.split())
