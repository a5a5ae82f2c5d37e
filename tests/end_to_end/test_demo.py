"""The real DAG on a small release: every file that it must leave, and a rerun that has nothing to do."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components import images
from speech.storage.files import sha256

RELEASE = images.ROOT / "examples" / "cv-corpus-demo" / "en"
ROWS = {"train.tsv": 40, "dev.tsv": 8, "test.tsv": 8}
SETTINGS = ["--n_hidden", "32", "--epochs", "2", "--train_batch_size", "8"]
STEPS = {
    "import_cv", "train", "freeze", "convert_mmap", "convert_tflite", "convert_openvino", "build_scorer", "evaluate",
    "evaluate_openvino", "publish",
}  # fmt: skip
RESULTS = {
    "model/alphabet.txt", "model/history.json", "model/model.json", "model/output_graph.pb", "model/output_graph.pbmm",
    "model/output_graph.tflite", "openvino/alphabet.txt", "openvino/openvino.json", "openvino/output_graph.bin",
    "openvino/output_graph.xml", "report.html", "summary.json",
}  # fmt: skip
VERSION = {
    "SHA256SUMS", "alphabet.txt", "model.json", "output_graph.pb", "output_graph.pbmm", "report.html", "samples.json",
    "scores.json", "version.json", "openvino/alphabet.txt", "openvino/openvino.json", "openvino/output_graph.bin",
    "openvino/output_graph.xml", "output_graph.tflite", "author_model_0.0.1.md", "model_card.json",
}  # fmt: skip


def speechmill(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=images.ROOT)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of the example corpus, as a release of its own."""
    folder = tmp_path_factory.mktemp("release") / "en"
    (folder / "clips").mkdir(parents=True)
    for name, rows in ROWS.items():
        lines = (RELEASE / name).read_bytes().split(b"\n")[: rows + 1]
        (folder / name).write_bytes(b"\n".join(lines) + b"\n")
        column = lines[0].split(b"\t").index(b"path")
        clips = [Path("clips", line.split(b"\t")[column].decode()) for line in lines[1:]]
        for clip in clips:
            if (RELEASE / clip).is_file():  # the example corpus has rows without a file on purpose
                shutil.copyfile(RELEASE / clip, folder / clip)
    return folder


@pytest.fixture(scope="module")
def demo(release: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of a finished run, and what the command said."""
    output = tmp_path_factory.mktemp("demo") / "out"
    done = speechmill("run", "--corpus_uri", release, "--output", output, *SETTINGS)
    assert done.returncode == 0, done.stderr
    return output, done


def summary(output: Path) -> dict:
    return json.loads((output / "summary.json").read_text(encoding="utf-8"))


def test_it_leaves_exactly_these_files(demo) -> None:
    output, _ = demo
    version = summary(output)["published"]["version"]
    expected = RESULTS | {f"published/{version}/{name}" for name in VERSION}
    found = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith((".runs/", "corpus/", "checkpoint/"))} == expected
    assert {"corpus/train.csv", "corpus/dev.csv", "corpus/test.csv", "corpus/alphabet.txt"} <= found
    assert {f"corpus/shards/{split}-00000.tar" for split in ("train", "dev", "test")} <= found
    assert not {"corpus/places.json", "corpus/sets.json"} & found
    assert {"checkpoint/checkpoint", "checkpoint/best_dev_checkpoint", "checkpoint/history.json"} <= found
    assert len([name for name in found if name.startswith("checkpoint/") and name.endswith(".index")]) == 1
    assert {path.name for path in output.iterdir()} == {
        ".runs", "checkpoint", "corpus", "model", "openvino", "published", "report.html", "summary.json"
    }  # fmt: skip


def test_the_summary_tells_what_is_there(demo) -> None:
    output, done = demo
    facts = summary(output)
    assert facts["seconds"].keys() == STEPS
    assert facts["cached"] == []
    assert 0 <= facts["cer"] <= 1.5
    assert facts["test_clips"] == facts["clips"]["imported"]["test"] > 0
    rows = sum(facts["clips"]["imported"].values()) + sum(facts["clips"]["refused"].values())
    assert rows == sum(ROWS.values())
    assert len(facts["training"]["epochs"]) == 2
    for name, recorded in facts["files"].items():
        assert recorded == {"bytes": (output / name).stat().st_size, "sha256": sha256(output / name)}
    assert {"model/output_graph.pb", "model/output_graph.pbmm", "openvino/output_graph.xml"} <= facts["files"].keys()
    for said in (facts["heard"]["reference"], "frozen graph", "OpenVINO IR", str(output / "report.html")):
        assert said in done.stdout


def test_every_step_has_one_line_with_its_time(demo) -> None:
    _, done = demo
    lines = [line.split() for line in done.stderr.splitlines() if line.split()[0] in STEPS]
    assert {line[0] for line in lines} == STEPS
    assert len(lines) == len(STEPS)
    assert all(line[2:] == ["s"] and float(line[1]) > 0 for line in lines)
    assert "executor_input" not in done.stderr + done.stdout


def test_a_rerun_is_cached_but_for_what_was_lost(demo, release) -> None:
    output, _ = demo
    first = summary(output)
    (output / "model" / "output_graph.pb").unlink()  # the run's own file is still there
    done = speechmill("run", "--corpus_uri", release, "--output", output, *SETTINGS)
    assert done.returncode == 0, done.stderr
    again = summary(output)
    assert set(again["cached"]) == STEPS
    assert again["files"] == first["files"]
    assert all(line.split()[1:] == ["cached"] for line in done.stderr.splitlines())

    (version,) = (output / ".runs").glob("*/publish/published/*")
    shutil.rmtree(version)
    done = speechmill("run", "--corpus_uri", release, "--output", output, *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert set(summary(output)["cached"]) == STEPS - {"publish"}


def break_nothing(release: Path) -> list[str]:
    shutil.rmtree(release)
    return []


def break_columns(release: Path) -> list[str]:
    (release / "train.tsv").write_text("path\ttext\na.mp3\tx\n")
    return []


def break_alphabet(release: Path) -> list[str]:
    (release / "alphabet.txt").write_text(" \nж\n")
    return ["--filter_alphabet", str(release / "alphabet.txt")]


def break_clips(release: Path) -> list[str]:
    for clip in (release / "clips").iterdir():
        clip.write_bytes(b"")
    return []


@pytest.mark.parametrize("damage", [break_nothing, break_columns, break_alphabet, break_clips])
def test_wrong_inputs_are_one_line_and_leave_nothing(damage, release, tmp_path) -> None:
    broken = tmp_path / "en"
    shutil.copytree(release, broken)
    flags = damage(broken)
    done = speechmill("run", "--corpus_uri", broken, "--output", tmp_path / "out", *SETTINGS, *flags)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("import:")]
    assert done.returncode == 2
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir() if path.name != "en"] == []
