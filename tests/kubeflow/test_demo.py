"""The demo on a real Kubeflow Pipelines: from an archive in object storage to a published version, and back again.

Needs the steps' images in the cluster (KFP_IMAGES_LOADED=1), KFP_DEPLOYMENT and KFP_BUCKET.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from components import images
from components.publish.champion import Champions
from components.publish.model_bucket import open_target
from pipelines.cluster.placement import DISPLAY_NAMES
from speech.storage.objects import upload_file
from tests.kubeflow.server import Kubeflow

pytestmark = pytest.mark.kubeflow

QUICK = ["--n_hidden", "64", "--epochs", "2", "--train_batch_size", "8"]


def submit(kubeflow: Kubeflow, place: str, *flags: str) -> dict[str, str]:
    """How each step of a run ended, by its display name."""
    own = ["--deployment", os.environ["KFP_DEPLOYMENT"], "--publish_uri", f"{place}/models", "--poll_s", "2"]
    done = kubeflow.run("submit", *own, *QUICK, *flags)
    assert done.code == 0
    return dict(re.findall(r"^(\S.*?) +(succeeded|cached) +\d+ s$", done.err, re.MULTILINE))


def test_the_demo_is_published_cached_and_rolled_back(kubeflow: Kubeflow, place: str, corpus: str) -> None:
    champions = Champions(open_target(f"{place}/models"))

    def champion() -> str:
        return champions.current()["version"]

    first = submit(kubeflow, place, "--corpus_uri", corpus, "--version", "a")
    shown = {DISPLAY_NAMES["import_cv"], DISPLAY_NAMES["train"], DISPLAY_NAMES["publish"]}
    assert shown <= first.keys() <= set(DISPLAY_NAMES.values()) | {name for name in first if "OpenVINO" in name}
    assert set(first.values()) == {"succeeded"}
    assert champion() == "a"

    second = submit(kubeflow, place, "--corpus_uri", corpus, "--version", "b", "--force")
    assert second[DISPLAY_NAMES["train"]] == "cached"
    assert second[DISPLAY_NAMES["publish"]] == "succeeded"
    assert champion() == "b"

    rollback = [sys.executable, "-m", "components.publish", "rollback", "--publish_uri", f"{place}/models"]
    subprocess.run(rollback, cwd=images.ROOT, check=True)
    assert champion() == "a"
    again = submit(kubeflow, place, "--corpus_uri", corpus, "--version", "b", "--force")
    assert again[DISPLAY_NAMES["publish"]] == "succeeded"
    assert champion() == "b"


def test_a_changed_archive_of_the_same_name_is_imported_anew(
    kubeflow: Kubeflow, place: str, corpus: str, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.tar.gz"
    with tarfile.open(changed, "w:gz") as archive:
        folder = shutil.copytree(images.ROOT / "examples" / "cv-corpus-demo" / "en", tmp_path / "en")
        lines = (folder / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "train.tsv").write_text("".join(lines[:-1]), encoding="utf-8")
        archive.add(folder, "cv-corpus-1.0-2026-01-01/en")
    upload_file(changed, corpus)
    imported = submit(kubeflow, place, "--corpus_uri", corpus, "--version", "c")
    assert imported[DISPLAY_NAMES["import_cv"]] == "succeeded"
