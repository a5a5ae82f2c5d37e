"""Run a step in a container of its image, on this machine's container engine."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import docker.errors
import docker.types
import kfp.local

from components import images
from pipelines.local.screen import Screen
from speech.errors import InputError
from speech.storage.corpus_uri import parse_corpus, split_corpora

# A step needs its folders and /tmp alone; that is on the disk, because models and archives pass through it.
CONFINED: dict[str, Any] = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
ANY_FILE = ["DAC_OVERRIDE"]  # what root needs for files of others, once it has no capabilities
WRITTEN_PATHS = ("checkpoint_uri", "publish_uri")  # parameters that name a place to write to; the others are read


def docker_runner(arguments: dict[str, Any]) -> kfp.local.DockerRunner:
    """kfp's runner, with the local paths of the pipeline's arguments mounted where they are outside.

    The containers run as the user who started the run, so that their files belong to that user, without capabilities
    and on a file system that they cannot change; the variables that lead to the object store are passed on, and if it
    is on this machine, so is the network. Raises InputError if no engine answers.
    """
    try:
        docker.from_env().ping()
    except docker.errors.DockerException as error:
        raise InputError(
            f"no container engine answers: start Docker, or leave out --runner docker ({error})"
        ) from error
    passed_on = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "SPEECHMILL_"))}
    host = urlsplit(passed_on.get("AWS_ENDPOINT_URL", "")).hostname
    mounts = _mounts(arguments)
    if ca_bundle := passed_on.get("AWS_CA_BUNDLE"):
        mounts.append(docker.types.Mount(ca_bundle, ca_bundle, type="bind", read_only=True))
    mounts.append(docker.types.Mount("/tmp", None, type="volume"))  # of its own, and gone with the container
    return kfp.local.DockerRunner(
        mounts=mounts,
        **CONFINED,
        **({} if os.getuid() else {"cap_add": ANY_FILE}),
        user=f"{os.getuid()}:{os.getgid()}",
        environment={"HOME": "/tmp", **passed_on},
        **({"network_mode": "host"} if host in ("127.0.0.1", "localhost", "::1") else {}),
    )


def _mounts(arguments: dict[str, Any]) -> list[docker.types.Mount]:
    paths = {}
    for name, value in arguments.items():
        for path in _paths(name, value):
            if name in WRITTEN_PATHS:
                Path(path).mkdir(parents=True, exist_ok=True)
            if Path(path).exists():
                paths[path] = name not in WRITTEN_PATHS
    return [docker.types.Mount(path, path, type="bind", read_only=read_only) for path, read_only in paths.items()]


def _paths(name: str, value: Any) -> list[str]:
    """The absolute local paths in a parameter's value; `corpus_uri` may have several."""
    given = [parse_corpus(one).uri for one in split_corpora(value)] if name == "corpus_uri" else [value]
    return [path for path in given if isinstance(path, str) and path.startswith("/")]


def gpus_of(arguments: dict[str, Any]) -> int:
    """How many GPUs the training is to have."""
    given = str(arguments.get("train_gpus", "0"))
    if not given.isdecimal():
        raise InputError(f"--train_gpus {given!r} is not allowed: a number, 0 for none")
    return int(given)


def with_gpus(options: dict[str, Any], gpus: int) -> dict[str, Any]:
    """A container's options; of the training: with so many GPUs, as by `docker run --gpus`, in the image with CUDA."""
    if not gpus or options["image"] != images.TRAIN:
        return options
    request = docker.types.DeviceRequest(count=gpus, capabilities=[["gpu"]])
    return {**options, "image": images.TRAIN_GPU, "device_requests": [request]}


def run_container(client: Any, options: dict[str, Any], log: Path, screen: Screen) -> int:
    """Run a container to its end and return its exit code.

    The container stays until its exit code has been read, and is removed then, also after an exception.
    """
    _check_image(client, options["image"])
    try:
        container = client.containers.run(detach=True, **options)
    except docker.errors.APIError as error:
        if "device_requests" in options and "device driver" in str(error):
            raise InputError(
                "--train_gpus: the container engine has no GPUs to give: install NVIDIA's driver and its Container "
                f"Toolkit on this machine, or leave --train_gpus at 0 ({error.explanation})"
            ) from error
        raise
    try:
        for data in container.logs(stream=True, stdout=False, stderr=True):
            screen.output(data.decode("utf-8", errors="replace"))
        code = int(container.wait()["StatusCode"])
        log.write_bytes(container.logs(stdout=True, stderr=True))
        return code
    finally:
        container.remove(force=True, v=True)


def _check_image(client: Any, image: str) -> None:
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound as error:
        step = image.rpartition("/")[2].partition(":")[0]
        raise InputError(
            f"the image {image} is not on this machine: `speechmill images build --images {step}` makes it"
        ) from error
