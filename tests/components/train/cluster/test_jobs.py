"""The TrainJob that is asked for, and the files that have to be applied to a cluster for it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.train.cluster import jobs
from components.train.cluster.jobs import Nodes
from components.train.cluster.watch import CRASHED
from speech.errors import InputError
from speech.nn import devices

ROOT = Path(__file__).resolve().parents[4]
FILES = ROOT / jobs.FILES
NODES = Nodes(3, "nvidia.com/gpu", "8", "96", "512Gi")
NAME = jobs.name_of("s3://work/running/0123456789abcdef")


@pytest.fixture
def pod() -> dict[str, Any]:
    return json.loads((ROOT / "tests" / "fixtures" / "step_pod.json").read_text(encoding="utf-8"))


def pod_patch(job: dict[str, Any]) -> dict[str, Any]:
    (patch,) = job["spec"]["runtimePatches"]
    (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["name"] == "node"
    return replicated["template"]["spec"]["template"]["spec"]


def test_the_nodes_are_copies_of_the_step_s_pod(pod: dict[str, Any]) -> None:
    job = jobs.train_job(NAME, NODES, ["-m", "components.train"], pod)
    trainer = job["spec"]["trainer"]
    assert (trainer["image"], trainer["command"]) == ("registry.example.org/speechmill/train:4f2a", ["python"])
    assert trainer["numNodes"] == 3
    assert trainer["resourcesPerNode"] == {"limits": {"cpu": "96", "memory": "512Gi", "nvidia.com/gpu": "8"}}
    environment = {one["name"]: one for one in trainer["env"]}
    assert list(environment) == [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
        "SPEECHMILL_WORKERS",
    ]
    assert environment["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "speechmill-s3"
    assert environment["AWS_DEFAULT_REGION"]["value"] == "us-east-1"
    patch = pod_patch(job)
    for name in ("serviceAccountName", "imagePullSecrets", "nodeSelector", "tolerations", "securityContext"):
        assert patch[name] == pod["spec"][name]
    homes = ["/.local", "/.cache", "/.config"]  # of a user without a home, as Kubeflow Pipelines gives them
    assert [volume["name"] for volume in patch["volumes"][-2:]] == ["shm", "ca"]
    (node,) = patch["containers"]
    assert [mount["mountPath"] for mount in node["volumeMounts"]] == [*homes, "/dev/shm", "/etc/speechmill/ca"]
    assert len(patch["volumes"]) == len(node["volumeMounts"])
    assert node["securityContext"]["readOnlyRootFilesystem"]
    assert node["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "env" not in node  # the Trainer refuses it there


def test_the_job_goes_with_the_run_that_started_it(pod: dict[str, Any]) -> None:
    workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "retrain-x7k2p", "uid": "0f3e"}
    assert jobs.train_job(NAME, NODES, [], pod)["metadata"]["ownerReferences"] == [workflow]
    pod["metadata"]["ownerReferences"] = []
    assert "ownerReferences" not in jobs.train_job(NAME, NODES, [], pod)["metadata"]


def test_the_name_is_one_that_kubernetes_takes_and_the_checkpoints_own() -> None:
    assert jobs.name_of("s3://work/running/0123456789abcdef") == NAME != jobs.name_of("s3://work/running/1")
    assert all(len(address.partition(".")[0]) <= 63 for address in jobs.addresses(NAME, 1000))
    assert jobs.addresses(NAME, 2) == [f"{NAME}-node-0-0.{NAME}:2222", f"{NAME}-node-0-1.{NAME}:2222"]


def test_no_gpus_are_no_limit(pod: dict[str, Any]) -> None:
    assert Nodes(2, "nvidia.com/gpu", "0", "4").resources == {"limits": {"cpu": "4"}}


@pytest.mark.parametrize(
    ("wrong", "message"), [({"count": 0}, "train_workers 0"), ({"gpus": "all"}, "train_gpus 'all'")]
)
def test_nonsense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Nodes(**wrong)


def test_the_runtime_is_the_one_that_the_job_names(pod: dict[str, Any]) -> None:
    runtime = yaml.safe_load((FILES / "runtime.yaml").read_text(encoding="utf-8"))
    job = jobs.train_job(NAME, NODES, [], pod)
    reference = job["spec"]["runtimeRef"]
    assert (runtime["apiVersion"], runtime["kind"]) == (job["apiVersion"], reference["kind"])
    assert runtime["apiVersion"] == f"{reference['apiGroup']}/v1alpha1"
    assert runtime["metadata"]["name"] == reference["name"]
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["name"] == jobs.NODE
    assert replicated["template"]["metadata"]["labels"]["trainer.kubeflow.org/trainjob-ancestor-step"] == "trainer"
    job_spec = replicated["template"]["spec"]
    (container,) = job_spec["template"]["spec"]["containers"]
    assert container["name"] == jobs.NODE
    assert job_spec["template"]["spec"]["restartPolicy"] == "Never"  # what a podFailurePolicy asks for
    (given_up,) = [rule["onExitCodes"] for rule in job_spec["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert given_up["containerName"] == jobs.NODE
    assert tuple(given_up["values"]) == CRASHED


def test_the_role_allows_what_the_launcher_asks_for() -> None:
    role, binding = yaml.safe_load_all((FILES / "rbac.yaml").read_text(encoding="utf-8"))
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    train_jobs = {("trainer.kubeflow.org", "trainjobs", verb) for verb in ("get", "create", "patch", "delete")}
    assert allowed == train_jobs | {
        ("", "pods", "get"),
        ("", "pods", "list"),
        ("", "pods/log", "get"),
        ("argoproj.io", "workflows", "get"),
    }
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["kind"] for subject in binding["subjects"]] == ["ServiceAccount"]


def test_the_workers_variable_has_one_name_on_both_sides() -> None:
    assert jobs.WORKERS_VARIABLE == devices.WORKERS_VARIABLE
