"""What a training command would stumble over is said at once, in its first seconds; nothing is begun."""

import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.train import preflight, step
from components.train.__main__ import TrainCommand
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.artifacts import Checkpoint
from speech.clips.audio import wav_header
from speech.clips.manifest import Clip, read_manifest, write_manifest
from speech.errors import InputError
from tests.fixtures.tones import speak, texts, write_csv
from tests.speech.clips.test_webdataset import write_tar

ROOT = Path(__file__).parents[3]
SMALL = {"n_hidden": 16, "epochs": 1, "train_batch_size": 4, "skip_batch_test": True}


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., TrainCommand]:
    """`given(train_files=...)`: a command on a set of 20 clips of tones, with a folder for checkpoints."""
    csv = write_csv(tmp_path / "data", "train", texts(20, 1))
    Alphabet((" ", "a", "b", "c", "d")).save(tmp_path / "data" / "alphabet.txt")

    def make(**flags: object) -> TrainCommand:
        usual = {"train_files": (str(csv),), "checkpoint_dir": str(tmp_path / "checkpoint"), **SMALL}
        return TrainCommand(**{**usual, **flags})  # type: ignore[arg-type]

    return make


def findings(given: TrainCommand) -> list[str]:
    """The lines of the message; none if the work can begin."""
    try:
        preflight.check_command(given)
    except InputError as error:
        first, *lines = str(error).split("\n")
        return [re.sub(r"^  \d+\. ", "", line) for line in lines] or [first]
    return []


def csv_of(folder: Path, rows: Sequence[tuple[str, str]], header: str = "wav_filename,wav_filesize,transcript") -> str:
    folder.mkdir(exist_ok=True)
    lines = [f"{name},0,{text}" for name, text in rows]
    (folder / "list.csv").write_text("\n".join([header, *lines]) + "\n")
    return str(folder / "list.csv")


def test_what_can_be_trained_passes_and_leaves_nothing(given: Callable[..., TrainCommand], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert findings(given(export_dir=str(tmp_path / "model"), summary_dir=str(tmp_path / "logs"))) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_every_finding_in_one_message_before_tensorflow_is_loaded(
    given: Callable[..., TrainCommand], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "k.scorer").write_bytes(b"no scorer" * 1000)
    train = given().train_files[0]
    missing = csv_of(tmp_path / "data", [(f"gone-{number}.wav", "ab") for number in range(4)])
    flags = [
        *("--train_files", train, "--dev_files", missing, "--test_files", str(tmp_path / "none.csv")),
        *("--checkpoint_dir", str(tmp_path / "file"), "--summary_dir", "/proc/self/logs"),
        *("--export_dir", str(tmp_path / "file" / "model"), "--test_output_file", str(tmp_path)),
        *("--scorer_path", str(tmp_path / "k.scorer"), "--one_shot_infer", "no.wav"),
    ]
    program = "import sys, atexit\natexit.register(lambda: print('tensorflow' in sys.modules))\n"
    program += "from components.train.__main__ import main\nmain()"
    command = [sys.executable, "-c", program, *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout == "False\n"
    first, *lines = done.stderr.splitlines()
    assert first == "error: 8 things have to be mended before the work can begin:"
    expected = (
        r"--test_files .*none\.csv: no such file",
        r"--one_shot_infer no\.wav: no such file",
        r"--checkpoint_dir .*file: it is a file: give a folder",
        r"--summary_dir /proc/self/logs: /proc/self cannot be written: .*: choose another folder",
        r"--export_dir .*file/model: .*/file is a file",
        r"--test_output_file .*: it is a folder: give a file's name",
        r"list\.csv: no usable clip \(4 missing file \(gone-0\.wav, gone-1\.wav, gone-2\.wav, \.\.\.\)\)",
        r"--scorer_path .*k\.scorer",
    )
    for pattern in expected:
        assert any(re.search(pattern, line) for line in lines), (pattern, lines)


def test_missing_recordings_are_an_error_above_a_tenth(given: Callable[..., TrainCommand], tmp_path: Path) -> None:
    rows = [(clip.wav_filename, clip.transcript) for clip in read_manifest(given().train_files[0])]
    few = csv_of(tmp_path / "data", [*rows, ("gone-1.wav", "a"), ("gone-2.wav", "a")])
    assert findings(given(train_files=(few,))) == []  # 2 of 22
    many = csv_of(tmp_path / "data", [*rows[:6], *((f"gone-{number}.wav", "a") for number in range(90))])
    (line,) = findings(given(train_files=(many,)))
    assert "90 of 96 clips (93.8%) cannot be used: 90 missing file (gone-0.wav, gone-1.wav, gone-2.wav, ...)" in line
    assert "--allow_skipped 10% allows 9" in line
    assert findings(given(train_files=(many,), allow_skipped="90")) == []
    assert findings(given(train_files=(many,), allow_skipped="95%")) == []


def test_letters_that_the_alphabet_lacks_are_counted(given: Callable[..., TrainCommand], tmp_path: Path) -> None:
    given()  # for its recordings
    said = [(f"train-{number}.wav", text) for number, text in enumerate(("ab", "xb", "xy", "ab"))]
    wrong = csv_of(tmp_path / "data", said)
    for flag in ("train_files", "dev_files", "test_files"):
        lines = findings(given(**{flag: (wrong,)}))
        if flag == "train_files":  # the alphabet is the one beside it
            assert "2 of 4 clips (50.0%) cannot be used: 2 characters outside the alphabet" in lines[0]
        assert "alphabet lacks 'x' (2 transcripts, such as train-1.wav), 'y' (1 transcript, such as" in lines[0]
    assert findings(given(train_files=(wrong,), allow_skipped="50%")) == []


def test_other_rates_without_resampling(given: Callable[..., TrainCommand], tmp_path: Path) -> None:
    for number in range(3):
        samples = speak("ab", number)
        (tmp_path / "data" / f"slow-{number}.wav").write_bytes(wav_header(len(samples), 8_000) + samples.tobytes())
    other = csv_of(tmp_path / "data", [(f"slow-{number}.wav", "ab") for number in range(3)])
    for flag in ("dev_files", "test_files"):
        assert findings(given(**{flag: (other,)})) == []
        (line,) = findings(given(**{flag: (other,), "normalize_sample_rate": False}))
        assert "3 another sample rate" in line


def test_a_disk_that_is_too_small_for_the_checkpoints(given: Callable[..., TrainCommand]) -> None:
    (line,) = findings(given(n_hidden=300_000))
    assert re.search(
        r"--checkpoint_dir .* are free there, and 7 checkpoints of n_hidden 300000 .* take \d+\.\d GB", line
    )


@pytest.mark.parametrize("package", ["jinja2", "rapidfuzz", "soundfile"])
def test_packages_are_said_with_the_rest(
    package: str, given: Callable[..., TrainCommand], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of later phases, too, and together with what else has to be mended."""
    monkeypatch.setitem(sys.modules, package, None)
    lines = findings(given(test_files=(str(tmp_path / "no.csv"),)))
    assert lines == [
        f"this command needs {package}: pip install 'speechmill[train]'",
        f"--test_files {tmp_path}/no.csv: no such file",
    ]


def corpus(folder: Path, damaged: int) -> Path:
    """A Corpus folder with a shard of 20 clips, of which some are zeros."""
    (folder / "shards").mkdir(parents=True)
    said = texts(20, 5)
    files = {}
    for number, text in enumerate(said):
        samples = speak(text, number)
        content = wav_header(len(samples), 16_000) + samples.tobytes()
        files[f"{number}.wav"] = bytes(len(content)) if number < damaged else content
    shard = write_tar(folder / "shards" / "clips-00000.tar", files)
    with tarfile.open(shard) as archive:
        clips = [
            Clip(member.name, member.size, text, 1.0, "", "shards/clips-00000.tar", member.offset_data)
            for member, text in zip(archive.getmembers(), said, strict=True)
        ]
    write_manifest(folder / "train.csv", clips)
    (folder / "alphabet.txt").write_text(" \na\nb\nc\nd\n")
    (folder / "import_report.json").write_text("{}")
    return folder


def test_a_shard_that_is_gone_is_an_error(given: Callable[..., TrainCommand], tmp_path: Path) -> None:
    folder = corpus(tmp_path / "corpus", 0)
    assert findings(given(corpus=str(folder), train_files=())) == []
    (folder / "shards" / "clips-00000.tar").unlink()
    (line,) = findings(given(corpus=str(folder), train_files=()))
    assert "no usable clip (20 in a shard that is missing" in line


def test_damage_that_shows_while_training_ends_the_first_epoch_and_loses_nothing(tmp_path: Path) -> None:
    import json

    from components.train import step

    folder, save = corpus(tmp_path / "corpus", 3), tmp_path / "checkpoint"
    settings = TrainSettings(n_hidden=16, epochs=2, train_batch_size=4)
    with pytest.raises(InputError, match=r"3 of 20 clips \(15\.0%\) cannot be used: 3 unreadable audio \(.*goes on at"):
        step.run_on_corpus(settings, folder, save)
    assert list(save.glob("train-*.index"))
    assert not (save / Checkpoint.HISTORY).exists()
    step.run_on_corpus(replace(settings, allow_skipped="3"), folder, save)
    history = json.loads((save / Checkpoint.HISTORY).read_text())
    clips = history["clips"]["train"]
    assert (clips["listed"], clips["used"], clips["counts"]) == (20, 17, {"unreadable audio": 3})
    assert np.isfinite(history["epochs"][-1]["train_loss"])
    page = (save / "loss.html").read_text()
    assert "train: 20 listed, 17 used, 3 left out (3 unreadable audio)" in page


def test_other_files_that_are_read_later(given: Callable[..., TrainCommand], tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"404 not found")
    overlay = f"overlay[source={tmp_path / 'noise.csv'},p=0.5]"
    lines = findings(given(one_shot_infer=str(tmp_path / "a.wav"), augment=(overlay,)))
    assert len(lines) == 2
    assert lines[0].endswith("noise.csv: no such file")
    assert lines[1] == f"--one_shot_infer {tmp_path}/a.wav: unreadable audio"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_takes_no_checkpoints(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("theirs")
    with pytest.raises(InputError, match=r"--checkpoint_dir .*file is a file: give a folder|it is a file: give"):
        step.run(TrainSettings(), [tmp_path / "not looked at.csv"], [], tmp_path / place)
    preflight.check_folder(tmp_path / "new" / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
