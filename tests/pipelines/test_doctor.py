"""`speechmill doctor`, and the same in a step's image."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import images
from pipelines import __main__ as speechmill
from pipelines import doctor
from pipelines.cluster.image_builds import build_context
from speech.doctor import gpu
from speech.doctor.checks import NOTE, OK, PROBLEM
from speech.doctor.settings import DoctorSettings
from tests.fixtures.api_server import running
from tests.fixtures.kfp_server import KfpServer


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with running(KfpServer()) as started:
        yield started


@pytest.fixture(autouse=True)
def no_probe(monkeypatch) -> None:
    """TensorFlow takes seconds, and has tests of its own."""
    monkeypatch.setattr(gpu, "checks", lambda: iter(()))


def test_json_and_the_exit_code(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    speechmill.main(["doctor", "--json", "--output", str(tmp_path / "new")])
    found = json.loads(capsys.readouterr().out)
    assert found["problem"] is False
    subjects = {check["subject"] for check in found["checks"]}
    assert {"Python", "/dev/shm", "container engine", "image builder", "KUBECONFIG", "Kubeflow Pipelines"} <= subjects
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(["doctor", "--output", str(tmp_path), "--hours", "1e9"])
    assert stopped.value.code == 1
    assert capsys.readouterr().out.endswith("1 problem.\n")


def test_a_server_s_answer_and_its_silence(server) -> None:
    found = doctor.kubeflow(doctor.DoctorFlags(endpoint=server.endpoint))
    assert found.state == OK
    assert found.found.startswith(f"{server.endpoint} answers: it names no version, for one user; kfp here: 2.")
    server.version = {"tag_name": "2.15.0"}
    assert "answers: version 2.15.0" in doctor.kubeflow(doctor.DoctorFlags(endpoint=server.endpoint)).found


def test_a_missing_token_is_said(server, tmp_path) -> None:
    found = doctor.kubeflow(doctor.DoctorFlags(endpoint=server.endpoint, token_file=str(tmp_path / "none")))
    assert (found.state, "No such file" in found.found) == (PROBLEM, True)


def test_kubeconfig_that_names_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert doctor.kubeconfig().state == PROBLEM
    monkeypatch.setenv("KUBECONFIG", __file__)
    assert doctor.kubeconfig().state == OK
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor.kubeconfig().state == NOTE


def test_no_engine_and_no_client_are_notes(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("pipelines.cluster.image_builds.CLIENTS", ("no-such-client",))
    engine, builder = doctor.container_engine()
    assert (engine.state, builder.state) == (NOTE, NOTE)
    assert "none answers" in engine.found
    assert builder.advice.startswith("for `speechmill images` alone: install docker with its buildx plugin")


@pytest.mark.parametrize("image", ["build-scorer", "publish"])
def test_the_doctor_is_in_an_image_without_tensorflow_and_kfp(image, tmp_path) -> None:
    """With nothing but the files of the image, where it works in a pod."""
    with build_context(image) as context:
        done = subprocess.run(
            [sys.executable, "-m", "speech.doctor", "--json", "--output", str(tmp_path)],
            cwd=context,
            env={**os.environ, "PYTHONPATH": str(context), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    assert done.stderr == ""
    subjects = {check["subject"] for check in json.loads(done.stdout)["checks"]}
    assert {"package names", "processor", "/dev/shm", "GPU", "object store"} <= subjects


def test_the_doctor_is_in_every_image() -> None:
    for name in (*images.STEPS, *images.VARIANTS):
        held = images.modules(name)
        assert {"speech.doctor.__main__", "speech.doctor.object_store"} <= held
        assert ("speech.nn.__main__" in held) == ("speech.nn" in held)


def test_the_flags_of_a_step_s_doctor_are_the_command_s_as_well() -> None:
    assert issubclass(doctor.DoctorFlags, DoctorSettings)
    assert Path(gpu.ROOT, "speech").is_dir()
