"""`speechmill submit` and `speechmill schedule`: the flags, and what is sent for them."""

import dataclasses
import os
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import yaml

from components.publish.releases import is_watched
from pipelines.cluster import compiled, deployment, refusals
from pipelines.cluster.api import KubeflowApi, PipelineVersion, tell
from pipelines.cluster.following import Ending, Following
from pipelines.cluster.nightly import nightly
from pipelines.local.revision import revision
from pipelines.local.screen import Screen
from pipelines.parameters import flags_class
from pipelines.retrain import retrain
from speech.errors import EXIT_INPUT, EXIT_RETRY, InputError, RetryError
from speech.settings import command, setting, setting_error
from speech.storage.corpus_uri import is_source, split_corpora

CRON = re.compile(r"[0-9*/,?LW#A-Za-z-]+")
REACHED_S = 5.0  # an object store that does not answer for longer cannot be asked from here


@dataclass(frozen=True)
class ClusterFlags:
    """Flags that `submit` and `schedule` share."""

    endpoint: str = setting(
        "",
        "address of Kubeflow Pipelines; empty: KF_PIPELINES_ENDPOINT, or the cluster around",
        group="Server",
        metavar="URL",
    )
    namespace: str = setting("", "namespace (profile) of a multi-user installation")
    token_file: str = setting("", "file with the bearer token, if the server wants one")
    ssl_ca_cert: str = setting("", "file with the certificates of a private authority", metavar="FILE")
    service_account: str = setting("", "Kubernetes service account of the run's pods")
    deployment: str = setting(
        "", "deployment.toml of the cluster; empty: one that suits most", group="Pipeline", metavar="FILE"
    )
    registry: str = setting("", "registry in front of the images' names; empty: the deployment's")
    pipeline: str = setting("", "compiled YAML to submit; empty: what the code compiles to now", metavar="FILE")
    pipeline_name: str = setting("", "name of the pipeline on the server; empty: the pipeline's own")
    experiment: str = setting("speechmill", "experiment of the run")


@dataclass(frozen=True)
class SubmitFlags(ClusterFlags):
    """The flags of `speechmill submit` that are no parameters of the pipeline."""

    GROUPS: ClassVar[tuple[str, ...]] = ("Server", "Pipeline", "Run")

    run_name: str = setting("", "name of the run; empty: the pipeline's, and the time", group="Run")
    follow: bool = setting(True, "wait for the end; the exit code says how the run ended")
    attempts: int = setting(
        3, "how often in all the steps that fail are tried, while it is followed; a wrong input once"
    )
    retry_wait_s: float = setting(30.0, "time before the second attempt; doubled for each further one", unit="s")
    poll_s: float = setting(10.0, "time between questions", unit="s")
    timeout_s: float = setting(0.0, "stop following after this time, with exit code 75; 0: never", unit="s")

    def __post_init__(self) -> None:
        if self.poll_s <= 0 or self.timeout_s < 0 or self.retry_wait_s < 0:
            raise InputError("--poll_s is above 0, --timeout_s and --retry_wait_s 0 or more")
        if self.attempts < 1:
            raise setting_error("attempts", self.attempts, "1 or more; 1: nothing is tried again")


@dataclass(frozen=True)
class ScheduleFlags(ClusterFlags):
    """The flags of `speechmill schedule` that are no parameters of the pipeline."""

    GROUPS: ClassVar[tuple[str, ...]] = ("Server", "Pipeline", "Schedule")

    name: str = setting("nightly", "name of the schedule; one of that name is replaced", group="Schedule")
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
        flags_class(flags),
        lambda parsed: work(parsed, given_parameters(parsed, flags, argv)),
        prog=f"speechmill {name}",
        description=f"{description} Every parameter of the pipeline is a flag; those not given keep the defaults that "
        "the pipeline was compiled with.",
        usage="--endpoint URL --corpus_uri URI",
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


@dataclass(frozen=True)
class PipelinePackage:
    """What is uploaded."""

    path: Path
    name: str  # of the pipeline on the server
    parameters: dict[str, Any]  # of the run
    has_revision: bool  # the pipeline has a parameter for what the corpus is now


@contextmanager
def package(flags: ClusterFlags, parameters: dict[str, Any]) -> Iterator[PipelinePackage]:
    """The YAML to upload: that of the pipeline which looks for releases if `corpus_uri` is a pattern.

    Raises InputError for all that can be refused without the server.
    """
    pipeline = nightly if is_watched(parameters.get("corpus_uri", "")) else retrain
    name = flags.pipeline_name or pipeline.pipeline_spec.pipeline_info.name
    parameters = refusals.without_limits(parameters)
    with tempfile.TemporaryDirectory() as scratch:
        if flags.pipeline:
            path, cluster = Path(flags.pipeline), None
            if not path.is_file():
                raise InputError(f"--pipeline {path}: no such file: `speechmill compile` writes one")
        else:
            path = Path(scratch, "pipeline.yaml")
            cluster = deployment.read(Path(flags.deployment)) if flags.deployment else deployment.unknown_cluster()
            if url := parameters.get("notify_url"):
                cluster = dataclasses.replace(cluster, notify=dataclasses.replace(cluster.notify, url=url))
            compiled.write(pipeline, path, flags.registry, cluster)
        spec = _spec(path)
        refusals.check(spec, parameters, cluster)
        yield PipelinePackage(path, name, parameters, "corpus_revision" in refusals.declared(spec))


def _spec(path: Path) -> dict[str, Any]:
    try:
        spec = next(yaml.load_all(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        return spec if spec["root"] else {}
    except (yaml.YAMLError, UnicodeDecodeError, StopIteration, KeyError, TypeError) as error:
        raise InputError(f"--pipeline {path}: no compiled pipeline: `speechmill compile` writes one") from error


def _submit(flags: SubmitFlags, arguments: dict[str, Any]) -> None:
    with package(flags, arguments) as packed:
        parameters = _with_revision(packed.parameters) if packed.has_revision else packed.parameters
        cluster, version = _upload(flags, packed)
    run_name = flags.run_name or f"{packed.name} {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S}"
    run_id = cluster.start(version, flags.experiment, run_name, parameters, flags.service_account)
    print(run_id, flush=True)
    tell(f"run: {cluster.address(run_id)}")
    if not flags.follow:
        return
    screen = Screen()
    following = Following(cluster, run_id, screen, flags.poll_s, flags.timeout_s, flags.attempts, flags.retry_wait_s)
    ending = following.to_the_end()
    if ending.state == "RUNNING":
        raise RetryError(f"run {run_id} is still running after {flags.timeout_s:.0f} s: it goes on without me")
    if ending.exit_code:
        print(f"error: {_told(ending, cluster.address(run_id))}", file=sys.stderr, flush=True)
        sys.exit(ending.exit_code)


def _told(ending: Ending, address: str) -> str:
    """How a run ended badly, in one line."""
    advice = {EXIT_INPUT: " (wrong input: nothing is tried again)", EXIT_RETRY: " (it may work later)"}
    whys = "; ".join(map(str, ending.failures)) or ending.error or "nobody said why"
    if ending.state == "CANCELED":
        return f"the run was canceled: {address}"
    return f"the run failed{advice.get(ending.exit_code, '')}: {whys}: {address}"


def _with_revision(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with what the corpus is now, so that a changed one is not taken from the cache.

    Raises InputError if nothing is there.
    """
    uri = parameters.get("corpus_uri", "")
    if not all(map(is_source, split_corpora(uri))) or is_watched(uri) or parameters.get("corpus_revision"):
        return parameters
    try:
        _check_reachable()
        current = revision(uri)
    except (InputError, RetryError) as error:
        tell(
            f"corpus_revision is unknown, and so a cached import of this name counts, even of another content: {error}"
        )
        return parameters
    if not current:
        raise InputError(f"--corpus_uri {uri}: nothing is there")
    return parameters | {"corpus_revision": current}


def _check_reachable() -> None:
    """Raise RetryError at once if the object store's address is one that this machine does not reach."""
    address = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", ""))
    if address.hostname:
        try:
            port = address.port or (443 if address.scheme == "https" else 80)
            socket.create_connection((address.hostname, port), REACHED_S).close()
        except OSError as error:
            raise RetryError(f"{address.geturl()} does not answer here: {error}") from error


def _schedule(flags: ScheduleFlags, parameters: dict[str, Any]) -> None:
    with package(flags, parameters) as packed:
        cluster, version = _upload(flags, packed)
    cron = flags.cron_with_seconds
    schedule = cluster.schedule(version, flags.experiment, flags.name, cron, packed.parameters, flags.service_account)
    print(schedule.schedule_id, flush=True)
    tell(f"{'replaced' if schedule.replaced else 'created'} the schedule {flags.name}: {cron}")
    uri = packed.parameters.get("corpus_uri", "")
    if uri and not is_watched(uri):
        tell(f"note: {uri} is one release, which later runs find in the cache; s3://BUCKET/PREFIX/ names all that come")
    for run_id in schedule.still_running:
        tell(f"a run of the replaced schedule goes on: {cluster.address(run_id)}")


def _upload(flags: ClusterFlags, packed: PipelinePackage) -> tuple[KubeflowApi, PipelineVersion]:
    cluster = KubeflowApi(flags.endpoint, flags.namespace, flags.token_file, flags.ssl_ca_cert)
    version = cluster.upload(packed.path, packed.name)
    tell(f"{'uploaded' if version.new else 'there already:'} {packed.name}, version {version.name}")
    return cluster, version
