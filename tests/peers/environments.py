"""The programs that this project has to get on with, each in a Python environment of its own.

`find("deepspeech")` makes the environment on first use, under `build/peers/`, and finds it again afterwards: about two
seconds with uv for the native clients, half a minute for the trainer. The scripts in `drivers/` run inside these
environments, on Pythons from 3.7 on, and answer in JSON.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.requirements import PEERS, Requirements

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / "build" / "peers"
DRIVERS = Path(__file__).resolve().parent / "drivers"
INSTALL_TIMEOUT_S = 900
RUN_TIMEOUT_S = 600
COMPLETE = "complete"  # written last into an environment: what lacks it is a killed installation


class PeerUnavailable(Exception):
    """This machine cannot have the peer (no such Python, other platform): a reason to skip, in one line."""


class InstallError(Exception):
    """The packages of a peer could not be installed."""


class PeerFailed(Exception):
    """A peer's program ended with an error; a negative `returncode` is the signal that it crashed with."""

    def __init__(self, command: list[str], returncode: int, stdout: str, stderr: str) -> None:
        super().__init__(f"{' '.join(command)} ended with {returncode}:\n{stdout[-2000:]}{stderr[-4000:]}")
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


@dataclass(frozen=True)
class Peer:
    """A ready environment."""

    name: str
    python: Path

    def run(self, program: str, *arguments: object, timeout_s: float = RUN_TIMEOUT_S) -> str:
        """What a program of the environment (`python`, `mo`, ...) prints; PeerFailed if it fails."""
        command = [str(self.python.parent / program), *map(str, arguments)]
        process = subprocess.Popen(
            command,
            env=clean_environment(self.python.parent),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        if process.returncode:
            raise PeerFailed(command, process.returncode, stdout, stderr)
        return stdout

    def drive(self, driver: str, *arguments: object, timeout_s: float = RUN_TIMEOUT_S) -> Any:
        """What `drivers/<driver>.py` answers; PeerFailed if it fails."""
        return json.loads(self.run("python", DRIVERS / f"{driver}.py", *arguments, timeout_s=timeout_s))


def find(name: str) -> Peer:
    """The peer of this name, installed if need be. PeerUnavailable, InstallError."""
    return Peer(name, environment(name))


def environment(name: str, peers: dict[str, Requirements] = PEERS, cache: Path = CACHE) -> Path:
    """The Python of the environment of a peer, which is made if it is not there yet.

    Safe under parallel test workers (one installs, the others wait) and under SIGKILL (the next call starts afresh).
    """
    peer = peers[name]
    folder = cache / f"{name}-{digest(peer)}"
    python = folder / "bin" / "python"
    if (folder / COMPLETE).exists() and runs(str(python)):
        return python
    require_platform(name, peer)
    interpreter = find_interpreter(name, peer.pythons)
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{name}.lock"):
        if not (folder / COMPLETE).exists() or not runs(str(python)):
            install(folder, interpreter, peer.packages)
            (folder / COMPLETE).touch()
    return python


def digest(peer: Requirements) -> str:
    """Changes with the packages and the Pythons, so that an outdated environment is never reused."""
    return hashlib.sha256(json.dumps([peer.pythons, peer.packages]).encode()).hexdigest()[:12]


def require_platform(name: str, peer: Requirements) -> None:
    """PeerUnavailable where the peer has no binary packages."""
    here = (sys.platform, platform.machine())
    if peer.linux_x86_64_only and here != ("linux", "x86_64"):
        raise PeerUnavailable(f"{name} has binary packages for Linux on x86_64 only, and this is {' on '.join(here)}")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the system releases it when the process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find_interpreter(name: str, versions: tuple[str, ...]) -> str:
    """An interpreter of one of these versions, the first that has one. PeerUnavailable if there is none."""
    for version in versions:
        for candidate in candidates(version):
            if runs(candidate, version):
                return candidate
    raise PeerUnavailable(
        f"{name} needs Python {' or '.join(versions)}, and neither PATH, nor pyenv, nor uv has one that runs "
        f"(for example: pyenv install {versions[0]})"
    )


def candidates(version: str) -> Iterator[str]:
    """Where a Python of this version may be: this one, PATH, pyenv, uv. Some may not run (pyenv's shims, for one)."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    for folder in os.get_exec_path():
        yield str(Path(folder) / f"python{version}")
    for root in (os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"):
        if root:
            yield from map(str, sorted(Path(root).glob(f"versions/{version}.*/bin/python{version}"), reverse=True))
    uv = find_uv()
    if uv:
        search = [uv, "python", "find", "--no-project", "--no-python-downloads", version]
        found = subprocess.run(search, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            yield found.stdout.strip()


def runs(python: str, version: str = "") -> bool:
    """Whether this is an interpreter that starts, and of this version."""
    if not Path(python).is_file():
        return False
    question = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-I", "-c", question], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and (not version or answer.stdout.strip() == version)


def find_uv() -> str | None:
    """The uv of the project's environment, or one on PATH."""
    own = Path(sys.prefix) / "bin" / "uv"
    return str(own) if own.exists() else shutil.which("uv")


def install(folder: Path, interpreter: str, packages: tuple[str, ...]) -> None:
    """Make the environment afresh: with uv where there is one, else (or if that fails) with venv and pip."""
    failures = []
    for commands in recipes(folder, interpreter, packages):
        shutil.rmtree(folder, ignore_errors=True)
        failure = first_failure(commands)
        if failure is None:
            return
        failures.append(failure)
    shutil.rmtree(folder, ignore_errors=True)
    raise InstallError("\n".join(failures))


def recipes(folder: Path, interpreter: str, packages: tuple[str, ...]) -> Iterator[list[list[str]]]:
    """Alternative lists of commands that make the environment. The packages are complete: nothing is resolved."""
    python = str(folder / "bin" / "python")
    uv = find_uv()
    if uv:
        make = [uv, "venv", "--quiet", "--no-project", "--python", interpreter, str(folder)]
        fill = [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, *packages]
        yield [make, fill] if packages else [make]
    make = [interpreter, "-m", "venv", *([] if packages else ["--without-pip"]), str(folder)]
    fill = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *packages]
    yield [make, fill] if packages else [make]


def first_failure(commands: list[list[str]]) -> str | None:
    """Run commands until one fails, and say how it failed."""
    for command in commands:
        try:
            done = subprocess.run(
                command, env=clean_environment(), capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{' '.join(command)} took more than {INSTALL_TIMEOUT_S} s"
        if done.returncode:
            return f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return None


def clean_environment(bin_folder: Path | None = None) -> dict[str, str]:
    """The process environment without this Python's own settings, on the CPU, with `bin_folder` first on PATH."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "TF"))}
    if bin_folder:
        variables["PATH"] = f"{bin_folder}{os.pathsep}{variables.get('PATH', os.defpath)}"
    return variables | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONIOENCODING": "utf-8"}
