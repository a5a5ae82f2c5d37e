"""`speechmill doctor`: the machine as a step sees it, and what running and submitting the pipeline needs on top."""

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speech.doctor import __main__ as of_a_step
from speech.doctor.checks import NOTE, OK, PROBLEM, Check
from speech.doctor.settings import DoctorSettings
from speech.errors import InputError, RetryError
from speech.extras import STEPS, lacking
from speech.settings import setting

DESCRIPTION = of_a_step.DESCRIPTION
ENDPOINT = "KF_PIPELINES_ENDPOINT"


@dataclass(frozen=True)
class DoctorFlags(DoctorSettings):
    """The flags of `speechmill doctor`."""

    endpoint: str = setting(
        "", f"address of Kubeflow Pipelines to ask; empty: {ENDPOINT}", group="Cluster", metavar="URL"
    )
    namespace: str = setting("", "namespace (profile) of a multi-user installation")
    token_file: str = setting("", "file with the bearer token, if the server wants one")
    ssl_ca_cert: str = setting("", "file with the certificates of a private authority", metavar="FILE")


def run(flags: DoctorFlags) -> None:
    """Examine and tell."""
    of_a_step.tell(examine(flags), flags.json)


def examine(flags: DoctorFlags) -> Iterator[Check]:
    """All that can be said."""
    yield from of_a_step.examine(flags)
    yield from packages()
    yield from container_engine()
    yield kubeconfig()
    yield kubeflow(flags)


def packages() -> Iterator[Check]:
    """The extras of a run on this machine, and of the pipeline itself."""
    for subject, extras in (("packages of the steps", STEPS), ("packages of the pipeline", ("pipeline",))):
        missing = lacking(*extras)
        if missing:
            found, _, advice = missing.partition(": ")
            yield Check(subject, NOTE, found.replace("this command needs", "not installed:"), advice)
        else:
            yield Check(subject, OK, "all there")


def container_engine() -> Iterator[Check]:
    """The engine for `--runner docker`, and a client that builds images."""
    advice = "for --runner docker and `speechmill images` alone: start Docker, or set DOCKER_HOST"
    if importlib.util.find_spec("docker") is None or importlib.util.find_spec("grimp") is None:
        yield Check("container engine", NOTE, "not asked: pipeline packages are missing", advice)
        return
    import docker

    from pipelines.cluster.image_builds import find_client

    try:
        engine = docker.from_env().version()
        yield Check("container engine", OK, f"{engine.get('Version', '?')}, API {engine.get('ApiVersion', '?')}")
    except docker.errors.DockerException as error:
        yield Check("container engine", NOTE, f"none answers: {str(error)[:200]}", advice)
    try:
        yield Check("image builder", OK, f"{find_client()} (BuildKit)")
    except InputError as error:
        found, _, todo = str(error).partition(": install")
        yield Check("image builder", NOTE, found, f"for `speechmill images` alone: install{todo}")


def kubeconfig() -> Check:
    """The file that kubectl and kfp take a cluster from."""
    given = os.environ.get("KUBECONFIG", "")
    paths = [Path(path) for path in given.split(os.pathsep) if path] or [Path("~/.kube/config").expanduser()]
    missing = [str(path) for path in paths if not os.access(path, os.R_OK)]
    if not missing:
        return Check("KUBECONFIG", OK, ", ".join(map(str, paths)))
    found = f"{', '.join(missing)} cannot be read"
    if given:
        return Check("KUBECONFIG", PROBLEM, found, "let KUBECONFIG name your cluster's file, or unset it")
    advice = "for clusters alone; with --endpoint URL none is needed"
    return Check("KUBECONFIG", NOTE, f"not set, and {found}", advice)


def kubeflow(flags: DoctorFlags) -> Check:
    """Kubeflow Pipelines: whether it answers, and its version beside the SDK's."""
    endpoint = flags.endpoint or os.environ.get(ENDPOINT, "")
    if not endpoint:
        advice = f"for clusters alone: --endpoint https://HOST/pipeline, or {ENDPOINT}"
        return Check("Kubeflow Pipelines", NOTE, "not asked: no endpoint is named", advice)
    if missing := lacking("pipeline"):
        return Check("Kubeflow Pipelines", PROBLEM, "not asked: pipeline packages are missing", missing)
    import kfp

    from pipelines.cluster.api import KubeflowApi

    try:
        health = KubeflowApi(endpoint, flags.namespace, flags.token_file, flags.ssl_ca_cert).health()
    except (InputError, RetryError) as error:
        advice = "is the address right (with /pipeline behind a dashboard), and does --token_file hold a valid token?"
        return Check("Kubeflow Pipelines", PROBLEM, f"{endpoint}: {error}", advice)
    users = "several users" if health.get("multi_user") else "one user"
    version = f"version {health['tag_name']}" if health.get("tag_name") else "it names no version"
    return Check("Kubeflow Pipelines", OK, f"{endpoint} answers: {version}, for {users}; kfp here: {kfp.__version__}")
