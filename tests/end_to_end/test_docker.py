"""The demo in the steps' own images, built here: `make test-slow` runs it where a container engine answers."""

import json
import subprocess
import sys
from pathlib import Path

import docker
import docker.errors
import pytest

from components import images
from pipelines import image_builds

RELEASE = images.ROOT / "examples" / "cv-corpus-demo" / "en"
SETTINGS = ["--n_hidden", "32", "--epochs", "2", "--train_batch_size", "16"]
SMALL = ("import-cv", "convert-mmap", "convert-openvino", "publish")  # without TensorFlow
SMALL_MB = 600
LOOK = (
    "import os, shutil; compilers = [name for name in ('gcc', 'cc', 'g++', 'make') if shutil.which(name)]; "
    "open('/tmp/x', 'w').close(); print(os.getuid(), compilers)"
)


def engine_answers() -> bool:
    try:
        return bool(docker.from_env().ping())
    except docker.errors.DockerException:
        return False


pytestmark = [pytest.mark.slow, pytest.mark.skipif(not engine_answers(), reason="no container engine answers")]


@pytest.fixture(scope="module")
def built() -> str:
    """The client that built all images."""
    image_builds.build(image_builds.ImageFlags())
    return image_builds.find_client()


def speechmill(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=images.ROOT)


def test_the_demo_runs_in_the_images(built, tmp_path) -> None:
    flags = ["--runner", "docker", "--output", tmp_path / "out", "--publish_uri", tmp_path / "models", *SETTINGS]
    done = speechmill("run", "--corpus_uri", RELEASE, *flags)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert facts["test_clips"] > 0
    champion = json.loads((tmp_path / "models" / "champion.json").read_text())
    assert champion["version"] == facts["published"]["version"]
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=champion["uri"])
    assert checked.returncode == 0
    again = speechmill("run", "--corpus_uri", RELEASE, *flags)
    assert set(json.loads((tmp_path / "out" / "summary.json").read_text())["cached"]) == set(facts["seconds"])
    assert again.returncode == 0
    assert docker.from_env().containers.list(all=True, filters={"ancestor": images.PUBLISH}) == []


def test_a_failing_container_fails_the_run(built, tmp_path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "train.tsv").write_text("path\ttext\na.mp3\tx\n")
    done = speechmill("run", "--runner", "docker", "--corpus_uri", tmp_path / "en", "--output", tmp_path / "out")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("step", images.STEPS)
def test_images_run_as_nobody_on_a_read_only_disk_with_no_compiler(built, step) -> None:
    options = ["--rm", "--read-only", "--tmpfs", "/tmp"]
    command = [built, "run", *options, images.reference(step), "python", "-c", LOOK]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "65532 []\n"
    labels = json.loads(inspect(built, step, "{{json .Config.Labels}}"))
    assert labels["org.opencontainers.image.title"] == f"speechmill {step}"
    assert {"source", "revision", "licenses"} <= {name.rpartition(".")[2] for name in labels}
    environment = inspect(built, step, "{{json .Config.Env}}")
    assert "SECRET" not in environment
    own_help = [built, "run", *options, images.reference(step)]
    assert "usage:" in subprocess.run(own_help, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("step", SMALL)
def test_images_without_tensorflow_are_small(built, step) -> None:
    assert image_builds.size_bytes(built, images.reference(step)) < SMALL_MB * 1e6


def inspect(client: str, step: str, template: str) -> str:
    command = [client, "image", "inspect", "--format", template, images.reference(step)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
