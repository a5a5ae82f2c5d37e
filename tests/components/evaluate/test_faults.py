"""What is wrong with the input is said in one line, with exit code 2, and nothing is written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, ExportedModel
from speech.clips.audio import wav_header
from speech.geometry import Geometry
from tests.components.evaluate.conftest import LETTERS, write_frozen

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Callable[..., str]:
    """Run, check how it ended, and give the line."""

    def run(model: Path, csv: object, *flags: object) -> str:
        code, out, err = command("--model", model, "--test_files", csv, "--evaluation", tmp_path / "out", *flags)
        assert code == 2
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return err

    return run


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """A copy of the exported model, to be damaged."""
    return Path(shutil.copytree(exported, tmp_path / "model"))


def test_truncated_model(refused: Callable[..., str], model: Path, clips: Path) -> None:
    frozen = model / ExportedModel.FROZEN
    frozen.write_bytes(frozen.read_bytes()[:-5000])
    assert "model.json records" in refused(model, clips / "dev.csv")
    assert "model.json records" in refused(frozen, clips / "dev.csv")
    (model / ExportedModel.MODEL).unlink()
    assert "cut short" in refused(frozen, clips / "dev.csv")
    frozen.write_bytes(b"")
    assert "empty" in refused(frozen, clips / "dev.csv")


def test_a_flipped_bit(refused: Callable[..., str], model: Path, clips: Path) -> None:
    """It changes no size, and perhaps a weight that changes no transcript: what is measured is what was exported."""
    frozen = model / ExportedModel.FROZEN
    content = bytearray(frozen.read_bytes())
    content[len(content) // 2] ^= 1
    frozen.write_bytes(content)
    assert "output_graph.pb is damaged: " in refused(model, clips / "dev.csv")


def test_no_model(refused: Callable[..., str], model: Path, clips: Path, tmp_path: Path) -> None:
    assert "no such model" in refused(tmp_path / "absent", clips / "dev.csv")
    (tmp_path / "empty").mkdir()
    assert "no model in it" in refused(tmp_path / "empty", clips / "dev.csv")
    (tmp_path / "model.h5").write_bytes(b"x")
    assert "unknown model format" in refused(tmp_path / "model.h5", clips / "dev.csv")
    (tmp_path / "model.tflite").write_bytes(b"x" * 100)
    assert "not a TFLite model" in refused(tmp_path / "model.tflite", clips / "dev.csv")
    (tmp_path / "model.xml").write_text("<net/>")
    assert "model.bin" in refused(tmp_path / "model.xml", clips / "dev.csv")
    (tmp_path / "model.bin").write_bytes(b"")
    assert "model.xml" in refused(tmp_path / "model.xml", clips / "dev.csv")


def test_alphabet_of_another_size(refused: Callable[..., str], model: Path, clips: Path, tmp_path: Path) -> None:
    Alphabet((" ", "a", "b")).save(model / ALPHABET)
    assert "3 symbols, but the model beside it has 5" in refused(model, clips / "dev.csv")
    Alphabet((" ", "a", "b", "c", "x")).save(model / ALPHABET)
    assert "differ from those inside output_graph.pb" in refused(model, clips / "dev.csv")
    other = Path(shutil.copytree(clips, tmp_path / "clips"))
    Alphabet((*LETTERS.symbols, "é", "ß")).save(other / ALPHABET)
    line = refused(tmp_path / "model" / ExportedModel.FROZEN, other / "dev.csv")
    assert "differ" in line
    LETTERS.save(model / ALPHABET)
    line = refused(model, other / "dev.csv")
    assert "written in 7 symbols, the model in 5" in line
    assert "'é' 'ß'" in line


def test_alphabet_of_the_flags(refused: Callable[..., str], model: Path, clips: Path, tmp_path: Path) -> None:
    for symbols, message in (((" ", "a"), "2 symbols, but"), ((" ", "b", "a", "c", "d"), "differ from those inside")):
        Alphabet(symbols).save(tmp_path / "other.txt")
        line = refused(model, clips / "dev.csv", "--alphabet_config_path", tmp_path / "other.txt")
        assert message in line


def test_model_of_another_sample_rate(refused: Callable[..., str], clips: Path, tmp_path: Path) -> None:
    geometry = Geometry(n_hidden=8, n_labels=len(LETTERS), audio_sample_rate=8000)
    flags = ("--normalize_sample_rate", "false")
    line = refused(write_frozen(tmp_path / "narrow.pb", geometry), clips / "dev.csv", *flags)
    assert "no usable clip (4 another sample rate" in line


def test_a_clip_of_another_sample_rate_among_others(refused: Callable[..., str], model: Path, tmp_path: Path) -> None:
    for name, rate in (("a.wav", 16_000), ("b.wav", 44_100)):
        (tmp_path / name).write_bytes(wav_header(16_000, rate) + np.zeros(16_000, np.int16).tobytes())
    csv = tmp_path / "mixed.csv"
    csv.write_text("wav_filename,wav_filesize,transcript\na.wav,32044,a\nb.wav,32044,b\n")
    line = refused(model, csv, "--normalize_sample_rate=false")
    assert "1 of 2 clips (50.0%) cannot be used: 1 another sample rate (b.wav)" in line


def test_test_sets(refused: Callable[..., str], model: Path, clips: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("wav_filename,wav_filesize,transcript\n")
    assert "no clips" in refused(model, empty)
    assert "no such CSV" in refused(model, tmp_path / "absent.csv")
    columns = tmp_path / "columns.csv"
    columns.write_text("wav_filename,wav_filesize\nx.wav,9\n")
    assert "no column transcript" in refused(model, columns)
    lost = tmp_path / "lost.csv"
    lost.write_text("wav_filename,wav_filesize,transcript\nlost.wav,1000,a\n")
    assert "lost.wav" in refused(model, lost)
    assert "not a complete corpus" in refused(model, tmp_path)


def test_flags(refused: Callable[..., str], model: Path, clips: Path, tmp_path: Path) -> None:
    csv = clips / "dev.csv"
    assert "did you mean --report_count" in refused(model, csv, "--report_cuont", 3)
    assert "--decoder" in refused(model, csv, "--decoder", "flashlight")
    assert "--confidence 1.5" in refused(model, csv, "--confidence", 1.5)
    assert "--test_batch_size 0" in refused(model, csv, "--test_batch_size", 0)
    assert "samples.json" in refused(model, csv, "--champion", tmp_path)
    assert "history" in refused(model, csv, "--history", tmp_path / "absent.json")


def test_missing_paths(command: Command, clips: Path) -> None:
    assert "--model is missing" in command("--test_files", clips / "dev.csv")[2]
    assert "--test_files is missing" in command("--model", clips)[2]


def test_a_checkpoint_without_an_alphabet_asks_for_one(
    refused: Callable[..., str], clips: Path, tmp_path: Path
) -> None:
    from speech.nn import snapshots
    from tests.speech.nn.test_model import random_weights

    geometry = Geometry(n_hidden=8, n_labels=len(LETTERS))
    folder = tmp_path / "checkpoint"
    snapshots.save(
        folder,
        "best_dev-1",
        snapshots.Snapshot(geometry, random_weights(geometry), {}, 1, 0.001, 0.9, 0.999),
    )
    assert "--alphabet_config_path" in refused(folder, clips / "dev.csv")
    Alphabet((" ", "a")).save(tmp_path / "two.txt")
    line = refused(folder, clips / "dev.csv", "--alphabet_config_path", tmp_path / "two.txt")
    assert "2 symbols" in line
