"""The library is compiled once, kept under a name that tells its sources, and missed gracefully."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from speech.decoding import build
from tests.peers.environments import REPOSITORY

needs_compiler = pytest.mark.skipif(
    not os.environ.get("CXX") and not any(map(shutil.which, build.COMPILERS)), reason="no C++ compiler here"
)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources, as installed where nothing may be written, and an empty cache."""
    copy = tmp_path / "cpp"
    shutil.copytree(build.SOURCES, copy, ignore=shutil.ignore_patterns("*.so"))
    monkeypatch.setattr(build, "SOURCES", copy)
    monkeypatch.setattr(build, "CHECKOUT", tmp_path / "installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return copy


def fake_compiler(tmp_path: Path, script: str) -> str:
    path = tmp_path / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_built_once(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv(
        "CXX", fake_compiler(tmp_path, f'echo "$@" >> {log}; for last; do :; done; echo library > "$last"')
    )
    assert build.find() is None
    for _ in range(2):
        with build.library_for_this_process() as path:
            assert path == tmp_path / "cache" / "speechmill" / build.library_name()
    assert log.read_text().count("decoder.cpp") == 1
    assert [entry.name for entry in path.parent.iterdir()] == [build.library_name()]


def test_changed_sources_are_built_again(sources: Path) -> None:
    before = build.library_name()
    (sources / "scorer.h").write_text((sources / "scorer.h").read_text() + "\n")
    assert build.library_name() != before


def test_a_library_beside_the_sources_is_preferred(sources: Path) -> None:
    """What images have."""
    (sources / build.library_name()).write_text("library")
    assert build.find() == sources / build.library_name()


def test_nowhere_to_keep_it(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then built for this process alone."""
    (tmp_path / "cache").write_text("a file, no folder")
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, 'for last; do :; done; echo library > "$last"'))
    with build.library_for_this_process() as path:
        assert path.read_text() == "library\n"
    assert not path.exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo "decoder.cpp:1: error: no such thing" >&2; exit 1', "failed: decoder.cpp:1: error: no such thing"),
        ("exit 3", "failed: no message"),
    ],
)
def test_a_compiler_that_fails(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, script))
    with pytest.raises(build.NoCompilerError, match=message):
        build.build(tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_no_compiler(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(build.NoCompilerError, match="no C\\+\\+ compiler found"):
        build.build(tmp_path)
    monkeypatch.setenv("CXX", str(tmp_path / "missing"))
    with pytest.raises(build.NoCompilerError, match="missing` did not run: No such file"):
        build.build(tmp_path)


@needs_compiler
def test_warnings_are_errors_here(tmp_path: Path) -> None:
    """The sources compile without a warning, and the library needs nothing but the C and C++ runtimes."""
    library = tmp_path / "library.so"
    command = [*build._compiler(), *build.FLAGS, "-Wall", "-Wextra", "-Werror", str(build.SOURCES / "decoder.cpp")]
    result = subprocess.run([*command, "-o", str(library)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert ctypes.CDLL(str(library)).speech_decode


def test_command(tmp_path: Path) -> None:
    """What a Dockerfile runs, on a Python with nothing installed."""
    command = [sys.executable, "-S", "-m", "speech.decoding", "--output", str(tmp_path)]
    compiler = fake_compiler(tmp_path, 'for last; do :; done; echo library > "$last"')
    environment = {"PATH": os.environ["PATH"], "CXX": compiler}
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()) == tmp_path / build.library_name()
    without = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env={"PATH": ""})
    assert without.returncode == 2
    assert without.stderr.startswith("error: the decoder was not compiled: no C++ compiler found")
    assert "Traceback" not in without.stderr
