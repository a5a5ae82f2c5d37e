"""Interruptions: a killed import and its rerun leave the bytes of an uninterrupted one."""

import json
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.import_cv import step
from components.import_cv.convert.conversion import CHUNK_CLIPS
from components.import_cv.convert.journal import Journal
from components.import_cv.convert.work import Outcome, tar_header
from components.import_cv.plan.reasons import Reason
from components.import_cv.settings import ImportSettings
from components.import_cv.write.outcomes import Outcomes
from components.import_cv.write.shards import ShardWriter, shard_number

MakeRelease = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def command(source: Path, corpus: Path, *flags: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "components.import_cv",
        str(source),
        "--corpus_dir",
        str(corpus),
        "--workers",
        "2",
        *flags,
    ]


KILLED = """
import os, signal, sys
from components.import_cv import __main__ as command
from components.import_cv.convert import journal
from speech.settings import parse

left, when = int(sys.argv[1]), sys.argv[2]
record = journal.Journal.record

def dying(self, *given):
    global left
    left -= 1
    if left == 0 and when == "before":  # the audio is written, the journal's line is not
        os.kill(os.getpid(), signal.SIGKILL)
    record(self, *given)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

journal.Journal.record = dying
command.run(parse(command.Command, sys.argv[3:], prog="import", description=""))
"""


def check_killed(source: Path, tmp_path: Path, chunk: int, when: str, flags: tuple[str, ...]) -> None:
    """Kill an import at its n-th chunk, rerun it, and compare."""
    whole, corpus = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(source, whole, *flags), stderr=subprocess.DEVNULL, check=True)
    killed = [sys.executable, "-c", KILLED, str(chunk), when, *command(source, corpus, *flags)[3:]]
    assert subprocess.run(killed, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert not (corpus / "import_report.json").exists()
    rerun = subprocess.run(command(source, corpus, *flags), stderr=subprocess.PIPE, text=True, check=True)
    done = chunk - (when == "before")
    assert f"going on behind {CHUNK_CLIPS * done} clips" in rerun.stderr
    assert contents(corpus) == contents(whole)


@pytest.mark.parametrize(
    ("flags", "chunk", "when"),
    [
        (("--shard_clips", str(3 * CHUNK_CLIPS)), 3, "before"),
        (("--shard_clips", str(3 * CHUNK_CLIPS)), 3, "after"),  # a shard is full
        (("--layout", "clips"), 3, "before"),
    ],
)
def test_killed_and_run_again(
    make_release: MakeRelease, tmp_path: Path, flags: tuple[str, ...], chunk: int, when: str
) -> None:
    check_killed(make_release(train=92), tmp_path, chunk, when, flags)


def test_killed_archive(make_release: MakeRelease, tmp_path: Path) -> None:
    release = make_release(train=92)
    with tarfile.open(tmp_path / "release.tar.gz", "w:gz") as tar:
        tar.add(release, "cv/xx")
    check_killed(tmp_path / "release.tar.gz", tmp_path, 4, "before", ("--shard_clips", str(3 * CHUNK_CLIPS)))


def test_half_written_tables_of_a_killed_import_are_not_published(make_release: MakeRelease, tmp_path: Path) -> None:
    release, settings = make_release(), ImportSettings(shard_clips=5)
    expected = contents(step.run(settings, str(release), tmp_path / "whole").folder)
    left = tmp_path / "corpus/.import/tables/.alphabet.txt.x.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("a")
    assert contents(step.run(settings, str(release), tmp_path / "corpus").folder) == expected


INTERRUPTED = (
    KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "os.killpg(0, signal.SIGINT)").rpartition("command.run")[0]
    + 'command.command(command.Command, command.run, argv=sys.argv[3:], prog="import", description="")\n'
)


def test_an_interrupt_from_the_keyboard_is_one_line_and_keeps_what_is_done(
    make_release: MakeRelease, tmp_path: Path
) -> None:
    """It goes to all processes of a terminal: none of them prints a traceback."""
    release, corpus = make_release(train=92), tmp_path / "interrupted"
    whole, flags = tmp_path / "whole", ("--shard_clips", "30")
    subprocess.run(command(release, whole, *flags), stderr=subprocess.DEVNULL, check=True)
    started = [sys.executable, "-c", INTERRUPTED, "4", "after", *command(release, corpus, *flags)[3:]]
    ended = subprocess.run(
        started, capture_output=True, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert ended.returncode == 128 + signal.SIGINT, ended.stderr
    assert [line for line in ended.stderr.splitlines() if not line.startswith("import: ")] == [
        "interrupted by the keyboard"
    ]
    again = subprocess.run(command(release, corpus, *flags), capture_output=True, text=True, check=True)
    assert "going on behind" in again.stderr
    assert contents(corpus) == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["shards", "clips"])
def test_killed_at_twenty_random_moments(make_release: MakeRelease, tmp_path: Path, layout: str) -> None:
    release = make_release(train=400)
    flags = ("--shard_clips", "100", "--layout", layout)
    started = time.monotonic()
    subprocess.run(command(release, tmp_path / "whole", *flags), stderr=subprocess.DEVNULL, check=True)
    duration = time.monotonic() - started
    expected = contents(tmp_path / "whole")
    moments = random.Random(20)
    for _ in range(20):
        corpus = tmp_path / "killed"
        with subprocess.Popen(command(release, corpus, *flags), stderr=subprocess.DEVNULL) as process:
            time.sleep(moments.uniform(0.1, duration))
            process.kill()
        subprocess.run(command(release, corpus, *flags), stderr=subprocess.DEVNULL, check=True)
        assert contents(corpus) == expected
        shutil.rmtree(corpus)


def test_killed_while_files_are_put_in_place(
    make_release: MakeRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interruption after each single rename of the last stage."""
    release = make_release(train=20)
    settings = ImportSettings(sets=("train",), shard_clips=10)
    expected = contents(step.run(settings, str(release), tmp_path / "whole").folder)
    rename = Path.replace
    for allowed in range(0, len(expected)):
        corpus = tmp_path / f"corpus{allowed}"
        left = [allowed]

        def failing(path: Path, target: Path, left: list[int] = left) -> Path:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return rename(path, target)

        monkeypatch.setattr(Path, "replace", failing)
        with pytest.raises(KeyboardInterrupt):
            step.run(settings, str(release), corpus)
        monkeypatch.setattr(Path, "replace", rename)
        assert not (corpus / "import_report.json").exists()
        step.run(settings, str(release), corpus)
        assert contents(corpus) == expected


def test_other_settings_start_anew(
    make_release: MakeRelease, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    release, corpus = make_release(train=60), tmp_path / "corpus"
    killed = [sys.executable, "-c", KILLED, "2", "after", *command(release, corpus)[3:]]
    assert subprocess.run(killed, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    step.run(ImportSettings(normalize=True), str(release), corpus)
    fresh = step.run(ImportSettings(normalize=True), str(release), tmp_path / "fresh")
    assert contents(corpus) == contents(fresh.folder)
    assert (corpus / "import_report.json").is_file()
    step.run(ImportSettings(), str(release), corpus)
    assert "going on" not in capfd.readouterr().err


TRAIN, TEST = shard_number(0, "train"), shard_number(0, "test")


def outcome(clip: int, size: int = 1000) -> Outcome:
    member = tar_header(f"clips/{clip}.wav", size) + bytes([clip]) * size + b"\0" * (-size % 512)
    return Outcome(clip, Reason.ACCEPTED, (size - 44) // 2, bytes(16), False, "", member=member, header_bytes=512)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal of three chunks of two clips in the unfinished shards of two sets."""
    made, writer = Journal(tmp_path, "print"), ShardWriter(tmp_path)
    made.start()
    writer.open(0)
    for first, shards in ((0, [TRAIN, TRAIN]), (2, [TRAIN, TEST]), (4, [TEST, TRAIN])):
        chunk = [outcome(first), outcome(first + 1)]
        offsets, pieces = writer.append(chunk, shards)
        made.record(0, pieces, chunk, shards, offsets)
    writer.close()
    made.close()
    return made


def resumed(folder: Path) -> tuple[Journal, Outcomes]:
    again, outcomes = Journal(folder, "print"), Outcomes(6)
    assert again.matches()
    again.resume(outcomes, lambda clip, samples, shard: True)
    again.close()
    return again, outcomes


def test_journal_goes_on_behind_the_last_chunk(journal: Journal, tmp_path: Path) -> None:
    again, outcomes = resumed(tmp_path)
    assert (again.position, again.window, again.sizes) == (6, 0, {TRAIN: 4 * 1536, TEST: 2 * 1536})
    assert list(outcomes.shards) == [TRAIN, TRAIN, TRAIN, TEST, TEST, TRAIN]
    assert [outcomes.offsets[clip] for clip in range(6)] == [1536 * place + 512 for place in (0, 1, 2, 0, 1, 3)]


@pytest.mark.parametrize("tail", [b'{"position":8', b"\n", b'"text"\n', b"\xff\xfe\n"])
def test_a_torn_line_does_not_count(journal: Journal, tmp_path: Path, tail: bytes) -> None:
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + tail)
    assert resumed(tmp_path)[0].position == 6
    assert journal.path.read_bytes() == whole
    journal.path.write_bytes(whole[:-10])
    assert resumed(tmp_path)[0].position == 4


@pytest.mark.parametrize(
    ("damage", "position", "sizes"),
    [("cut", 4, {TRAIN: 3 * 1536, TEST: 1536}), ("zeros", 2, {TRAIN: 2 * 1536}), ("gone", 0, {})],
)
def test_audio_that_did_not_survive_is_made_again(
    journal: Journal, tmp_path: Path, damage: str, position: int, sizes: dict[int, int]
) -> None:
    shard = tmp_path / "shards/train-00000.tar"
    data = shard.read_bytes()
    if damage == "cut":
        shard.write_bytes(data[:-1])
    elif damage == "zeros":  # what a power cut leaves of a file whose size was written first
        shard.write_bytes(data[: 2 * 1536] + bytes(2 * 1536))
    else:
        shard.unlink()
    again, outcomes = resumed(tmp_path)
    assert again.position == position
    assert again.sizes == sizes
    assert [bool(recorded) for recorded in outcomes.recorded] == [clip < position for clip in range(6)]


def test_a_journal_of_another_import(journal: Journal, tmp_path: Path) -> None:
    assert not Journal(tmp_path, "other").matches()
    journal.path.write_text("")
    assert not Journal(tmp_path, "print").matches()
    journal.path.write_text(json.dumps(["print"]) + "\n")
    assert not Journal(tmp_path, "print").matches()
