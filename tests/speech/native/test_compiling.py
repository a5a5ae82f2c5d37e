"""The library is compiled once, kept under a name that tells its sources, and missed gracefully."""

import ctypes
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from speech.decoding.library import LIBRARY
from speech.native import compiling as native_library
from speech.native.compiling import NativeLibrary, NoCompilerError
from tests.peers.environments import REPOSITORY

needs_compiler = pytest.mark.skipif(
    not os.environ.get("CXX") and not any(map(shutil.which, native_library.COMPILERS)), reason="no C++ compiler here"
)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NativeLibrary:
    """The decoder of a copy of the sources, as installed where nothing may be written, and an empty cache."""
    copy = tmp_path / "cpp"
    shutil.copytree(LIBRARY.sources, copy, ignore=shutil.ignore_patterns("*.so"))
    monkeypatch.setattr(native_library, "CHECKOUT", tmp_path / "installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return replace(LIBRARY, sources=copy)


def fake_compiler(tmp_path: Path, script: str) -> str:
    path = tmp_path / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_built_once(library: NativeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv(
        "CXX", fake_compiler(tmp_path, f'echo "$@" >> {log}; for last; do :; done; echo library > "$last"')
    )
    assert library.find() is None
    for _ in range(2):
        with library.for_this_process() as path:
            assert path == tmp_path / "cache" / "speechmill" / library.file_name
    assert log.read_text().count("decoder.cpp") == 1
    assert [entry.name for entry in path.parent.iterdir()] == [library.file_name]


def test_changed_sources_are_built_again(library: NativeLibrary) -> None:
    before = library.file_name
    (library.sources / "scorer.h").write_text((library.sources / "scorer.h").read_text() + "\n")
    assert library.file_name != before


def test_another_version_of_what_it_is_linked_with_is_another_library(library: NativeLibrary) -> None:
    names = {library.file_name, *(replace(library, version=version).file_name for version in ("2.20", "2.21"))}
    assert len(names) == 3


def test_a_library_beside_the_sources_is_preferred(library: NativeLibrary) -> None:
    """What images have."""
    (library.sources / library.file_name).write_text("library")
    assert library.find() == library.sources / library.file_name


def test_nowhere_to_keep_it(library: NativeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then built for this process alone."""
    (tmp_path / "cache").write_text("a file, no folder")
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, 'for last; do :; done; echo library > "$last"'))
    with library.for_this_process() as path:
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
    library: NativeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, script))
    with pytest.raises(NoCompilerError, match=message):
        library.build(tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_no_compiler(library: NativeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(NoCompilerError, match="no C\\+\\+ compiler found"):
        library.build(tmp_path)
    monkeypatch.setenv("CXX", str(tmp_path / "missing"))
    with pytest.raises(NoCompilerError, match="missing` did not run: No such file"):
        library.build(tmp_path)


@needs_compiler
def test_warnings_are_errors_here(tmp_path: Path) -> None:
    """The sources compile without a warning, and the library needs nothing but the C and C++ runtimes."""
    path = tmp_path / "library.so"
    command = replace(LIBRARY, flags=("-Wall", "-Wextra", "-Werror")).command(path)
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert ctypes.CDLL(str(path)).speech_decode


def test_command(tmp_path: Path) -> None:
    """What a Dockerfile runs, on a Python with nothing installed."""
    command = [sys.executable, "-S", "-m", "speech.decoding", "--output", str(tmp_path)]
    compiler = fake_compiler(tmp_path, 'for last; do :; done; echo library > "$last"')
    environment = {"PATH": os.environ["PATH"], "CXX": compiler}
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()) == tmp_path / LIBRARY.file_name
    without = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env={"PATH": ""})
    assert without.returncode == 2
    assert without.stderr.startswith("error: the decoder was not compiled: no C++ compiler found")
    assert "Traceback" not in without.stderr
