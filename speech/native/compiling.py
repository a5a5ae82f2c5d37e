"""Compiling the project's C++: one source file, any compiler of the last years, one build for every Python.

A library is compiled on first use, into `build/native` of a checkout, or the user's cache. Its name carries a hash of
the sources, the flags and the machine, so a stale one is never loaded. Images compile it ahead, beside the sources.
This module needs the standard library only.
"""

import argparse
import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speech.errors import InputError, one_line_errors

FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=hidden", "-pthread")
COMPILERS = ("c++", "g++", "clang++")
CHECKOUT = Path(__file__).parents[2]


class NoCompilerError(Exception):
    """The library is not built and cannot be built here; the message says why."""


@dataclass(frozen=True)
class NativeLibrary:
    """The library that `name`.cpp in the folder `sources` makes, with the headers beside it."""

    name: str
    sources: Path
    version: str = ""  # of what it is linked with, if one build does not serve all versions
    flags: tuple[str, ...] = ()  # more of them, such as where other headers and libraries are

    @property
    def file_name(self) -> str:
        """The library's file name, which tells one build from another."""
        facts = (*FLAGS, platform.machine(), platform.system(), self.version)
        digest = hashlib.sha256(" ".join(facts).encode())
        for path in sorted(self.sources.iterdir()):
            if path.suffix in (".h", ".cpp"):
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return f"{self.name}-{digest.hexdigest()[:16]}.so"

    def find(self) -> Path | None:
        """The library, if it is built."""
        for folder in (self.sources, cache_folder()):
            path = folder / self.file_name
            if path.is_file():
                return path
        return None

    def command(self, output: Path) -> list[str]:
        """What compiles it; raises NoCompilerError."""
        return [*compiler(), *FLAGS, str(self.sources / f"{self.name}.cpp"), *self.flags, "-o", str(output)]

    def build(self, folder: Path) -> Path:
        """Compile it into `folder`, atomically; raises NoCompilerError, or OSError where it cannot be written."""
        compiler()  # without one no folder is made
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{self.name}-", suffix=".tmp", dir=folder)
        os.close(handle)
        try:
            command = self.command(Path(temporary))
            try:
                result = subprocess.run(command, capture_output=True, text=True, errors="replace")
            except OSError as error:
                raise NoCompilerError(f"the C++ compiler `{command[0]}` did not run: {error.strerror}") from error
            if result.returncode:
                raise NoCompilerError(f"`{shlex.join(command)}` failed: {_first_error(result.stderr)}")
            Path(temporary).chmod(0o755)
            return Path(temporary).replace(folder / self.file_name)
        finally:
            Path(temporary).unlink(missing_ok=True)

    @contextlib.contextmanager
    def for_this_process(self) -> Iterator[Path]:
        """The library to load, built first if need be; where no folder can keep it, it lives until it is loaded."""
        path = self.find()
        if path is None:
            try:
                path = self.build(cache_folder())
            except OSError:
                with tempfile.TemporaryDirectory(prefix="speechmill-") as folder:
                    yield self.build(Path(folder))
                return
        yield path


def cache_folder() -> Path:
    """Where a library is kept if it is not beside its sources."""
    if (CHECKOUT / "pyproject.toml").is_file():
        return CHECKOUT / "build" / "native"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path("~/.cache").expanduser()) / "speechmill"


def compiler() -> list[str]:
    """The C++ compiler's command; raises NoCompilerError."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in COMPILERS:
        if shutil.which(name):
            return [name]
    raise NoCompilerError(f"no C++ compiler found ({', '.join(COMPILERS)}, or what CXX names)")


def compile_ahead(library: NativeLibrary, program: str, what: str) -> None:
    """The command `python -m PROGRAM [--output FOLDER]`: build the library unless it is there, and say where it is."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=f"Compile {what}.")
    parser.add_argument("--output", type=Path, help="folder for the library (default: where it is looked for)")
    output = parser.parse_args().output
    with one_line_errors():
        try:
            print(library.build(output) if output else library.find() or library.build(cache_folder()))
        except NoCompilerError as error:
            raise InputError(f"{what} was not compiled: {error}") from error
        except OSError as error:
            raise InputError(f"{what} was not compiled: {error.filename}: {error.strerror}") from error


def _first_error(output: str) -> str:
    lines = output.strip().splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else "no message")
