"""`speechmill submit` and `speechmill schedule`: the flags, and what is sent for them."""

import dataclasses
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from components.publish.releases import is_watched
from pipelines import compiled, deployment
from pipelines.cluster import SUCCEEDED, Cluster, Version, tell
from pipelines.nightly import nightly
from pipelines.parameters import flags_class
from pipelines.retrain import retrain
from speech.errors import InputError, RetryError
from speech.settings import command, setting, setting_error

CRON = re.compile(r"[0-9*/,?LW#A-Za-z-]+")


@dataclass(frozen=True)
class ClusterFlags:
    """Flags that `submit` and `schedule` share."""

    endpoint: str = setting("", "address of Kubeflow Pipelines; empty: KF_PIPELINES_ENDPOINT, or the cluster around")
    namespace: str = setting("", "namespace (profile) of a multi-user installation")
    token_file: str = setting("", "file with the bearer token, if the server wants one")
    ssl_ca_cert: str = setting("", "file with the certificates of a private authority")
    service_account: str = setting("", "Kubernetes service account of the run's pods")
    deployment: str = setting("", "deployment.toml of the cluster; empty: one that suits most")
    registry: str = setting("", "registry in front of the images' names; empty: the deployment's")
    pipeline: str = setting("", "compiled YAML to submit; empty: what the code compiles to now")
    pipeline_name: str = setting("", "name of the pipeline on the server; empty: the pipeline's own")
    experiment: str = setting("speechmill", "experiment of the run")


@dataclass(frozen=True)
class SubmitFlags(ClusterFlags):
    """The flags of `speechmill submit` that are no parameters of the pipeline."""

    run_name: str = setting("", "name of the run; empty: the pipeline's, and the time")
    follow: bool = setting(True, "wait for the end; the exit code is 0 if the run succeeded, 1 if not")
    poll_s: float = setting(10.0, "time between questions", unit="s")
    timeout_s: float = setting(0.0, "stop following after this time, with exit code 75; 0: never", unit="s")

    def __post_init__(self) -> None:
        if self.poll_s <= 0 or self.timeout_s < 0:
            raise InputError("--poll_s is above 0, --timeout_s 0 or more")


@dataclass(frozen=True)
class ScheduleFlags(ClusterFlags):
    """The flags of `speechmill schedule` that are no parameters of the pipeline."""

    name: str = setting("nightly", "name of the schedule; one of that name is replaced")
    cron: str = setting("0 0 2 * * *", "when: second, minute, hour, day, month, weekday; five fields: at second 0")

    def __post_init__(self) -> None:
        fields = self.cron.split()
        if len(fields) not in (5, 6) or not all(CRON.fullmatch(field) for field in fields):
            raise setting_error("cron", self.cron, "six fields (second first), such as '0 0 2 * * *' for 2 am each day")

    @property
    def cron_with_seconds(self) -> str:
        """Six fields: Kubeflow would read five as seconds, minutes, hours, ..."""
        return self.cron if len(self.cron.split()) == 6 else f"0 {self.cron}"


def submit(argv: Sequence[str]) -> None:
    """Upload the pipeline, start a run, follow it."""
    _command(SubmitFlags, _submit, "submit", "Start a run on Kubeflow Pipelines and follow it.", argv)


def schedule(argv: Sequence[str]) -> None:
    """Create or replace a recurring run."""
    description = "Let Kubeflow Pipelines retrain again and again: one run at a time, none for missed times."
    _command(ScheduleFlags, _schedule, "schedule", description, argv)


def _command(
    flags: type, work: Callable[[Any, dict[str, Any]], None], name: str, description: str, argv: Sequence[str]
) -> None:
    command(
        flags_class(retrain.pipeline_func, flags),
        lambda parsed: work(parsed, given_parameters(parsed, flags, argv)),
        prog=f"speechmill {name}",
        description=f"{description} Every parameter of the pipeline is a flag; those not given keep the defaults that "
        "the pipeline was compiled with.",
        argv=argv,
    )


def given_parameters(parsed: Any, flags: type, argv: Sequence[str]) -> dict[str, Any]:
    """The parameters that the command line names, with the types that the pipeline declares.

    The others are not sent: a default of the deployment would be overwritten by one of the code.
    """
    own = {field.name for field in dataclasses.fields(flags)}
    parameters = [field.name for field in dataclasses.fields(parsed) if field.name not in own]
    words = {word[2:].partition("=")[0].replace("-", "_") for word in argv if word.startswith("--")}
    named = words | {word[2:] for word in words if word.startswith("no") and word not in parameters}
    return {name: getattr(parsed, name) for name in parameters if name in named}


@contextmanager
def package(flags: ClusterFlags, parameters: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """The YAML to upload, and the pipeline's name: the one that looks for releases if `corpus_uri` is a pattern."""
    pipeline = nightly if is_watched(parameters.get("corpus_uri", "")) else retrain
    name = flags.pipeline_name or pipeline.pipeline_spec.pipeline_info.name
    if flags.pipeline:
        path = Path(flags.pipeline)
        if not path.is_file():
            raise InputError(f"--pipeline {path}: no such file: `speechmill compile` writes one")
        yield path, name
        return
    cluster = deployment.read(Path(flags.deployment)) if flags.deployment else None
    workers = parameters.get("train_workers", cluster.of("train").workers if cluster else 1)
    if workers > 1 and not parameters.get("checkpoint_uri"):
        raise InputError(
            f"--checkpoint_uri is missing: {workers} machines that train together hand back their work there"
        )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "pipeline.yaml")
        compiled.write(pipeline, path, flags.registry, cluster)
        yield path, name


def _submit(flags: SubmitFlags, parameters: dict[str, Any]) -> None:
    cluster, version, name = _upload(flags, parameters)
    run_name = flags.run_name or f"{name} {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S}"
    run_id = cluster.start(version, flags.experiment, run_name, parameters, flags.service_account)
    print(run_id, flush=True)
    if not flags.follow:
        return
    state = cluster.follow(run_id, tell, flags.poll_s, flags.timeout_s)
    if state == "RUNNING":
        raise RetryError(f"run {run_id} is still running after {flags.timeout_s:.0f} s: it goes on without me")
    if state not in SUCCEEDED:
        print(f"error: run {run_id} ended as {state}", file=sys.stderr)
        sys.exit(1)


def _schedule(flags: ScheduleFlags, parameters: dict[str, Any]) -> None:
    cluster, version, _ = _upload(flags, parameters)
    cron = flags.cron_with_seconds
    made, replaced = cluster.schedule(version, flags.experiment, flags.name, cron, parameters, flags.service_account)
    print(made, flush=True)
    tell(f"{'replaced' if replaced else 'created'} the schedule {flags.name}: {cron}")


def _upload(flags: ClusterFlags, parameters: dict[str, Any]) -> tuple[Cluster, Version, str]:
    with package(flags, parameters) as (path, name):
        cluster = Cluster(flags.endpoint, flags.namespace, flags.token_file, flags.ssl_ca_cert)
        version = cluster.upload(path, name)
    tell(f"{'uploaded' if version.new else 'there already:'} {name}, version {version.name}")
    return cluster, version, name
