"""What is played, in which order, and where it is saved; the player is a script that keeps what it is given."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from components.train.peers.play import main
from tests.fixtures.commands import exit_code
from tests.fixtures.tones import speak, write_csv
from tests.speech.clips.test_sample_database import GOLDEN

TEXTS = ["a", "bb", "ccc", "dddd"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with train.csv, and on PATH a player that plays nine clips and then breaks."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path, "train", TEXTS)
    (tmp_path / "bin").mkdir()
    player = tmp_path / "bin" / "aplay"
    player.write_text(
        "#!/bin/sh\nn=$(ls heard | wc -l)\n"
        '[ "$n" = 9 ] && { echo "audio open error: no such device" >&2; exit 1; }\n'
        'cp "$2" "heard/$n.wav"\n'
    )
    player.chmod(0o755)
    (tmp_path / "heard").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}")
    return tmp_path


def run(*arguments: object) -> int:
    return exit_code(main, *arguments)


def heard(folder: Path) -> list[int]:
    """The lengths of the recordings in a folder, in order, as places in TEXTS."""
    lengths = [len(speak(text, 0)) for text in TEXTS]
    return [lengths.index(len(soundfile.read(path)[0])) for path in sorted(folder.glob("*.wav"))]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--number", 3], [0, 1, 2]),
        (["--number", 6, "--start", 2], [2, 3, 0, 1, 2, 3]),
        (["--number=2", "--start=-1"], [3, 0]),
        (["--number", 0], []),
    ],
)
def test_in_order(desk: Path, flags: list[object], expected: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train.csv", *flags) == 0
    assert heard(desk / "heard") == expected
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  ")]
    assert shown == [f'  "{TEXTS[place]}"' for place in expected]


def test_on_and_on_until_the_player_fails(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train.csv", "--quiet") == 2
    assert heard(desk / "heard") == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert capsys.readouterr().err == (
        "error: aplay ended with 1: audio open error: no such device: --output FOLDER saves the clips, --pipe writes "
        "one to standard output\n"
    )


def test_drawn_by_the_seed(desk: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        assert run("--random", "train.csv", "--number", 8, "--random_seed", seed, "--output", name) == 0
    assert heard(desk / "one") == heard(desk / "same") != heard(desk / "other")


def test_saved_augmented_at_a_moment_of_the_training(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--augment", "volume[dbfs=-20:0]", "--augment", "pitch[p=0.1]", "--output"]
    for clock, dbfs in ((0, -20), (0.5, -10), (1, 0)):
        assert run(*flags, f"at-{clock}", "train.csv", "--clock", clock) == 0
        assert "not heard: pitch[" in capsys.readouterr().err
        assert heard(desk / f"at-{clock}") == [0, 1, 2, 3]
        peaks = [np.abs(soundfile.read(path)[0]).max() for path in (desk / f"at-{clock}").glob("*.wav")]
        assert peaks == pytest.approx([10 ** ((dbfs - 3.0103) / 20)] * 4, rel=0.01)


def test_each_time_another_chance(desk: Path) -> None:
    assert run("train-0.wav", "--number", 2, "--augment", "add[domain=signal,stddev=0.1]", "--output", "out") == 0
    first, second = (soundfile.read(path)[0] for path in sorted((desk / "out").glob("*.wav")))
    assert len(first) == len(second)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize("source", [["train.csv"], ["--source", "train-0.wav"], [str(GOLDEN)]])
def test_piped(desk: Path, source: list[str], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(*source, "--pipe", "true") == 0
    samples, rate = soundfile.read(io.BytesIO(capfdbinary.readouterr().out))
    assert rate == 16_000
    assert len(samples) == len(speak("ab" if str(GOLDEN) in source else "a", 0))


def test_other_rates_are_heard_as_the_model_hears_them(desk: Path) -> None:
    soundfile.write("slow.wav", np.zeros(8_000), 8_000)
    assert run("slow.wav", "--output", "out") == 0
    assert len(soundfile.read("out/0000-slow.wav")[0]) == 16_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one SOURCE"),
        (["train.csv", "train-0.wav"], "expected one SOURCE (a CSV, .sdb, .tar or audio file), found 2"),
        (["no.csv"], "no.csv: no such file"),
        (["train.csv", "--start", "4"], "--start 4 is not allowed: from -4 to 3: there are 4 clips"),
        (["train.csv", "--clock", "2"], "--clock 2.0 is not allowed"),
        (["train.csv", "--output", "there"], "0000-train-0.wav is there already"),
    ],
)
def test_what_is_refused(desk: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("there").mkdir()
    Path("there/0000-train-0.wav").write_bytes(b"mine")
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert Path("there/0000-train-0.wav").read_bytes() == b"mine"


def test_without_a_player(desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(desk))
    assert run("train.csv") == 2
    assert "no program that plays sound (aplay, " in capsys.readouterr().err
