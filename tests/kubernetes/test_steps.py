"""The steps' images as pods under the security context of Kubeflow Pipelines: user 65532, no capabilities."""

import json
import tarfile
from pathlib import Path

import pytest

from speech.errors import SCRATCH_VARIABLE
from speech.storage.objects import client, list_keys, upload_file
from tests.kubernetes.kubectl import ROOT, Kubectl, image
from tests.kubernetes.pods import container, pod

RELEASE = ROOT / "examples" / "cv-corpus-demo" / "en"
MODELS = "s3://work/models/en"
COMMANDS = {
    "import-cv": "components.import_cv s3://work/en.tar.gz --corpus_dir /work/corpus",
    "train": "components.train --corpus /work/corpus --checkpoint_dir s3://work/shell --n_hidden 32 --epochs 1",
    "export": "components.export --checkpoint_dir s3://work/shell --export_dir /work/model",
    "convert-mmap": "components.export.memmapped --in_graph /work/model/output_graph.pb --out_graph /work/mapped.pbmm",
    "convert-openvino": "components.convert_openvino --input_model /work/model --output_dir /work/openvino",
    "evaluate": "components.evaluate --model /work/model --test_files /work/corpus/test.csv --evaluation /work/scores",
    "publish": "components.publish --model /work/model --ir /work/openvino --evaluation /work/scores "
    f"--publish_uri {MODELS}",
}


def test_every_image_does_its_step_as_a_pod(kubectl: Kubectl, s3: str, tmp_path: Path) -> None:
    """From a release in the object store to a published model: one pod, a container a step."""
    archive = tmp_path / "en.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(RELEASE, "cv-corpus-demo/en")
    upload_file(archive, f"{s3}/en.tar.gz")
    steps = [container(image(step), ["python", "-m", *line.split()], step) for step, line in COMMANDS.items()]
    kubectl.create(pod("steps", steps))
    found = kubectl.finished("steps", 1200)
    status = found["status"]
    ends = {one["name"]: one["state"] for one in (*status["initContainerStatuses"], *status["containerStatuses"])}
    failed = [name for name, state in ends.items() if state.get("terminated", {}).get("exitCode") != 0]
    assert not failed, kubectl.logs("steps", failed[0])[-3000:]
    (champion,) = [key for key, _ in list_keys(f"{MODELS}/") if key.endswith("champion.json")]
    version = json.loads(client().get_object(Bucket="work", Key=champion)["Body"].read())["version"]
    names = {key.rsplit("/", 1)[1] for key, _ in list_keys(f"{MODELS}/{version}/")}
    assert {"output_graph.pb", "output_graph.xml", "output_graph.bin"} <= names


@pytest.mark.parametrize(
    ("volume", "writable"),
    [({"emptyDir": {"sizeLimit": "1Gi"}}, True), ({"hostPath": {"path": "/usr"}}, False)],
    ids=["of the node's disk", "of root"],
)
def test_scratch_that_cannot_be_written_is_said_at_once(
    kubectl: Kubectl, s3: str, request: pytest.FixtureRequest, volume: dict, writable: bool
) -> None:
    """A volume of most storage classes is root's with mode 0755, as a folder of the system is."""
    name = f"scratch-{'mine' if writable else 'of-root'}"
    code = (
        "from speech.errors import one_line_errors\nwith one_line_errors():\n"
        "    import tempfile; print(tempfile.NamedTemporaryFile().name)"
    )
    step = container(image("publish"), ["python", "-c", code], **{SCRATCH_VARIABLE: "/scratch"})
    step["volumeMounts"].append({"name": "scratch", "mountPath": "/scratch"})
    kubectl.create(pod(name, [step], volumes=[{"name": "scratch", **volume}]))
    ended = kubectl.finished(name, 120)["status"]["containerStatuses"][0]["state"]["terminated"]
    printed = kubectl.logs(name)
    if writable:
        assert ended["exitCode"] == 0
        assert printed.startswith("/scratch/")
    else:
        assert ended["exitCode"] == 2
        assert printed.startswith(f"error: {SCRATCH_VARIABLE} /scratch: user 65532 cannot write temporary files there")
        assert printed.count("\n") == 1
