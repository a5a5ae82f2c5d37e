"""What the report finds in usable clips, and what --exclude leaves out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.import_cv import step
from components.import_cv.report.health import Marks
from components.import_cv.settings import HEALTH_FINDINGS, ImportSettings
from components.import_cv.write import parts
from speech.artifacts import Corpus
from speech.errors import InputError
from tests.components.import_cv.conftest import Entry, encoded, sound, write_release


def wav(samples: np.ndarray) -> bytes:
    return encoded(samples, 16000, "WAV", "PCM_16")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    good = [wav(sound(1.0, 16000, seed)) for seed in range(6)]
    train = [
        Entry("a.wav", "Open the door.", good[0], "ann"),
        Entry("again.wav", "Shut the door.", good[0], "ann"),
        Entry("b.wav", "open the door", good[1], "ann"),
        Entry("c.wav", "Open the door!", good[2], "bob"),
        Entry("silent.wav", "Nobody speaks.", wav(sound(1.0, 16000, 7) * 0.001), "bob"),
        Entry("loud.wav", "Too loud.", wav(np.clip(sound(1.0, 16000, 8) * 20, -1, 1)), "bob"),
        Entry("full.wav", "aabbccddeeffgghhiijjkkllmmnnooppqqrr", good[3], "cid"),
    ]
    test = [Entry("t.wav", "Open the door.", good[4], "bob"), Entry("u.wav", "Other words.", good[0], "dan")]
    return write_release(tmp_path_factory.mktemp("release") / "xx", train=train, dev=[], test=test)


def imported(release: Path, folder: Path, **settings: Any) -> Corpus:
    return step.run(ImportSettings(workers=1, **settings), str(release), folder)


def test_findings_are_counted_and_nothing_is_left_out(release: Path, tmp_path: Path) -> None:
    corpus = imported(release, tmp_path / "corpus")
    assert corpus.report["sets"]["train"]["clips"] == 7
    health = corpus.report["health"]
    found = {name: [example["path"] for example in one["examples"]] for name, one in health["findings"].items()}
    assert found == {
        "duplicate_audio": ["again.wav"],
        "duplicate_sentence": ["b.wav"],
        "silent": ["silent.wav"],
        "clipped": ["loud.wav"],
        "too_many_labels": ["full.wav"],
    }
    assert health["findings"]["duplicate_audio"]["examples"][0]["detail"] == "as a.wav"
    assert health["shared"][1] == {"sets": ["train", "test"], "speakers": 1, "sentences": 1, "audio": 1}
    assert sum(health["loudness_db"]["train"]["counts"]) == 7
    page = (corpus.folder / Corpus.HTML_REPORT).read_text(encoding="utf-8")
    assert "train and test share 1 speakers, 1 sentences and 1 recordings" in page


def test_what_is_excluded_has_its_reason(release: Path, tmp_path: Path) -> None:
    corpus = imported(release, tmp_path / "corpus", exclude=HEALTH_FINDINGS)
    assert corpus.report["sets"]["train"]["reasons"] == dict.fromkeys(sorted(HEALTH_FINDINGS), 1)
    assert [clip.wav_filename for clip in corpus.manifest("train")] == ["clips/a.wav", "clips/c.wav"]
    assert corpus.report["health"]["findings"]["silent"]["excluded"]


def test_parts_and_a_rerun_find_the_same(release: Path, tmp_path: Path) -> None:
    whole = imported(release, tmp_path / "whole", shard_clips=3)
    folders = [tmp_path / str(number) for number in (1, 2)]
    for number, folder in enumerate(folders, start=1):
        imported(release, folder, shard_clips=3, partition=f"{number}/2")
    merged = parts.merge(folders, tmp_path / "merged")
    assert merged.report["health"] == whole.report["health"]
    assert imported(release, tmp_path / "whole", shard_clips=3).report["health"] == whole.report["health"]


def test_an_unknown_finding_is_named() -> None:
    with pytest.raises(InputError, match="--exclude 'noisy'"):
        ImportSettings(exclude=("noisy",))


def test_marks_remember_every_bit() -> None:
    marks, known = Marks(), dict[int, int]()
    random = np.random.default_rng(0)
    for key in random.integers(-(2**63), 2**63 - 1, 3000).tolist() * 2:
        bit = 1 << (key % 3)
        assert marks.add(key, bit) == known.get(key, 0)
        known[key] = known.get(key, 0) | bit
