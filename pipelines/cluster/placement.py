"""Put a deployment into a pipeline: resources, secrets, volumes, retries and names of its tasks."""

import functools
import inspect
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl import pipeline_channel, pipeline_context

from components.publish.component import notify
from components.train.settings import LAUNCHER_VARIABLE
from pipelines.cluster.deployment import NO_LIMIT, Deployment, StepPlacement
from pipelines.parameters import of
from pipelines.shape import Shape, shaped
from speech.errors import SCRATCH_VARIABLE
from speech.notification.webhook import TOKEN_VARIABLE, URL_VARIABLE

PARAMETERS = ("gpu_type", "gpus", "cpu", "memory")  # of the training: parameters train_gpu_type, ...
LAUNCHER = StepPlacement(cpu="1", memory="2Gi")  # what it takes to wait for machines that train
PLACED_AS = {
    "evaluate_openvino": "evaluate",
    "import_part": "import_cv",
}  # steps that a deployment.toml knows by another's name
READS_CORPORA = ("find_release", "import_cv")
CORPUS_VARIABLES = ("SPEECHMILL_BEARER_TOKEN", "SPEECHMILL_GS_ACCESS_KEY_ID", "SPEECHMILL_GS_SECRET_ACCESS_KEY")
UNCACHED = ("publish", "notify")  # what is there already decides, and is no input: a champion may have been rolled back
DISPLAY_NAMES = {  # short enough for the boxes of the graph in the user interface
    "find_release": "Look for a new release",
    "import_cv": "Import the corpus",
    "import_part": "Import a part",
    "merge_corpus": "Merge the corpus",
    "train": "Train",
    "freeze": "Freeze the graph",
    "convert_mmap": "Convert to pbmm",
    "convert_tflite": "Convert to TFLite",
    "convert_openvino": "Convert to OpenVINO",
    "build_scorer": "Build the scorer",
    "evaluate": "Evaluate",
    "evaluate_openvino": "Evaluate the IR",
    "publish": "Publish",
    "notify": "Tell how it ended",
}


def deployed(pipeline: Any, deployment: Deployment) -> Any:
    """The same pipeline with its tasks placed on a cluster.

    The defaults of the parameters `train_workers`, `train_gpu_type`, `train_gpus`, `train_cpu` and `train_memory` are
    the deployment's.
    """
    function = pipeline.pipeline_func
    signature = _with_defaults(inspect.signature(function), deployment)

    @functools.wraps(function)
    def placed(*arguments: Any, **named: Any) -> Any:
        parameters = signature.bind(*arguments, **named).arguments
        with shaped(Shape(deployment.of("import_cv").workers, deployment.of("train").streams)):
            with _told(deployment, parameters):
                function(*arguments, **named)
        current = pipeline_context.Pipeline.get_default_pipeline()
        for task in current.tasks.values():
            place(task, deployment, parameters)

    placed.__signature__ = signature  # type: ignore[attr-defined]
    described = pipeline.pipeline_spec.pipeline_info
    return dsl.pipeline(name=described.name, display_name=described.display_name or None)(placed)


def _told(deployment: Deployment, parameters: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Put a last step behind those within that tells how they ended, whatever their end, if somebody is to be told."""
    if not deployment.notify.is_on:
        return nullcontext()
    telling = notify(
        **of(notify, parameters),
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        run_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        kubeflow_api=deployment.notify.api,
        kubeflow_page=deployment.notify.page,
    )
    return dsl.ExitHandler(telling, name="steps")


def _with_defaults(signature: inspect.Signature, deployment: Deployment) -> inspect.Signature:
    train = deployment.of("train")
    defaults: dict[str, Any] = {f"train_{name}": str(getattr(train, name)) for name in PARAMETERS}
    defaults |= {name: NO_LIMIT for name in ("train_cpu", "train_memory") if not defaults[name]}
    defaults["train_workers"] = train.workers
    defaults |= {"notify_url": deployment.notify.url, "notify_format": deployment.notify.format}
    parameters = [
        parameter.replace(default=defaults.get(name) or parameter.default)
        for name, parameter in signature.parameters.items()
    ]
    return signature.replace(parameters=parameters)


def place(task: Any, deployment: Deployment, parameters: Mapping[str, Any]) -> None:
    """Set all that a deployment says about one task."""
    step = re.sub(r"-\d+$", "", task.name).replace("-", "_")
    if step in DISPLAY_NAMES:
        task.set_display_name(DISPLAY_NAMES[step])
    if step in UNCACHED:
        task.set_caching_options(False)
    step = PLACED_AS.get(step, step)
    placement = deployment.of(step)
    if step == "train" and (placement.workers > 1 or placement.trainer):
        _resources(task, LAUNCHER, {})
        task.set_env_variable(LAUNCHER_VARIABLE, "1")
    else:
        _resources(task, placement, parameters if step == "train" else {})
    _volumes(task, placement)
    _rules(task, deployment, placement)
    _environment(task, step, deployment, placement)
    if step == "notify" and deployment.notify.secret:
        keys = {deployment.notify.url_key: URL_VARIABLE, deployment.notify.token_key: TOKEN_VARIABLE}
        kubernetes.use_secret_as_env(task, deployment.notify.secret, keys, optional=True)


def _resources(task: Any, placement: StepPlacement, parameters: Mapping[str, Any]) -> None:
    chosen = {name: parameters.get(f"train_{name}", getattr(placement, name)) for name in PARAMETERS}
    if chosen["cpu"]:
        task.set_cpu_limit(chosen["cpu"])
    if chosen["memory"]:
        task.set_memory_limit(chosen["memory"])
    if chosen["gpus"] and chosen["gpu_type"]:
        task.set_accelerator_type(chosen["gpu_type"])  # without a type the limit would give no GPU
        task.set_accelerator_limit(chosen["gpus"])
    # kfp forgets to pass what only resources name into the sub-DAG of a condition
    known = {channel.pattern for channel in task.channel_inputs}
    channels = [value for value in chosen.values() if isinstance(value, pipeline_channel.PipelineChannel)]
    task._channel_inputs += [channel for channel in channels if channel.pattern not in known]


def _volumes(task: Any, placement: StepPlacement) -> None:
    if placement.shm:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=placement.shm)
    scratch = placement.scratch
    if not (scratch.size or scratch.claim):
        return
    if scratch.claim:
        kubernetes.mount_pvc(task, scratch.claim, scratch.mount_path)
    elif scratch.storage_class:
        kubernetes.add_ephemeral_volume(
            task,
            "scratch",
            scratch.mount_path,
            access_modes=["ReadWriteOnce"],
            size=scratch.size,
            storage_class_name=scratch.storage_class,
        )
    else:
        kubernetes.empty_dir_mount(task, "scratch", scratch.mount_path, size_limit=scratch.size)
    # Not TMPDIR: kfp's own wrapper writes there before the step could say that it must not.
    task.set_env_variable(SCRATCH_VARIABLE, scratch.mount_path)


def _rules(task: Any, deployment: Deployment, placement: StepPlacement) -> None:
    for key, value in placement.node_selectors.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in placement.tolerations:
        fields = ("key", "operator", "value", "effect")
        kubernetes.add_toleration(task, **{name: getattr(toleration, name) or None for name in fields})
    if placement.timeout_s:
        kubernetes.set_timeout(task, placement.timeout_s)
    if placement.retries:
        task.set_retry(
            placement.retries,
            placement.backoff_duration,
            placement.backoff_factor,
            placement.backoff_max_duration,
        )
    if deployment.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(deployment.image_pull_secrets))
    if deployment.image_pull_policy:
        kubernetes.set_image_pull_policy(task, deployment.image_pull_policy)
    if deployment.run_as_user >= 0:
        kubernetes.set_security_context(task, run_as_user=deployment.run_as_user)


def _environment(task: Any, step: str, deployment: Deployment, placement: StepPlacement) -> None:
    ca = deployment.ca_bundle
    env = {**deployment.env, **placement.env}
    if ca.config_map:
        kubernetes.use_config_map_as_volume(task, ca.config_map, ca.mount_path)
        bundle = f"{ca.mount_path}/{ca.file}"
        env = {"AWS_CA_BUNDLE": bundle, "SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, **env}
    for name, value in sorted(env.items()):
        task.set_env_variable(name, value)
    s3 = deployment.s3
    if s3.secret:
        keys = {s3.access_key: "AWS_ACCESS_KEY_ID", s3.secret_key: "AWS_SECRET_ACCESS_KEY"}
        if s3.session_token:
            keys[s3.session_token] = "AWS_SESSION_TOKEN"
        kubernetes.use_secret_as_env(task, s3.secret, keys, optional=s3.optional)
    if deployment.corpus.secret and step in READS_CORPORA:
        keys = {name: name for name in CORPUS_VARIABLES}
        kubernetes.use_secret_as_env(task, deployment.corpus.secret, keys, optional=True)
