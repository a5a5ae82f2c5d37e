"""What the tests need of a Kubeflow Pipelines, taken from the environment; all that they make there is removed.

KFP_ENDPOINT      address of the API server; without it everything here is skipped
KFP_TEST_IMAGE    an image that the cluster can start, with sh and Python in it; without it the step image `publish`
KFP_DEPLOYMENT    deployment.toml of the cluster: registry, object store as pods see it, secret
KFP_IMAGES_LOADED 1: the cluster has the steps' images, or gets them from the deployment's registry
KFP_BUCKET        s3:// prefix that the demo may write below; AWS_* say how this machine reaches it
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import images
from pipelines.cluster import deployment
from tests.kubeflow.server import Kubeflow


@pytest.fixture(scope="session")
def kubeflow() -> Iterator[Kubeflow]:
    """The server that KFP_ENDPOINT names."""
    endpoint = os.environ.get("KFP_ENDPOINT", "")
    if not endpoint:
        pytest.skip("KFP_ENDPOINT is not set: `make test-kubeflow KFP_ENDPOINT=http://...`")
    place = Kubeflow(endpoint, os.environ.get("KFP_TEST_IMAGE") or _own_image())
    yield place
    place.remove_everything()


def _own_image() -> str:
    path = os.environ.get("KFP_DEPLOYMENT", "")
    registry = deployment.read(Path(path)).registry if path else ""
    return f"{registry}/{images.PUBLISH}" if registry else images.PUBLISH
