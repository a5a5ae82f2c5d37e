"""Pods like those of Kubeflow Pipelines 2.17: same user, same security context, same way to the object store."""

from collections.abc import Mapping, Sequence
from typing import Any

S3_SECRET = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(image: str, command: Sequence[str], name: str = "main", **env: str) -> dict[str, Any]:
    """A step's container, with a folder /work that all containers of its pod share."""
    variables = {"AWS_ENDPOINT_URL": "http://s3:9000", "AWS_DEFAULT_REGION": "us-east-1", **env}
    secrets = [{"name": key, "valueFrom": {"secretKeyRef": {"name": "speechmill-s3", "key": key}}} for key in S3_SECRET]
    return {
        "name": name,
        "image": image,
        "command": list(command),
        "env": [*({"name": key, "value": value} for key, value in variables.items()), *secrets],
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "work", "mountPath": "/work"}],
    }


def pod(
    name: str,
    containers: Sequence[dict[str, Any]],
    owner: Mapping[str, Any] | None = None,
    volumes: Sequence[dict[str, Any]] = (),
    service_account: str = "default",
) -> dict[str, Any]:
    """A pod whose containers run one after another."""
    owners = [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], **_identity(owner)}] if owner else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "ownerReferences": owners},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": service_account,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": list(containers[:-1]),
            "containers": [containers[-1]],
            "volumes": [{"name": "work", "emptyDir": {}}, *volumes],
        },
    }


def _identity(thing: Mapping[str, Any]) -> dict[str, str]:
    return {"name": thing["metadata"]["name"], "uid": thing["metadata"]["uid"]}
