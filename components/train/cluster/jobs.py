"""The TrainJob of a training on several machines: what the Kubeflow Trainer (2.2 or newer) is asked to start.

Its pods are copies of the pod that asks for them: the same image, environment, volumes and rules of placement, so that
whatever a deployment says of the train step holds for every node. Kubeflow's own parts of that pod stay behind.
Schema: https://trainer.kubeflow.org, `trainer.kubeflow.org/v1alpha1`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.train.settings import LAUNCHER_VARIABLE
from speech.errors import InputError

API_GROUP = "trainer.kubeflow.org"
API_VERSION = f"{API_GROUP}/v1alpha1"
FILES = "examples/deployments/trainer"  # what has to be applied to a cluster, in the repository
RUNTIME = "speechmill-train"  # the TrainingRuntime in runtime.yaml there
NODE = "node"  # its replicated job, and the container in it: names that the Trainer prescribes
PORT = 2222
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
WORKERS_VARIABLE = "SPEECHMILL_WORKERS"  # read by speech/nn/devices.py
OF_THE_STEP = ("ARGO_", "KFP_", "KUBERNETES_", "NAMESPACE", LAUNCHER_VARIABLE)
OF_THE_POD = (
    "/var/run/secrets/kubernetes.io/",
    "/var/run/argo/",
    "/argo/",
    "/kfp-launcher/",
    "/gcs/",
    "/s3/",
    "/minio/",
)


@dataclass(frozen=True)
class Nodes:
    """How many machines, and what each has: quantities of Kubernetes, empty where there is no limit."""

    count: int = 1
    gpu_type: str = ""
    gpus: str = "0"
    cpu: str = ""
    memory: str = ""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"train_workers {self.count} is not allowed: at least 1")
        if not self.gpus.isdigit():
            raise InputError(f"train_gpus {self.gpus!r} is not allowed: a number, 0 for none")

    @property
    def has_gpus(self) -> bool:
        """Whether the nodes are to compute on GPUs."""
        return int(self.gpus) > 0

    @property
    def resources(self) -> dict[str, Any]:
        """The limits of a node's container."""
        limits = {"cpu": self.cpu, "memory": self.memory, self.gpu_type: self.gpus if self.has_gpus else ""}
        return {"limits": {name: value for name, value in limits.items() if name and value not in ("", "0")}}


def name_of(checkpoint_uri: str) -> str:
    """The TrainJob's name: whoever trains towards the same checkpoints finds the same job."""
    return f"speechmill-{hashlib.sha256(checkpoint_uri.encode()).hexdigest()[:16]}"


def addresses(name: str, count: int) -> list[str]:
    """The workers' HOST:PORT, by the names that JobSet gives its pods; the first is the chief."""
    return [f"{name}-{NODE}-0-{number}.{name}:{PORT}" for number in range(count)]


def train_job(name: str, nodes: Nodes, arguments: Sequence[str], pod: dict[str, Any]) -> dict[str, Any]:
    """The TrainJob that runs `python ARGUMENTS` on every node, in copies of `pod`.

    It belongs to the workflow that the pod belongs to: with the run of the pipeline, the job is deleted.
    """
    spec = pod["spec"]
    container = main_container(spec)
    workers = {"name": WORKERS_VARIABLE, "value": ",".join(addresses(name, nodes.count))}
    owners = owners_of(pod)
    patch = {"name": NODE, "template": {"spec": {"template": {"spec": _pod_patch(spec, container)}}}}
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainJob",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/part-of": "speechmill"},
            **({"ownerReferences": owners} if owners else {}),
        },
        "spec": {
            "runtimeRef": {"apiGroup": API_GROUP, "kind": "TrainingRuntime", "name": RUNTIME},
            "trainer": {
                "image": container["image"],
                "command": ["python"],
                "args": list(arguments),
                "env": [*_environment(container), workers],
                "numNodes": nodes.count,
                "resourcesPerNode": nodes.resources,
            },
            "runtimePatches": [
                {
                    "manager": "speechmill/train",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [patch]}}},
                }
            ],
        },
    }


def owners_of(thing: dict[str, Any]) -> list[dict[str, Any]]:
    """The workflows that a pod or a TrainJob belongs to, as what belongs to them names them."""
    return [
        {field: owner[field] for field in ("apiVersion", "kind", "name", "uid")}
        for owner in thing["metadata"].get("ownerReferences", [])
        if owner["kind"] == "Workflow"
    ]


def main_container(spec: dict[str, Any]) -> dict[str, Any]:
    """The container that the step itself runs in; Argo calls it main."""
    containers = spec["containers"]
    return next((container for container in containers if container["name"] == "main"), containers[0])


def _environment(container: dict[str, Any]) -> list[dict[str, Any]]:
    """By name, as a TrainJob takes none twice; of a name that a container has twice, the last one counts."""
    variables = {variable["name"]: variable for variable in container.get("env", [])}
    return [variable for name, variable in variables.items() if not name.startswith(OF_THE_STEP)]


def _pod_patch(spec: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    """What the runtime's pods take over, as far as a TrainJob may say it."""
    mounts = [
        mount for mount in container.get("volumeMounts", []) if not f"{mount['mountPath']}/".startswith(OF_THE_POD)
    ]
    mounted = {mount["name"] for mount in mounts}
    node = {"name": NODE, "volumeMounts": mounts, "securityContext": container.get("securityContext")}
    patch = {
        "serviceAccountName": spec.get("serviceAccountName"),
        "volumes": [volume for volume in spec.get("volumes", []) if volume["name"] in mounted],
        "containers": [{name: value for name, value in node.items() if value}],
        **{
            name: spec.get(name)
            for name in ("imagePullSecrets", "securityContext", "nodeSelector", "affinity", "tolerations")
        },
    }
    return {name: value for name, value in patch.items() if value}
