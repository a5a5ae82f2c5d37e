"""The demo in the steps' own images, built here: `make test-slow` runs it where a container engine answers."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import docker
import docker.errors
import pytest

from components import images
from components.export import step as export
from components.export.settings import ExportSettings
from components.import_cv import step as import_cv
from components.import_cv.settings import ImportSettings
from components.train import step as train
from components.train.settings import TrainSettings
from pipelines.cluster import image_builds

RELEASE = images.ROOT / "examples" / "cv-corpus-demo" / "en"
SETTINGS = ["--n_hidden", "32", "--epochs", "2", "--train_batch_size", "16"]
SMALL = ("import-cv", "convert-mmap", "convert-openvino", "publish")  # without TensorFlow
SMALL_MB = 600
DS_CTCDECODER = "evaluate-ds-ctcdecoder"
LOOK = (
    "import os, shutil; compilers = [name for name in ('gcc', 'cc', 'g++', 'make') if shutil.which(name)]; "
    "open('/tmp/x', 'w').close(); print(os.getuid(), compilers)"
)


def engine_answers() -> bool:
    try:
        return bool(docker.from_env().ping())
    except docker.errors.DockerException:
        return False


LIBRARIES = {"train": "lstm", "evaluate": "decoder"}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not engine_answers(), reason="no container engine answers")]


@pytest.fixture(scope="module")
def built() -> str:
    """The client that built all images."""
    image_builds.build(image_builds.ImageFlags())
    return image_builds.find_client()


@pytest.fixture(scope="module")
def ds_ctcdecoder() -> str:
    """The client that built the evaluate image with ds_ctcdecoder, and the one that makes scorers."""
    client = image_builds.find_client()
    found = re.search(r"^ARG PYTHON39=(\S+)", images.dockerfile(DS_CTCDECODER).read_text(), re.MULTILINE)
    assert found
    base = found[1]
    if not image_builds.size_bytes(client, base) and subprocess.run([client, "pull", "--quiet", base]).returncode:
        pytest.skip(f"{base} is not on this machine, and cannot be pulled")
    image_builds.build(image_builds.ImageFlags(images=("build-scorer", DS_CTCDECODER)))
    return client


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's corpus and an exported model; trained too little, so that decoders have a choice."""
    folder = tmp_path_factory.mktemp("spoken")
    corpus = import_cv.run(ImportSettings(layout="clips"), str(RELEASE), folder / "corpus").folder
    settings = TrainSettings(n_hidden=96, epochs=6, train_batch_size=8, learning_rate=0.003)
    train.run_on_corpus(settings, corpus, folder / "checkpoint")
    export.freeze(ExportSettings(), folder / "checkpoint", folder / "model")
    folder.chmod(0o755)
    return folder


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
    cached = json.loads((tmp_path / "out" / "summary.json").read_text())["cached"]
    assert set(cached) == set(facts["seconds"]) - {"publish"}  # which looks at what is published by now
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
    check_image(built, step)


def check_image(client: str, step: str) -> None:
    assert confined(client, step, "python", "-c", LOOK) == "65532 []\n"
    labels = json.loads(inspect(client, step, "{{json .Config.Labels}}"))
    assert labels["org.opencontainers.image.title"] == f"speechmill {step}"
    assert {"source", "revision", "licenses"} <= {name.rpartition(".")[2] for name in labels}
    environment = inspect(client, step, "{{json .Config.Env}}")
    assert "SECRET" not in environment
    assert "usage:" in confined(client, step)


@pytest.mark.parametrize(
    ("step", "module"), [("train", "speech.nn.recurrent.recurrence"), ("evaluate", "speech.decoding.library")]
)
def test_what_is_compiled_lies_in_the_image(built, step, module) -> None:
    found = confined(built, step, "python", "-c", f"from {module} import LIBRARY; print(LIBRARY.find())")
    assert found.startswith(f"/app/{module.rpartition('.')[0].replace('.', '/')}/cpp/{LIBRARIES[step]}-")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the operators are for x86-64")
def test_the_train_image_loads_its_operators(built) -> None:
    look = "from speech.nn.recurrent import recurrence; print(recurrence._load() is not None)"
    assert confined(built, "train", "python", "-c", look) == "True\n"


@pytest.mark.parametrize("step", SMALL)
def test_images_without_tensorflow_are_small(built, step) -> None:
    assert image_builds.size_bytes(built, images.reference(step)) < SMALL_MB * 1e6


@pytest.mark.parametrize("scored", [False, True], ids=["alone", "with a scorer"])
def test_ds_ctcdecoder_hears_what_the_beam_search_does(ds_ctcdecoder, spoken, tmp_path, scored) -> None:
    """With no flag but --decoder, as nobody, on a read-only disk, without a network."""
    tmp_path.chmod(0o777)
    mounts = {str(spoken): "/in:ro", str(tmp_path): "/out"}

    def run(image: str, *command: str) -> None:
        confined(ds_ctcdecoder, image, "python", "-m", *command, mounts=mounts)

    given = ["--model", "/in/model", "--test_files", "/in/corpus/test.csv"]
    if scored:
        sources = ["--corpus", "/in/corpus", "--checkpoint", "/in/model"]
        run("build-scorer", "components.build_scorer", *sources, "--output_dir", "/out/scorer")
        given += ["--scorer_path", "/out/scorer"]
    scores, clips = {}, {}
    for decoder in ("beam", "ds_ctcdecoder"):
        run(DS_CTCDECODER, "components.evaluate", *given, "--decoder", decoder, "--evaluation", f"/out/{decoder}")
        scores[decoder] = json.loads((tmp_path / decoder / "scores.json").read_text())
        clips[decoder] = json.loads((tmp_path / decoder / "samples.json").read_text())
        assert scores[decoder]["decoder"]["name"] == decoder
    assert clips["beam"] == clips["ds_ctcdecoder"]
    assert 0.0 < scores["beam"]["wer"] == scores["ds_ctcdecoder"]["wer"] < 1.0
    if scored:
        assert scores["beam"]["wer"] < scores["beam"]["without_scorer"]["wer"]


def test_the_python_of_ds_ctcdecoder_is_beside_the_step_s_own(ds_ctcdecoder) -> None:
    check_image(ds_ctcdecoder, DS_CTCDECODER)
    assert "MPL-2.0" in inspect(ds_ctcdecoder, DS_CTCDECODER, "{{json .Config.Labels}}")
    look = "import sys, numpy; print(*sys.version_info[:2], numpy.__version__.split('.')[0])"
    assert confined(ds_ctcdecoder, DS_CTCDECODER, "python3.9", "-c", look) == "3 9 1\n"
    assert confined(ds_ctcdecoder, DS_CTCDECODER, "python", "-c", look) == "3 11 2\n"
    search = "import importlib.util; print(importlib.util.find_spec('pip'))"
    assert confined(ds_ctcdecoder, DS_CTCDECODER, "python3.9", "-c", search) == "None\n"


def confined(client: str, step: str, *command: str, mounts: Mapping[str, str] | None = None) -> str:
    """What a command prints in a step's image, on a read-only disk and without a network."""
    volumes = [part for outside, inside in (mounts or {}).items() for part in ("--volume", f"{outside}:{inside}")]
    options = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", *volumes]
    whole = [client, "run", *options, images.reference(step), *command]
    done = subprocess.run(whole, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspect(client: str, step: str, template: str) -> str:
    command = [client, "image", "inspect", "--format", template, images.reference(step)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
