"""The jobs of examples/ci, with nothing but the plain `kfp` command, towards a real Kubeflow Pipelines."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.ci_jobs import JOBS, script_of
from tests.kubeflow import small_pipelines
from tests.kubeflow.server import Kubeflow

pytestmark = pytest.mark.kubeflow


def job(name: str, kubeflow: Kubeflow, folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    """The job's shell as it stands, but for the names of the pipeline and of the experiment."""
    script = re.sub(r"\bretrain\b(?!\.yaml)", f"{kubeflow.name}-ci", script_of(name))
    script = re.sub(r"-e speechmill\b", f"-e {kubeflow.name}", script)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KFP_ENDPOINT": kubeflow.endpoint,
        "VERSION": version,
        "CORPUS_URI": "s3://corpora/cv-corpus-17.0-2024-03-15-cy.tar.gz",
        "PUBLISH_URI": "s3://models/cy",
        "POLL_S": "1",
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    print(done.stdout, done.stderr)
    return done


@pytest.mark.parametrize("name", JOBS)
def test_they_upload_start_and_follow(name: str, kubeflow: Kubeflow, tmp_path: Path) -> None:
    small_pipelines.write(tmp_path / "retrain.yaml", kubeflow.image, f"echo {name}")
    done = job(name, kubeflow, tmp_path, f"{kubeflow.name}-{name}-1")
    assert done.returncode == 0
    assert done.stdout.endswith("SUCCEEDED\n")
    small_pipelines.write(tmp_path / "retrain.yaml", kubeflow.image, f"echo {name}; exit 1")
    failed = job(name, kubeflow, tmp_path, f"{kubeflow.name}-{name}-2")
    assert failed.returncode == 1
    assert failed.stderr.endswith("FAILED\n")
