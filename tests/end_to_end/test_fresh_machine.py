"""Both commands of the README on a machine with nothing but what the README names: a bare Debian in a container.

FRESH_IMAGES  the distributions; those that the engine has not and cannot pull are skipped
FRESH_COMMAND what is run there (`make demo && make test`)
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from components.images import ROOT
from tests.fixtures import system

pytestmark = [pytest.mark.slow, system.needs("git")]

IMAGES = os.environ.get("FRESH_IMAGES", "debian:bookworm-slim debian:trixie-slim").split()
COMMAND = os.environ.get("FRESH_COMMAND", "make demo && make test")
README = (ROOT / "README.md").read_text(encoding="utf-8")
REACHED_BY = (  # how this machine reaches package registries
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "UV_DEFAULT_INDEX", "UV_INDEX",
    "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


def packages() -> str:
    """What the README says that both commands need of the system."""
    found = re.search(r"On Debian and Ubuntu `apt-get install ([^`]+)` installs what they need", README)
    assert found
    return found[1]


@pytest.mark.parametrize("image", IMAGES)
def test_both_commands_on_a_bare_distribution(image: str, tmp_path: Path) -> None:
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("needs a container engine: start Docker")
    known = subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0
    if not known and subprocess.run(["docker", "pull", "--quiet", image], capture_output=True).returncode:
        pytest.skip(f"the engine has no {image}, and cannot pull it")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "clone")], check=True)
    script = f"""
        export DEBIAN_FRONTEND=noninteractive
        apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends {packages()} >/dev/null
        useradd --create-home --shell /bin/sh somebody
        cp -r /clone /home/somebody/speechmill && chown -R somebody: /home/somebody
        su somebody --command 'set -e; cd ~/speechmill; {COMMAND}'
    """
    environment = [f"--env={name}" for name in REACHED_BY if name in os.environ]
    if certificates := os.environ.get("PIP_CERT"):
        environment.append(f"--volume={Path(certificates).resolve()}:{certificates}:ro")
    command = ["docker", "run", "--rm", "--network", "host", "--volume", f"{tmp_path / 'clone'}:/clone:ro"]
    done = subprocess.run(
        [*command, *environment, image, "sh", "-euc", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=5400,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-3000:]
