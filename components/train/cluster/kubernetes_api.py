"""The few calls to the Kubernetes API that training on several machines needs, as the pod's own service account."""

import json
import os
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.train.cluster.jobs import API_VERSION
from speech.errors import InputError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # where Kubernetes mounts it into every pod
TRAIN_JOBS = f"/apis/{API_VERSION}/namespaces/{{}}/trainjobs"
WORKFLOWS = "/apis/{api}/namespaces/{}/workflows"
PODS = "/api/v1/namespaces/{}/pods"
TIMEOUT_S = 10.0  # short, because a pod that is told to stop has 30 s


class ApiError(Exception):
    """What the API server answers instead of a result."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def temporary(self) -> bool:
        """Whether asking again may help: no answer at all (0), too many questions, or a server in trouble."""
        return self.status in (0, 429) or self.status >= 500


@dataclass(frozen=True)
class KubernetesApi:
    """The API server, and the namespace that this pod is in."""

    url: str
    namespace: str
    credentials: Path  # folder with `token` and `ca.crt`

    @classmethod
    def of_this_pod(cls) -> "KubernetesApi":
        """Where this process runs; raises InputError outside of Kubernetes."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        namespace = SERVICE_ACCOUNT / "namespace"
        if not host or not namespace.is_file():
            raise InputError(
                "train_workers: several machines are started by the Kubeflow Trainer, and this process is in no pod of "
                "Kubernetes: leave it at 1 here (`--devices` takes several GPUs of one machine)"
            )
        address = f"[{host}]" if ":" in host else host
        return cls(f"https://{address}:{port}", namespace.read_text(encoding="utf-8").strip(), SERVICE_ACCOUNT)

    def create_job(self, job: dict[str, Any]) -> None:
        """Create a TrainJob."""
        self._json("POST", TRAIN_JOBS.format(self.namespace), body=job)

    def job(self, name: str) -> dict[str, Any] | None:
        """A TrainJob; None if there is none of this name."""
        try:
            return self._json("GET", f"{TRAIN_JOBS.format(self.namespace)}/{name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def own_job(self, job: dict[str, Any], owners: list[dict[str, Any]]) -> None:
        """Have a TrainJob belong to `owners` and nobody else; ApiError 409 if it has changed since it was read."""
        metadata = job["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "ownerReferences": owners}}
        self._json("PATCH", f"{TRAIN_JOBS.format(self.namespace)}/{metadata['name']}", body=patch)

    def delete_job(self, name: str, uid: str = "") -> None:
        """Delete a TrainJob and its pods, only the one with this uid if given; one that is gone already is no error."""
        only = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}} if uid else None
        try:
            self._json("DELETE", f"{TRAIN_JOBS.format(self.namespace)}/{name}", body=only)
        except ApiError as error:
            if error.status != 404:
                raise

    def own_pod(self) -> dict[str, Any]:
        """The pod that this process is in."""
        name = os.environ.get("KFP_POD_NAME") or socket.gethostname()
        return self._json("GET", f"{PODS.format(self.namespace)}/{name}")

    def run_ends(self, workflow: dict[str, Any]) -> bool:
        """Whether a run of the pipeline is being terminated, or is deleted."""
        path = WORKFLOWS.format(self.namespace, api=workflow["apiVersion"])
        try:
            run = self._json("GET", f"{path}/{workflow['name']}")
        except ApiError as error:
            if error.status == 404:
                return True
            raise
        spec, metadata = run["spec"], run["metadata"]
        terminated = spec.get("shutdown") or spec.get("activeDeadlineSeconds") == 0  # of Argo; of Kubeflow Pipelines
        return bool(terminated or metadata.get("deletionTimestamp") or metadata["uid"] != workflow["uid"])

    def pods_of(self, job: str) -> list[dict[str, Any]]:
        """The pods of a TrainJob, whose JobSet has the same name."""
        query = {"labelSelector": f"jobset.sigs.k8s.io/jobset-name={job}"}
        return self._json("GET", PODS.format(self.namespace), query).get("items", [])

    def log(self, pod: str, container: str, **query: str) -> str:
        """What a container of a pod has printed."""
        query["container"] = container
        return self._call("GET", f"{PODS.format(self.namespace)}/{pod}/log", query).decode("utf-8", errors="replace")

    def _json(
        self, method: str, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return json.loads(self._call(method, path, query, body))

    def _call(
        self, method: str, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> bytes:
        token = (self.credentials / "token").read_text(encoding="utf-8").strip()  # Kubernetes renews the file hourly
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        address = self.url + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode("utf-8")
        request = urllib.request.Request(address, data, headers, method=method)
        authority = ssl.create_default_context(cafile=str(self.credentials / "ca.crt"))
        # The API server is inside the cluster: no proxy leads there.
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=authority)
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, _message(error.read(), error.reason)) from error
        except OSError as error:  # URLError and timeouts, too
            raise ApiError(0, str(getattr(error, "reason", error))) from error


def _message(body: bytes, reason: str) -> str:
    """The message of a Status object, in one line."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", errors="replace") or reason
    return " ".join(str(message).split())
