"""`speechmill images`: build the steps' images under the names that the compiled pipeline uses, and push them."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components import images
from speech.errors import InputError, RetryError
from speech.settings import setting

CHOICES = (*images.STEPS, *images.VARIANTS)
CLIENTS = ("docker", "/usr/bin/docker", "/usr/local/bin/docker", "podman")


@dataclass(frozen=True)
class ImageFlags:
    """Which images, and where they go."""

    images: tuple[str, ...] = setting(
        (),
        f"some of {' '.join(CHOICES)}; none given: all but {', '.join(images.VARIANTS)}",
        group="Images",
        metavar="IMAGE",
    )
    registry: str = setting("", "registry in front of the images' names, such as ghcr.io/team; push needs one")
    python: str = setting(
        "", "base image; empty: the Dockerfiles' own (a mirror's name, or with a digest)", metavar="IMAGE"
    )
    python39: str = setting(
        "", "base image of the Python 3.9 in evaluate-ds-ctcdecoder; empty: the Dockerfile's own", metavar="IMAGE"
    )
    docker: str = setting("", "client to call; empty: the first of docker, podman that can build")
    force: bool = setting(False, "build also what is there already")

    def __post_init__(self) -> None:
        for name in self.images:
            if name not in CHOICES:
                raise InputError(f"--images {name} is not allowed: one of {', '.join(CHOICES)}")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The images to work on."""
        return self.images or images.STEPS


def build(flags: ImageFlags) -> None:
    """Build what is not there yet; the tag changes with the sources, so what is there is up to date."""
    client = find_client(flags.docker)
    if not (images.ROOT / "docker").is_dir():
        raise InputError(f"{images.ROOT} holds no Dockerfiles: build images from a checkout of the repository")
    revision = _revision()
    for name in flags.chosen:
        image = reference(name, flags.registry)
        started = time.monotonic()
        if not flags.force and size_bytes(client, image):
            _say(name, "is there", client, image)
            continue
        with build_context(name) as context:
            command = build_command(client, name, image, flags, revision)
            # What a client prints besides (an id, notices about itself) would stand between the lines about the images.
            done = subprocess.run(command, cwd=context, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            print(done.stdout.decode("utf-8", errors="replace").rstrip(), file=sys.stderr, flush=True)
            raise InputError(f"{name}: the build failed with exit code {done.returncode}; its output above says why")
        _say(name, f"built in {time.monotonic() - started:.0f} s", client, image)


@contextmanager
def build_context(name: str) -> Iterator[Path]:
    """A folder with what the image's tag stands for, and nothing else that a Dockerfile could copy."""
    with tempfile.TemporaryDirectory() as scratch:
        for path in images.sources(name):
            copy = Path(scratch, path.relative_to(images.ROOT))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        yield Path(scratch)


def build_command(client: str, name: str, image: str, flags: ImageFlags, revision: str) -> list[str]:
    """The command that builds one image."""
    arguments = {"REVISION": revision, "SOURCE": _source(), "LOCK": f"{images.locks(name)[0]}.lock"}
    if flags.python:
        arguments["PYTHON"] = flags.python
    if name in images.EXTENSIONS:
        arguments["IMAGE"] = name
        if flags.python39:
            arguments["PYTHON39"] = flags.python39
    pairs = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    file = images.dockerfile(name).relative_to(images.ROOT).as_posix()
    return ["env", "DOCKER_BUILDKIT=1", client, "build", "--quiet", *pairs, "--tag", image, "--file", file, "."]


def push(flags: ImageFlags) -> None:
    """Push the images; raises InputError for one that is not built."""
    if not flags.registry:
        raise InputError("--registry is missing: where to push to, such as ghcr.io/team")
    client = find_client(flags.docker)
    for name in flags.chosen:
        image = reference(name, flags.registry)
        if not size_bytes(client, image):
            local = reference(name)
            if not size_bytes(client, local):
                raise InputError(f"{image} is not on this machine: `speechmill images build` first")
            subprocess.run([client, "tag", local, image], check=True)
        if subprocess.run([client, "push", image]).returncode:
            raise RetryError(f"{image} could not be pushed; the output above says why")


def reference(name: str, registry: str = "") -> str:
    """The image's name, in a registry if one is given."""
    return f"{registry}/{images.reference(name)}" if registry else images.reference(name)


def find_client(client: str = "") -> str:
    """A client that builds with BuildKit (or podman, which needs none); raises InputError if there is none."""
    for path in _found([client] if client else CLIENTS):
        if _can_build(path):
            return path
    raise InputError(
        f"{client or 'docker'}: no client that builds images with BuildKit: install docker with its buildx plugin, or "
        "name another one with --docker"
    )


def _found(names: Iterable[str]) -> Iterator[str]:
    """Every program of these names on PATH: the first `docker` there may be one without BuildKit."""
    for name in names:
        for folder in [""] if "/" in name else os.environ.get("PATH", os.defpath).split(os.pathsep):
            if path := shutil.which(str(Path(folder, name))):
                yield path


def _can_build(path: str) -> bool:
    """Docker clients since 23 build through the buildx plugin; the ones before carry BuildKit themselves."""
    if "podman" in path:
        return True
    try:
        version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    except OSError:  # such as a script whose interpreter is not there
        return False
    digits = "".join(character if character.isdigit() else " " for character in version).split()
    if digits and int(digits[0]) < 23:
        return True
    return subprocess.run([path, "buildx", "version"], capture_output=True).returncode == 0


def size_bytes(client: str, image: str) -> int:
    """The size of an image on this machine; 0 if it is not there."""
    command: Sequence[str] = [client, "image", "inspect", "--format", "{{.Size}}", image]
    done = subprocess.run(command, capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else 0


def _say(name: str, what: str, client: str, image: str) -> None:
    print(f"{name:22} {what:16} {size_bytes(client, image) / 1e6:7.0f} MB  {image}", file=sys.stderr, flush=True)


def _revision() -> str:
    """The commit of the source; `unknown` outside a repository."""
    return _git("rev-parse", "HEAD")


def _source() -> str:
    """Where the source is kept, without a user or token that its address may name."""
    return re.sub(r"//[^/@]*@", "//", _git("config", "--get", "remote.origin.url"))


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(images.ROOT), *arguments], capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
