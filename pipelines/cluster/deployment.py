"""How the steps are placed on a cluster: what `deployment.toml` may say, read at compile time.

What a run may choose anew (GPUs, CPU and memory of the training) becomes the default of a pipeline parameter; the rest
is fixed in the compiled pipeline, because Kubeflow Pipelines takes no parameters there.
"""

import dataclasses
import difflib
import re
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import images
from speech.errors import InputError
from speech.notification import message
from speech.notification.message import BY_ADDRESS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = "default"  # the table [steps.default], which every step takes its values from
STEPS = (
    "find_release", "import_cv", "merge_corpus", "train", "freeze", "convert_mmap", "convert_tflite",
    "convert_openvino", "build_scorer", "evaluate", "publish", "notify",
)  # fmt: skip
NO_LIMIT = "0"  # what Kubernetes calls a limit that is none; Kubeflow's driver takes no empty text for one
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]i?)?")
DURATION = re.compile(r"\d+[smh]")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
SECRET_WORDS = ("SECRET", "PASSWORD", "TOKEN", "ACCESS_KEY", "CREDENTIAL")


@dataclass(frozen=True)
class Toleration:
    """A taint that a step's pod bears; empty fields say nothing."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


@dataclass(frozen=True)
class Scratch:
    """Disk for temporary files: of the node, or with a storage class a volume as long-lived as the pod."""

    size: str = ""  # empty: none
    storage_class: str = ""
    claim: str = ""  # instead: an existing PersistentVolumeClaim
    mount_path: str = "/scratch"
    writable: bool = False  # the storage class gives volumes that the images' user 65532 may write to


@dataclass(frozen=True)
class StepPlacement:
    """Resources and rules of one step."""

    cpu: str = ""  # limit, a Kubernetes quantity; empty: none
    memory: str = ""
    gpu_type: str = ""  # name of the resource, such as nvidia.com/gpu or nvidia.com/mig-1g.10gb
    gpus: int = 0
    # of the training: machines, each with these resources; the step's own pod only starts them. Of the import: pods,
    # each of which imports a part of the corpus
    workers: int = 1
    trainer: bool = False  # of the training: the same with one machine, whose pod has time to save when it has to go
    streams: bool = False  # of the training: it reads its clips from the pipeline's root itself, as its [s3] lets it
    shm: str = ""  # size of /dev/shm; empty: the 64 MB that a pod has
    scratch: Scratch = Scratch()
    node_selectors: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    timeout_s: int = 0  # of one attempt; 0: none
    retries: int = 0
    backoff_duration: str = "60s"
    backoff_factor: float = 2.0  # a whole number: Argo reads no other
    backoff_max_duration: str = "168h"  # counted from the first attempt: must exceed the step's own duration
    env: dict[str, str] = field(default_factory=dict)
    image: str = ""  # such as evaluate-ds-ctcdecoder; empty: the step's own, or train-gpu with gpus


@dataclass(frozen=True)
class S3:
    """The Kubernetes secret with the credentials, and what its keys are called; no secret: the pod's own identity."""

    secret: str = ""
    access_key: str = "AWS_ACCESS_KEY_ID"
    secret_key: str = "AWS_SECRET_ACCESS_KEY"
    session_token: str = ""
    optional: bool = False  # start the step also where there is no such secret


@dataclass(frozen=True)
class CorpusSecret:
    """The Kubernetes secret with what a corpus is fetched with from web servers and Google's store.

    Its keys are called like the variables, and those that it lacks are no error.
    """

    secret: str = ""


@dataclass(frozen=True)
class CaBundle:
    """A ConfigMap with the certificates of a private authority, mounted and named to every client."""

    config_map: str = ""
    file: str = "ca.crt"
    mount_path: str = "/etc/speechmill/ca"


@dataclass(frozen=True)
class Messages:
    """Who is told how a run ended, whatever its end; one step more, behind all others. Nobody without url and secret.

    The address of a chat's webhook lets everybody write there, and a compiled pipeline can be read: rather a secret.
    """

    url: str = ""  # the default of the parameter notify_url
    secret: str = ""  # a Kubernetes secret that holds the address, and perhaps a bearer token
    url_key: str = "url"
    token_key: str = "token"
    format: str = BY_ADDRESS
    api: str = "http://ml-pipeline:8888"  # of Kubeflow Pipelines, seen from the run's pods
    page: str = ""  # of Kubeflow Pipelines for people, such as https://kubeflow.example.org/pipeline

    @property
    def is_on(self) -> bool:
        """Whether the pipeline has the step."""
        return bool(self.url or self.secret)


@dataclass(frozen=True)
class Deployment:
    """One cluster."""

    registry: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    image_pull_policy: str = ""
    run_as_user: int = -1  # -1: what the image says (65532)
    s3: S3 = S3()
    corpus: CorpusSecret = CorpusSecret()
    ca_bundle: CaBundle = CaBundle()
    notify: Messages = Messages()
    env: dict[str, str] = field(default_factory=dict)
    steps: dict[str, StepPlacement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, env in (("env", self.env), *((f"steps.{name}.env", step.env) for name, step in self.steps.items())):
            _check_no_secret(name, env)
        for name, step in self.steps.items():
            if name not in (*STEPS, DEFAULT):
                raise InputError(_unknown(f"steps.{name}", name, (*STEPS, DEFAULT)))
            _check_step(f"steps.{name}", step)
            _check_image(name, step.image)
            _check_scratch(f"steps.{name}.scratch", step.scratch, self.run_as_user)
        _check_volume("ca_bundle.config_map", self.ca_bundle.config_map)
        message.form_of(self.notify.url, self.notify.format)
        if self.image_pull_policy and self.image_pull_policy not in PULL_POLICIES:
            raise InputError(f"image_pull_policy = {self.image_pull_policy!r}: expected {', '.join(PULL_POLICIES)}")

    def of(self, step: str) -> StepPlacement:
        """The placement of a step."""
        return self.steps.get(step) or self.steps.get(DEFAULT) or StepPlacement()

    def image(self, step: str) -> str:
        """The image that stands in for the step's own; empty: none."""
        placement = self.of(step)
        return placement.image or ("train-gpu" if step == "train" and placement.gpus else "")


def unknown_cluster() -> Deployment:
    """What the pipeline is compiled for without a deployment.toml: credentials if there are any, and retries."""
    default = StepPlacement(retries=2)
    train = StepPlacement(cpu="2", memory="8Gi", gpu_type="nvidia.com/gpu", shm="2Gi", retries=5)
    return Deployment(s3=S3(secret="speechmill-s3", optional=True), steps={DEFAULT: default, "train": train})


def read(path: Path) -> Deployment:
    """Read a deployment.toml; raises InputError for what it may not say."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
        steps = table.get("steps", {})
        if isinstance(steps, dict) and DEFAULT in steps and all(isinstance(one, dict) for one in steps.values()):
            table["steps"] = {name: {**steps[DEFAULT], **settings} for name, settings in steps.items()}
        return _build(Deployment, table, "")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: expected a deployment.toml") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number of thousands of digits
        raise InputError(f"{path}: not TOML: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _build(kind: Any, table: Any, where: str) -> Any:
    """`table` as an instance of a dataclass, every value checked against its field's type."""
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a table")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in table.items():
        place = f"{where}.{name}".lstrip(".")
        if name not in hints:
            raise InputError(_unknown(place, name, hints))
        values[name] = _convert(hints[name], value, place)
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    if origin is dict and isinstance(value, dict):
        return {name: _convert(arguments[1], item, f"{where}.{name}") for name, item in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item, where) for item in value)
    plain = origin is None and not isinstance(hint, types.UnionType)
    if plain and (type(value) is hint or (hint is float and type(value) is int)):
        return value
    expected = {dict: "a table", tuple: "a list"}.get(origin or hint, getattr(hint, "__name__", str(hint)))
    raise InputError(f"{where} = {value!r}: expected {expected}")


def _unknown(where: str, name: str, known: typing.Iterable[str]) -> str:
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"{where} is unknown: " + (f"did you mean {nearest[0]}?" if nearest else f"expected {', '.join(known)}")


def _check_no_secret(where: str, env: dict[str, str]) -> None:
    """The compiled pipeline can be read by everybody who may see a run."""
    for name in env:
        if any(word in name.upper() for word in SECRET_WORDS):
            raise InputError(f"{where}.{name}: credentials belong into a Kubernetes secret, named in [s3]")


def _check_step(where: str, step: StepPlacement) -> None:
    for name in ("cpu", "memory", "shm"):
        _check_quantity(f"{where}.{name}", getattr(step, name))
    _check_quantity(f"{where}.scratch.size", step.scratch.size)
    _check_volume(f"{where}.scratch.claim", step.scratch.claim)
    if step.backoff_factor < 1 or not float(step.backoff_factor).is_integer():
        raise InputError(f"{where}.backoff_factor = {step.backoff_factor}: expected a whole number from 1 on")
    for name in ("backoff_duration", "backoff_max_duration"):
        if not DURATION.fullmatch(getattr(step, name)):
            raise InputError(f"{where}.{name} = {getattr(step, name)!r}: expected a duration such as 60s or 168h")
    if min(step.gpus, step.timeout_s, step.retries) < 0:
        raise InputError(f"{where}: gpus, timeout_s and retries are 0 or more")
    if step.gpus and not step.gpu_type:
        raise InputError(f'{where}: gpus without gpu_type give no GPU at all: add gpu_type = "nvidia.com/gpu"')
    if step.workers < 1 or (step.workers > 1 and where not in ("steps.import_cv", "steps.train")):
        raise InputError(
            f"{where}.workers = {step.workers}: 1 or more, and more than 1 only in steps.import_cv and steps.train"
        )
    if step.streams and where != "steps.train":
        raise InputError(f"{where}.streams: only in steps.train")
    if step.trainer and where != "steps.train":
        raise InputError(f"{where}.trainer: only steps.train can be a TrainJob")
    longest_s = _seconds(step.backoff_max_duration)
    if step.retries and step.timeout_s >= longest_s:
        raise InputError(
            f"{where}.backoff_max_duration {step.backoff_max_duration} is not longer than timeout_s {step.timeout_s}: "
            "it counts from the first attempt, so a step that ran that long would never be tried again"
        )


def _check_volume(where: str, name: str) -> None:
    """Kubeflow names the volume in the pod like what it holds, and names of volumes have no dots."""
    if name and not LABEL.fullmatch(name):
        raise InputError(f"{where} = {name!r}: expected a name of lower-case letters, digits and '-', at most 63")


def _check_scratch(where: str, scratch: Scratch, run_as_user: int) -> None:
    """A new volume of most classes is root's, and Kubeflow Pipelines has no way to ask for an fsGroup."""
    if scratch.storage_class and not scratch.writable and run_as_user != 0:
        raise InputError(
            f"{where}.storage_class = {scratch.storage_class!r}: its volumes most likely belong to root, and steps run "
            "as user 65532: take the node's disk (only `size`); a `claim` that is prepared; `writable = true` if the "
            "class gives volumes that everybody may write to, or an admission policy sets an fsGroup; or run_as_user "
            "= 0"
        )


def _check_image(step: str, image: str) -> None:
    variants = [name for name, of in images.VARIANTS.items() if of == step]
    if image and image not in variants:
        expected = " or ".join(variants) or f"nothing: only {', '.join(images.VARIANTS.values())} have other images"
        raise InputError(f"steps.{step}.image = {image!r}: expected {expected}")


def _check_quantity(where: str, value: str) -> None:
    if value and not QUANTITY.fullmatch(value):
        raise InputError(f"{where} = {value!r}: expected a Kubernetes quantity such as 4, 500m or 16Gi")


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]
