"""Containers: the exit code counts, whatever the engine says about containers that are gone."""

import io
import os
from pathlib import Path
from typing import Any

import docker.errors
import kfp.local
import pytest

from components import images
from pipelines.local import containers
from pipelines.local.screen import Screen
from speech.errors import InputError


class Container:
    """Stands for docker's: `steps` records what was asked of it."""

    def __init__(self, code: int, broken: bool = False) -> None:
        self.code, self.broken, self.steps = code, broken, []

    def logs(self, *, stream: bool = False, stdout: bool = True, stderr: bool = True) -> Any:
        self.steps.append("logs")
        if self.broken:
            raise docker.errors.APIError("the engine went away")
        return iter([b"error: \xc3\xa9", b"\n"]) if stream else b"all of it\n"

    def wait(self) -> dict[str, int]:
        self.steps.append("wait")
        return {"StatusCode": self.code}

    def remove(self, *, force: bool, v: bool) -> None:
        self.steps.append("remove")


class Client:
    """Stands for docker's client; knows one image."""

    def __init__(self, container: Container) -> None:
        self.container, self.images, self.containers, self.options = container, self, self, {}

    def get(self, image: str) -> str:
        if image != "speechmill/train:1":
            raise docker.errors.ImageNotFound("no such image")
        return image

    def run(self, **options: Any) -> Container:
        self.options = options
        return self.container


def start(container: Container, tmp_path: Path, image: str = "speechmill/train:1") -> tuple[int, Screen, Client]:
    client, screen = Client(container), Screen(io.StringIO())
    options = {"image": image, "command": ["true"], "volumes": {}, "user": "1:1"}
    return containers.run_container(client, options, tmp_path / "log", screen), screen, client


@pytest.mark.parametrize("code", [0, 2, 137])
def test_the_exit_code_is_read_before_the_container_is_removed(code, tmp_path) -> None:
    container = Container(code)
    found, screen, client = start(container, tmp_path)
    assert found == code
    assert screen.stream.getvalue() == "error: é\n"
    assert (tmp_path / "log").read_text() == "all of it\n"
    assert container.steps[-1] == "remove"
    assert container.steps.index("wait") < container.steps.index("remove")
    assert "auto_remove" not in client.options
    assert client.options["user"] == "1:1"


def test_a_container_is_removed_after_an_error_of_the_engine(tmp_path) -> None:
    container = Container(0, broken=True)
    with pytest.raises(docker.errors.APIError):
        start(container, tmp_path)
    assert container.steps[-1] == "remove"


def test_a_missing_image_is_one_line_with_the_command_that_builds_it(tmp_path) -> None:
    with pytest.raises(
        InputError, match=r"speechmill/train:2 is not on this machine: `speechmill images build --images train`"
    ):
        start(Container(0), tmp_path, "speechmill/train:2")


def test_local_paths_are_mounted_where_they_are(tmp_path, monkeypatch) -> None:
    (tmp_path / "corpus").mkdir()
    arguments = {
        "corpus_uri": str(tmp_path / "corpus"),
        "base_checkpoint_uri": "s3://bucket/checkpoint",
        "publish_uri": str(tmp_path / "models"),
        "n_hidden": 8,
    }
    monkeypatch.setattr(containers.docker, "from_env", lambda: type("Engine", (), {"ping": lambda self: True})())
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:8333")
    runner = containers.docker_runner(arguments)
    assert isinstance(runner, kfp.local.DockerRunner)
    given = runner.container_run_args
    assert (given["read_only"], given["cap_drop"], given["security_opt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert given.get("cap_add", []) == ([] if os.getuid() else ["DAC_OVERRIDE"])
    mounts = {mount["Source"]: mount for mount in given["mounts"]}
    scratch = mounts.pop(None)
    assert (scratch["Target"], scratch["Type"], scratch["ReadOnly"]) == ("/tmp", "volume", False)
    assert mounts.keys() == {str(tmp_path / "corpus"), str(tmp_path / "models")}
    assert all(mount["Target"] == source for source, mount in mounts.items())
    assert mounts[str(tmp_path / "corpus")]["ReadOnly"]
    assert not mounts[str(tmp_path / "models")]["ReadOnly"]
    assert runner.container_run_args["environment"]["AWS_ENDPOINT_URL"] == "http://store:8333"
    assert "network_mode" not in runner.container_run_args
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:8333")
    assert containers.docker_runner(arguments).container_run_args["network_mode"] == "host"


def test_an_engine_that_does_not_answer_is_one_line(monkeypatch) -> None:
    def refuse() -> None:
        raise docker.errors.DockerException("connection refused")

    monkeypatch.setattr(containers.docker, "from_env", refuse)
    with pytest.raises(InputError, match="no container engine answers"):
        containers.docker_runner({})


def test_the_training_gets_its_gpus_and_the_image_for_them() -> None:
    options = {"image": images.TRAIN, "command": ["true"], "user": "1:1"}
    found = containers.with_gpus(options, 2)
    assert found["image"] == images.TRAIN_GPU
    (request,) = found["device_requests"]
    assert (request["Count"], request["Capabilities"]) == (2, [["gpu"]])
    assert found["user"] == "1:1"
    assert containers.with_gpus(options, 0) == options
    other = options | {"image": images.EXPORT}
    assert containers.with_gpus(other, 2) == other


@pytest.mark.parametrize("given", ["-1", "all", "1.5"])
def test_gpus_are_a_number(given) -> None:
    with pytest.raises(InputError, match=f"--train_gpus '{given}' is not allowed"):
        containers.gpus_of({"train_gpus": given})


def test_an_engine_without_gpus_is_one_line(tmp_path) -> None:
    class Refusing(Client):
        def run(self, **options: Any) -> Container:
            raise docker.errors.APIError('could not select device driver "" with capabilities: [[gpu]]')

    options = containers.with_gpus({"image": images.TRAIN, "command": ["true"]}, 1) | {"image": "speechmill/train:1"}
    with pytest.raises(InputError, match="the container engine has no GPUs to give: install NVIDIA's driver"):
        containers.run_container(Refusing(Container(0)), options, tmp_path / "log", Screen(io.StringIO()))
