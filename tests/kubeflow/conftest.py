"""What the tests need of a Kubeflow Pipelines, taken from the environment; all that they make there is removed.

KFP_ENDPOINT      address of the API server; without it everything here is skipped
KFP_TEST_IMAGE    an image that the cluster can start, with sh and Python in it; without it the step image `publish`
KFP_DEPLOYMENT    deployment.toml of the cluster: registry, object store as pods see it, secret
KFP_IMAGES_LOADED 1: the cluster has the steps' images, or gets them from the deployment's registry
KFP_BUCKET        s3:// prefix that the demo may write below; AWS_* say how this machine reaches it
KFP_RECEIVER      this machine's address as pods see it; without it, the one from which it reaches KFP_ENDPOINT
"""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import images
from pipelines.cluster import deployment
from speech.storage.objects import client, split_uri, upload_file
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


@pytest.fixture(scope="module")
def place(kubeflow: Kubeflow) -> Iterator[str]:
    """An s3:// prefix of this file's own, emptied afterwards."""
    needed = ("KFP_IMAGES_LOADED", "KFP_DEPLOYMENT", "KFP_BUCKET")
    if missing := [name for name in needed if not os.environ.get(name)]:
        pytest.skip(f"{', '.join(missing)} not set: see tests/kubeflow/conftest.py")
    prefix = f"{os.environ['KFP_BUCKET'].rstrip('/')}/{kubeflow.name}"
    yield prefix
    bucket, key = split_uri(f"{prefix}/")
    for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
        for item in page.get("Contents", ()):
            client().delete_object(Bucket=bucket, Key=item["Key"])


@pytest.fixture(scope="module")
def corpus(place: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo corpus as an archive in object storage."""
    path = tmp_path_factory.mktemp("corpus") / "cv-corpus-1.0-2026-01-01-en.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(images.ROOT / "examples" / "cv-corpus-demo" / "en", "cv-corpus-1.0-2026-01-01/en")
    upload_file(path, f"{place}/{path.name}")
    return f"{place}/{path.name}"
