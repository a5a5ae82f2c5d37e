"""The tool's targets, read back by the readers of the training."""

import csv
from pathlib import Path

import numpy as np
import pytest

from components.train.peers.data_set_tool import main
from speech.clips.audio import ClipReader
from speech.clips.sources import read_source
from tests.fixtures.commands import exit_code
from tests.fixtures.tones import write_csv
from tests.speech.clips.test_sample_database import GOLDEN

TEXTS = ["abcabc", "ab", "dd d", "a"]


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """a.csv with the four TEXTS and b.csv with one of a length between them, as working folder."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path, "a", TEXTS)
    write_csv(tmp_path, "b", ["abc"])
    return tmp_path


def run(*arguments: object) -> int:
    return exit_code(main, *arguments)


def samples(path: Path) -> dict[str, np.ndarray]:
    manifest = read_source(path)
    reader = ClipReader(manifest, 16_000)
    return {clip.transcript: reader.samples(clip) for clip in manifest}


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of the amounts of the frequencies: a codec keeps those, not the phases."""
    return float(np.corrcoef(*(np.abs(np.fft.rfft(signal.astype(float))) for signal in (one, other)))[0, 1])


@pytest.mark.parametrize("target", ["out.csv", "out.sdb", "out.tar"])
def test_a_set_of_two_from_short_to_long(sets: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.csv", "b.csv", target, "--audio_type", "wav") == 0
    made, said = samples(sets / target), samples(sets / "a.csv") | samples(sets / "b.csv")
    assert list(made) == ["a", "ab", "abc", "dd d", "abcabc"]
    assert all(np.array_equal(made[text], said[text]) for text in said)
    assert capsys.readouterr().out == f"{target}: 5 clips, 0.00 h\n"


def test_opus(sets: Path) -> None:
    target = sets / "out.sdb"
    assert run("--audio-type", "opus", "--bitrate", 24_000, "a.csv", target, "--workers", 1) == 0
    assert target.stat().st_size < sum(path.stat().st_size for path in sets.glob("a-*.wav")) / 2
    made, said = samples(target), samples(sets / "a.csv")
    for text in said:
        assert abs(len(made[text]) - len(said[text])) <= 1
        assert correlation(made[text][: len(said[text])], said[text][: len(made[text])]) > 0.9


def test_sample_databases_are_sources_too(sets: Path) -> None:
    assert run(GOLDEN, "b.csv", "out.csv") == 0
    with Path("out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["transcript"] for row in rows] == ["ab", "abc", "cd b"]
    assert [row["wav_filename"] for row in rows] == [f"out/sample{number:08d}.wav" for number in range(3)]
    assert [int(row["wav_filesize"]) for row in rows] == [Path(row["wav_filename"]).stat().st_size for row in rows]


def test_absolute_paths_and_the_flags_of_coqui(sets: Path) -> None:
    assert run("--sources", "a.csv", "b.csv", "--target", "out.csv", "--absolute-paths") == 0
    assert {Path(clip.wav_filename).parent for clip in read_source(sets / "out.csv")} == {sets / "out"}


def test_augmented(sets: Path) -> None:
    assert run("--augment", "volume[dbfs=-20:0]", "--augment", "pitch", "a.csv", "quiet.csv") == 0
    assert run("a.csv", "--clock", 1, "loud.csv", "--augment", "volume[dbfs=-20:0]") == 0
    peaks = [max(np.abs(clip).max() for clip in samples(sets / name).values()) for name in ("quiet.csv", "loud.csv")]
    assert peaks == pytest.approx([32768 * 10 ** ((dbfs - 3.0103) / 20) for dbfs in (-20, 0)], rel=0.01)


def test_shuffled_by_the_seed(sets: Path) -> None:
    write_csv(sets, "many", ["a" * number for number in range(1, 12)])
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        assert run("many.csv", f"{name}.sdb", "--shuffle", "--random_seed", seed, "--audio_type", "wav") == 0
    one, same, other = (list(samples(sets / f"{name}.sdb")) for name in ("one", "same", "other"))
    assert one == same != other
    assert sorted(one) == sorted(other) != one


def test_without_transcripts(sets: Path) -> None:
    assert run("--unlabeled", "a.csv", "noise.sdb") == 0
    assert run("b.csv", "out.csv", "--augment", "overlay[source=noise.sdb]") == 0
    assert run("noise.sdb", "more.csv") == 2
    assert run("noise.sdb", "more.csv", "--unlabeled") == 0
    assert Path("more.csv").read_text().splitlines()[0] == "wav_filename,wav_filesize"


def test_what_cannot_be_read_is_said(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(sets, "many", ["a"] * 11)
    Path("many-3.wav").write_bytes(b"RIFF")
    assert run("many.csv", "out.csv") == 0
    output = capsys.readouterr().out
    assert "out.csv: 10 clips" in output
    assert "left out: 1 of 11 clips, such as" in output
    assert "many-3.wav" in output
    Path("many-4.wav").unlink()
    assert run("many.csv", "more.csv") == 2
    assert "2 of 11 clips cannot be read" in capsys.readouterr().err
    assert not list(sets.glob("*more*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.csv"], "expected SOURCE ... TARGET"),
        (["a.csv", "out.zip"], "expected a target that ends with .csv, .sdb, .tar"),
        (["a.csv", "b.csv"], "b.csv is there already"),
        (["b.csv", "a-0.csv"], "a-0 is there already"),
        (["c.csv", "out.sdb"], "c.csv: no such file"),
        (
            ["a.csv", "out.tar", "--include", "b.csv"],
            "--include is not taken over: a .tar file is",
        ),
        (["a.csv", "out.sdb", "--augment", "volum"], "did you mean volume?"),
        (["a.csv", "out.sdb", "--bitrate", "1"], "--bitrate 1 is not allowed: 6000 to 256000 bit/s"),
    ],
)
def test_what_is_refused(sets: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a-0").mkdir()
    before = sorted(sets.rglob("*"))
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert sorted(sets.rglob("*")) == before
