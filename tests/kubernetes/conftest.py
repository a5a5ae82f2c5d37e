"""A namespace of the tests' own in the cluster that KUBECONFIG names, with an S3 server in it.

The images are built with docker and brought into the cluster by `kind load`, or by the command that the variable
SPEECHMILL_LOAD_IMAGE holds, with an image's name behind it.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.cluster.image_builds import find_client
from tests.kubernetes.kubectl import ROOT, Kubectl, load
from tests.kubernetes.pods import S3_SECRET

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a cluster."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)


@pytest.fixture(scope="session")
def kubectl() -> Iterator[Kubectl]:
    """The cluster, in a namespace that is gone afterwards."""
    if not os.environ.get("KUBECONFIG") or not shutil.which("kubectl"):
        pytest.skip("no Kubernetes: KUBECONFIG names none, or there is no kubectl")
    made = Kubectl(f"speechmill-test-{uuid.uuid4().hex[:8]}")
    made("create", "namespace", made.namespace)
    try:
        yield made
    finally:
        made("delete", "namespace", made.namespace, "--timeout=120s", check=False)


@pytest.fixture(scope="session")
def s3(kubectl: Kubectl) -> Iterator[str]:
    """A bucket in the cluster, `s3://BUCKET`, which this process reaches, too."""
    name = f"speechmill-test/s3:{version('moto')}"
    command = [find_client(), "build", "--quiet", "--build-arg", f"MOTO={version('moto')}", "--tag", name]
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    subprocess.run([*command, "--file", str(HERE / "s3.Dockerfile"), str(HERE)], env=environment, check=True)
    load(name)
    labels = {"app": "s3"}
    probe = {"tcpSocket": {"port": 9000}, "periodSeconds": 1}
    container = {"name": "s3", "image": name, "readinessProbe": probe}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "speechmill-s3"}, "stringData": S3_SECRET},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "s3", "labels": labels},
            "spec": {"containers": [container]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s3"},
            "spec": {"selector": labels, "ports": [{"port": 9000}]},
        },
    )
    kubectl("wait", "--for=condition=Ready", "pod/s3", "--timeout=120s")
    with kubectl.forward("s3", 9000) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
        for variable, value in {**S3_SECRET, "AWS_DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(variable, value)
        from speech.storage.objects import client

        client().create_bucket(Bucket="work")
        yield "s3://work"


@pytest.fixture(scope="session")
def trainer(kubectl: Kubectl) -> None:
    """What the deployment's README has applied to a cluster; skips where there is no Kubeflow Trainer."""
    if "trainjobs.trainer.kubeflow.org" not in kubectl("get", "crd", "--output", "name"):
        pytest.skip("this cluster has no Kubeflow Trainer")
    kubectl("create", "serviceaccount", "pipeline-runner")
    for name in ("runtime.yaml", "rbac.yaml"):
        kubectl("apply", "--filename", str(ROOT / "examples" / "deployments" / "trainer" / name))
