"""Which test clips are measured: resampled ones are, damaged ones are counted, and too many of these are an error."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr

from speech.clips.audio import parse_wav, wav_header
from speech.clips.manifest import read_manifest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evaluated(command: Command, exported: Path, tmp_path: Path) -> Callable[..., dict]:
    """Measure the model on a CSV; the scores."""

    def run(csv: Path, *flags: object) -> dict:
        quick = ("--bootstrap_samples", 0, "--report_count", 0, "--report_players", 1, "--decoder", "greedy")
        code, _, err = command("--model", exported, "--test_files", csv, "--evaluation", tmp_path / "e", *quick, *flags)
        assert code == 0, err
        return json.loads((tmp_path / "e" / "scores.json").read_text())

    return run


@pytest.fixture
def mixed(clips: Path, tmp_path: Path) -> Path:
    """A copy of the test set in which three of nine clips have other rates, with sizes that say nothing."""
    lines = ["wav_filename,transcript"]
    for number, clip in enumerate(read_manifest(clips / "test.csv")):
        samples, _ = parse_wav((clips / clip.wav_filename).read_bytes(), "")
        rate = {0: 8_000, 1: 44_100, 2: 48_000}.get(number, 16_000)
        samples = np.asarray(soxr.resample(samples, 16_000, rate), np.int16)
        (tmp_path / clip.wav_filename).write_bytes(wav_header(len(samples), rate) + samples.tobytes())
        lines.append(f"{clip.wav_filename},{clip.transcript}")
    (tmp_path / "mixed.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "mixed.csv"


@pytest.mark.parametrize("engine", ["batch", "file"])
def test_audio_of_other_rates_is_resampled(evaluated: Callable[..., dict], mixed: Path, engine: str) -> None:
    scores = evaluated(mixed, "--engine", engine)
    assert scores["test_clips"] == 9
    assert scores["clips"] == {"listed": 9, "used": 9, "skipped": 0, "counts": {}}


def test_without_resampling_they_are_left_out(evaluated: Callable[..., dict], command: Command, exported: Path,
                                              mixed: Path, tmp_path: Path) -> None:  # fmt: skip
    flags = ("--model", exported, "--test_files", mixed, "--evaluation", tmp_path / "e")
    code, _, err = command(*flags, "--normalize_sample_rate", "false")
    assert code == 2
    assert "mixed.csv: 3 of 9 clips (33.3%) cannot be used: 3 another sample rate (test-0.wav" in err
    scores = evaluated(mixed, "--normalize_sample_rate", "false", "--allow_skipped", "0.5")
    assert (scores["test_clips"], scores["clips"]["used"], scores["clips"]["skipped"]) == (6, 6, 3)


def test_what_cannot_be_heard_is_counted_and_shown(
    evaluated: Callable[..., dict], command: Command, exported: Path, mixed: Path, tmp_path: Path
) -> None:
    (tmp_path / "test-3.wav").unlink()
    (tmp_path / "test-4.wav").write_bytes(b"404 not found")
    code, _, err = command("--model", exported, "--test_files", mixed, "--evaluation", tmp_path / "e")
    assert code == 2
    assert "2 of 9 clips (22.2%) cannot be used: 1 missing file (test-3.wav), 1 unreadable audio (test-4.wav)" in err
    assert not (tmp_path / "e").exists()
    scores = evaluated(mixed, "--allow_skipped", "2")
    assert scores["clips"]["counts"] == {"missing file": 1, "unreadable audio": 1}
    assert scores["sets"][0]["clips"]["examples"] == {
        "missing file": ["test-3.wav"],
        "unreadable audio": ["test-4.wav"],
    }
    assert scores["test_clips"] == 7
    shown = "9 listed, 7 used, 2 left out (1 missing file, 1 unreadable audio)"
    assert shown in (tmp_path / "e" / "report.html").read_text()
    assert shown.replace("_", "\\_") in (tmp_path / "e" / "summary.md").read_text()


def test_every_finding_in_one_message(command: Command, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    code, _, err = command(
        *("--model", tmp_path / "none", "--test_files", clips / "test.csv", tmp_path / "none.csv"),
        *("--evaluation", tmp_path / "file", "--scorer_path", "no.scorer", "--dump", tmp_path / "file" / "x"),
    )
    assert code == 2
    lines = err.splitlines()
    assert lines[0] == "error: 5 things have to be mended before the work can begin:"
    for part in ("none: no such model", "none.csv: no such CSV", "--evaluation", "--scorer_path no.scorer", "--dump"):
        assert any(part in line for line in lines[1:]), (part, lines)
