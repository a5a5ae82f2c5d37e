"""Which tests a change calls for, nearest first, and the clock that leaves the rest to `make test`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.affected import IMPORTED, ITSELF, MIRROR, NAMED, affected, changed
from tests.fixtures import system


@pytest.mark.parametrize(
    ("path", "test", "distance"),
    [
        ("speech/alphabet.py", "tests/speech/test_alphabet.py", MIRROR),
        ("components/train/__main__.py", "tests/components/train/test_main.py", MIRROR),
        ("components/train/__main__.py", "tests/components/test_help.py", IMPORTED),
        (
            "speech/settings/flag_help.py",
            "tests/components/import_cv/test_main.py",
            IMPORTED + 1,
        ),
        ("tests/speech/test_alphabet.py", "tests/speech/test_alphabet.py", ITSELF),
        ("tests/conftest.py", "tests/speech/test_alphabet.py", ITSELF),
        ("tests/fixtures/kfp_server.py", "tests/pipelines/cluster/test_following.py", IMPORTED),
        ("speech/decoding/cpp/anything.h", "tests/speech/decoding/test_beam_search.py", MIRROR),
        ("docs/laptop.md", "tests/docs/test_pages.py", MIRROR),
        ("docker/train.Dockerfile", "tests/components/test_images.py", NAMED),
    ],
)
def test_what_a_change_calls_for(path: str, test: str, distance: int) -> None:
    assert affected([path])[test] == distance


def test_the_nearest_come_first_and_what_needs_a_cluster_never() -> None:
    chosen = affected(["speech/errors.py", "speech/alphabet.py"])
    assert list(chosen)[:2] == ["tests/speech/test_alphabet.py", "tests/speech/test_errors.py"]
    assert list(chosen.values()) == sorted(chosen.values())
    assert not any(test.startswith(("tests/kubernetes", "tests/kubeflow")) for test in chosen)


def test_a_change_that_nothing_tests_calls_for_nothing() -> None:
    assert affected(["speech/no_such_room/module.py", "tests/fixtures/no_such_file.py"]) == {}


@system.needs("git")
def test_changed_files_are_those_of_the_branch_and_those_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr("tests.affected.ROOT", tmp_path)
    git("init", "-b", "main")
    for name in ("kept.py", "edited.py", "deleted.py"):
        (tmp_path / name).write_text("1\n")
    git("add", ".")
    git("commit", "-m", "first")
    git("checkout", "-b", "work")
    (tmp_path / "committed.py").write_text("1\n")
    git("add", ".")
    git("commit", "-m", "second")
    (tmp_path / "edited.py").write_text("2\n")
    (tmp_path / "untracked.py").write_text("1\n")
    (tmp_path / "deleted.py").unlink()
    assert changed("main") == ["committed.py", "edited.py", "untracked.py"]


def test_what_would_begin_too_late_is_skipped_and_named(tmp_path: Path) -> None:
    tests = tmp_path / "test_slow.py"
    tests.write_text("import time\ndef test_a(): time.sleep(0.4)\ndef test_b(): assert False\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "tests.affected",
        str(tests),
        "--rootdir",
        str(tmp_path),
    ]
    for limit, code, words in (("0.3", 0, "it would begin after 0.3 s: `make test` runs it"), ("60", 1, "1 failed")):
        done = subprocess.run([*command, "--start_within", limit], capture_output=True, text=True)
        assert (done.returncode, words in done.stdout) == (code, True), done.stdout
