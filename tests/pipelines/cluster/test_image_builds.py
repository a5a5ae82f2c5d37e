"""`speechmill images`: the commands that it runs, and what it refuses; the Dockerfiles that it builds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from components import images
from pipelines import __main__ as speechmill
from pipelines.cluster import image_builds
from pipelines.cluster.image_builds import ImageFlags
from speech.errors import InputError

CLIENT = """#!/bin/sh
printf '%s\\n' "$*" >> {log}
case "$1 $2" in
  "image inspect") grep -qx "$5" {built} 2>/dev/null && echo 123456789 || exit 1 ;;
  "build --quiet")
    echo "sha256:0123"; echo "DEPRECATED: the legacy builder" >&2
    for last; do [ "$before" = --tag ] && echo "$last" >> {built}; before=$last; done; exit {code} ;;
  "tag "*) echo "$3" >> {built} ;;
  "--version "*) echo "Docker version 20.10.24, build 1" ;;
esac
"""


@pytest.fixture
def client(tmp_path: Path):
    """client(code) -> the path of a docker command that notes what it is called with; builds end with `code`."""

    def make(code: int = 0) -> Path:
        path = tmp_path / "docker"
        path.write_text(CLIENT.format(log=tmp_path / "log", built=tmp_path / "built", code=code))
        path.chmod(0o755)
        return path

    return make


def calls(tmp_path: Path, verb: str) -> list[str]:
    return [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith(verb)]


def test_every_step_s_image_is_built_under_the_pipeline_s_name(client, tmp_path, capfd) -> None:
    speechmill.main(["images", "build", "--docker", str(client())])
    built = (tmp_path / "built").read_text().split()
    assert built == [images.reference(step) for step in images.STEPS]
    command = calls(tmp_path, "build")[0]
    assert "--build-arg LOCK=import-cv.lock" in command
    assert f"--tag {images.IMPORT_CV} --file docker/import-cv.Dockerfile ." in command
    assert re.search(r"--build-arg REVISION=([0-9a-f]{40}|unknown) --build-arg SOURCE=\S+", command)
    told = capfd.readouterr()
    assert "123 MB  speechmill/import-cv:" in told.err
    assert told.out == ""
    assert len(told.err.splitlines()) == len(images.STEPS)  # nothing that is not about an image
    (tmp_path / "log").unlink()
    speechmill.main(["images", "build", "--docker", str(client())])
    assert calls(tmp_path, "build") == []  # all there already


def test_the_variant_for_gpus_has_the_other_s_dockerfile_and_its_own_lock(client, tmp_path) -> None:
    arguments = ["--images", "train-gpu", "--python", "mirror.example.org/python:3.11"]
    speechmill.main(["images", "build", "--docker", str(client()), *arguments])
    (command,) = calls(tmp_path, "build")
    assert "LOCK=train-gpu.lock --build-arg PYTHON=mirror.example.org/python:3.11" in command
    assert f"--tag {images.TRAIN_GPU} --file docker/train.Dockerfile" in command
    assert images.fingerprint("train-gpu") != images.fingerprint("train")


def test_the_variant_with_ds_ctcdecoder_is_a_stage_of_the_other_s_dockerfile(client, tmp_path) -> None:
    arguments = ["--images", "evaluate", "evaluate-ds-ctcdecoder", "--python39", "mirror.example.org/python:3.9"]
    speechmill.main(["images", "build", "--docker", str(client()), *arguments])
    own, variant = calls(tmp_path, "build")
    further = "--build-arg IMAGE=evaluate-ds-ctcdecoder --build-arg PYTHON39=mirror.example.org/python:3.9"
    assert f"LOCK=evaluate.lock {further} --tag {images.EVALUATE_DS_CTCDECODER} --file" in variant
    assert f"LOCK=evaluate.lock --tag {images.EVALUATE} --file" in own
    assert variant.endswith("--file docker/evaluate.Dockerfile .")


def test_the_build_sees_what_the_tag_stands_for_and_nothing_else() -> None:
    with image_builds.build_context("convert-mmap") as context:
        files = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}
    assert files == {path.relative_to(images.ROOT).as_posix() for path in images.sources("convert-mmap")}
    assert {"docker/convert-mmap.Dockerfile", "components/export/memmapped.py", "requirements/kfp.lock"} <= files
    assert "components/export/delivery.py" not in files


def test_push_tags_what_was_built_without_a_registry(client, tmp_path, capsys) -> None:
    flags = ["--docker", str(client()), "--images", "publish"]
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(["images", "push", *flags, "--registry", "ghcr.io/team"])
    assert stopped.value.code == 2
    assert "is not on this machine: `speechmill images build` first" in capsys.readouterr().err
    speechmill.main(["images", "build", *flags])
    speechmill.main(["images", "push", *flags, "--registry", "ghcr.io/team"])
    assert calls(tmp_path, "tag") == [f"tag {images.PUBLISH} ghcr.io/team/{images.PUBLISH}"]
    assert calls(tmp_path, "push") == [f"push ghcr.io/team/{images.PUBLISH}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: speechmill images: expected build, push or sbom"),
        (["pull"], "error: speechmill images: expected build, push or sbom"),
        (["push"], "error: --registry is missing"),
        (["build", "--images", "trian"], "error: --images trian is not allowed: one of import-cv, train"),
        (["build", "--docker", "no-such-client"], "error: no-such-client: no client that builds images"),
    ],
)
def test_wrong_commands_are_one_line(arguments, message, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(["images", *arguments])
    errors = capsys.readouterr().err
    assert stopped.value.code == 2
    assert errors.startswith(message)
    assert errors.count("\n") == 1


def test_a_build_that_fails_ends_the_command(client, capsys) -> None:
    with pytest.raises(InputError, match="import-cv: the build failed with exit code 3"):
        image_builds.build(ImageFlags(docker=str(client(3))))
    assert "DEPRECATED: the legacy builder" in capsys.readouterr().err  # what the client said may say why


def test_a_client_without_buildkit_that_is_first_on_the_path_is_passed_over(client, tmp_path, monkeypatch) -> None:
    first = tmp_path / "first/docker"
    first.parent.mkdir()
    first.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Docker version 28.2.2, build e6534b4"\n')
    first.chmod(0o755)
    second = client()
    monkeypatch.setenv("PATH", f"{first.parent}:{second.parent}:/usr/bin:/bin")
    assert image_builds.find_client() == str(second)
    with pytest.raises(InputError, match="no client that builds images with BuildKit"):
        image_builds.find_client(str(first))
    first.write_text("#!/no/such/interpreter\n")
    assert image_builds.find_client() == str(second)


def test_the_label_names_no_credential(monkeypatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout="https://me:t0ken@git.example.org/team/speech.git\n")
    monkeypatch.setattr(image_builds.subprocess, "run", lambda *_, **__: answer)
    assert image_builds._source() == "https://git.example.org/team/speech.git"


@pytest.mark.parametrize("path", sorted((images.ROOT / "docker").glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_dockerfiles_keep_to_the_pattern(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\nFROM ${PYTHON}") >= 2  # packages in a stage of their own, bases by argument
    assert "--mount=type=cache" in text
    assert "--require-hashes" in text
    final = text[text.rindex("\nFROM ") :]
    assert "USER 65532:65532" in final
    for label in ("title", "source", "revision"):
        assert f"org.opencontainers.image.{label}=" in final
    assert "org.opencontainers.image.licenses=" in text
    assert "g++" not in final
    assert "ENTRYPOINT" not in text


def test_dockerfiles_are_clean() -> None:
    files = sorted((images.ROOT / "docker").glob("*.Dockerfile"))
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), *map(str, files)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
