"""Compiling the decoder: C++17 and nothing else, so that any compiler of the last years does, and one build serves
every Python.

The library is compiled on first use, into `build/decoder` of a checkout, or the user's cache. Its name carries a hash
of the sources, the flags and the machine, so a stale one is never loaded. Images compile it ahead, beside the sources:
`python -m speech.decoding --output speech/decoding/cpp`. This module needs the standard library only.
"""

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parent / "cpp"
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=hidden", "-pthread")
COMPILERS = ("c++", "g++", "clang++")
CHECKOUT = Path(__file__).parents[2]


class NoCompilerError(Exception):
    """The library is not built and cannot be built here; the message says why."""


def library_name() -> str:
    """The library's file name, which tells one build from another."""
    digest = hashlib.sha256(" ".join((*FLAGS, platform.machine(), platform.system())).encode())
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in (".h", ".cpp"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"decoder-{digest.hexdigest()[:16]}.so"


def cache_folder() -> Path:
    """Where the library is kept if it is not beside its sources."""
    if (CHECKOUT / "pyproject.toml").is_file():
        return CHECKOUT / "build" / "decoder"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path("~/.cache").expanduser()) / "speechmill"


def find() -> Path | None:
    """The library, if it is built."""
    for folder in (SOURCES, cache_folder()):
        path = folder / library_name()
        if path.is_file():
            return path
    return None


def build(folder: Path) -> Path:
    """Compile the library into `folder`, atomically; raises NoCompilerError, or OSError where it cannot be written."""
    compiler = _compiler()
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".decoder-", suffix=".tmp", dir=folder)
    os.close(handle)
    try:
        command = [*compiler, *FLAGS, str(SOURCES / "decoder.cpp"), "-o", temporary]
        try:
            result = subprocess.run(command, capture_output=True, text=True, errors="replace")
        except OSError as error:
            raise NoCompilerError(f"the C++ compiler `{compiler[0]}` did not run: {error.strerror}") from error
        if result.returncode:
            raise NoCompilerError(f"`{shlex.join(command)}` failed: {_first_error(result.stderr)}")
        Path(temporary).chmod(0o755)
        return Path(temporary).replace(folder / library_name())
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextlib.contextmanager
def library_for_this_process() -> Iterator[Path]:
    """The library to load, built first if need be; where no folder can keep it, it lives only until it is loaded."""
    path = find()
    if path is None:
        try:
            path = build(cache_folder())
        except OSError:
            with tempfile.TemporaryDirectory(prefix="speechmill-") as folder:
                yield build(Path(folder))
            return
    yield path


def _compiler() -> list[str]:
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    raise NoCompilerError(f"no C++ compiler found ({', '.join(COMPILERS)}, or what CXX names)")


def _first_error(output: str) -> str:
    lines = output.strip().splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else "no message")
