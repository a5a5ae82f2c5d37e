"""The README's two commands on a bare Debian, in a container with the packages that the README names and no others."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.end_to_end.test_docker import engine_answers

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BASE = os.environ.get("SPEECHMILL_FRESH_IMAGE", "debian:bookworm-slim")
NOT_OURS = ("./.git", "./.venv", "./build", "./.mypy_cache", "./.ruff_cache", "./.pytest_cache")
USER = "1000:1000"  # nobody whom the container knows: no name, no home, no right but to this folder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not engine_answers(), reason="no container engine answers")]


@pytest.fixture(scope="module")
def machine() -> Iterator[str]:
    """A container with the packages that the README names and the files of this checkout in /work."""
    client = docker.from_env(timeout=600)  # removing some gigabytes takes its time
    try:
        client.images.get(BASE)
    except docker.errors.ImageNotFound:
        pytest.skip(f"{BASE} is not on this machine: `docker pull {BASE}`")
    container = client.containers.run(BASE, ["sleep", "infinity"], detach=True, network_mode="host")
    try:
        (packages,) = re.findall(r"`apt-get install (make [^`]*)`", README)
        install = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {packages}"
        run(container.id, f"{install} && mkdir /work && chown {USER} /work", user="0:0")
        excluded = [part for name in NOT_OURS for part in ("--exclude", name)]
        files = subprocess.run(["tar", "-C", str(ROOT), *excluded, "-c", "."], check=True, capture_output=True).stdout
        unpack = ["docker", "exec", "-i", "--user", USER, container.id, "tar", "-C", "/work", "--no-same-owner", "-x"]
        subprocess.run(unpack, input=files, check=True)
        yield container.id
    finally:
        container.remove(force=True)


def run(container: str, command: str, user: str = USER) -> str:
    """What a command in the container prints; a failure shows the end of it."""
    called = ["docker", "exec", "--user", user, container, "sh", "-ec", command]
    done = subprocess.run(called, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def test_the_environment_and_the_demo(machine: str) -> None:
    assert "Test       61 clips" in run(machine, "cd /work && make demo")
    doctor = run(machine, "cd /work && .venv/bin/speechmill doctor")
    assert doctor.endswith("No problem.\n")


def test_the_tests(machine: str) -> None:
    """Of all of them, or of those that SPEECHMILL_FRESH_TESTS names."""
    told = run(machine, f"cd /work && make setup && make pytest TESTS='{os.environ.get('SPEECHMILL_FRESH_TESTS', '')}'")
    assert re.search(r"\d+ passed", told)
    assert " failed" not in told
