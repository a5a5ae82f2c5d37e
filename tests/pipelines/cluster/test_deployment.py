"""deployment.toml: what it says is in the compiled pipeline; what it may not say is refused; no credential anywhere."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components import images
from pipelines.cluster import compiled, deployment
from pipelines.cluster.nightly import nightly
from pipelines.cluster.placement import DISPLAY_NAMES
from pipelines.retrain import retrain
from speech.errors import InputError

EXAMPLES = sorted((images.ROOT / "examples" / "deployments").glob("*.toml"))
CI = sorted((images.ROOT / "examples" / "ci").glob("*.yml"))
GOLDEN = images.ROOT / "tests" / "fixtures" / "deployments"


PIPELINES = {"retrain": retrain, "nightly": nightly}


@cache
def text_of(pipeline: str, path: Path | None = None) -> str:
    return compiled.to_yaml(PIPELINES[pipeline], deployment=deployment.read(path) if path else None)


def documents(pipeline: str, path: Path | None = None) -> list[dict[str, Any]]:
    return list(yaml.load_all(text_of(pipeline, path), yaml.CSafeLoader))


def platform(document: dict[str, Any]) -> dict[str, Any]:
    return document["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_platform_spec_is_the_golden_file_s(path: Path) -> None:
    """All that a cluster is told of the training: resources, retries, environment, and the platform's part."""
    spec, kubernetes = documents("retrain", path)
    container = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    found = {
        "image": container["image"].rpartition(":")[0],
        "env": container.get("env", []),
        "resources": container["resources"],
        "retry": spec["root"]["dag"]["tasks"]["train"]["retryPolicy"],
        "defaults": {
            name: one["defaultValue"]
            for name, one in parameters.items()
            if re.match("train_(gpu|cpu|mem|workers)", name)
        },
        "kubernetes": platform(kubernetes)["exec-train"],
        "kubernetes of publish": platform(kubernetes).get("exec-publish", {}),
    }
    golden = GOLDEN / f"{path.stem}.json"
    assert found == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("path", [None, *EXAMPLES], ids=lambda path: path.stem if path else "none")
def test_both_documents_are_strict_messages(pipeline: str, path: Path | None) -> None:
    found = documents(pipeline, path)
    json_format.ParseDict(found[0], pipeline_spec_pb2.PipelineSpec(), ignore_unknown_fields=False)
    if len(found) > 1:
        parsed = json_format.ParseDict(found[1], pipeline_spec_pb2.PlatformSpec(), ignore_unknown_fields=False)
        kubernetes_messages(parsed)


def kubernetes_messages(parsed: pipeline_spec_pb2.PlatformSpec) -> None:
    """Parse each executor's part, which the platform spec carries as a struct, strictly as its own message."""
    from kfp.kubernetes import kubernetes_executor_config_pb2

    executors = json_format.MessageToDict(parsed)["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for found in executors.values():
        json_format.ParseDict(
            found, kubernetes_executor_config_pb2.KubernetesExecutorConfig(), ignore_unknown_fields=False
        )


def test_every_step_has_a_name_for_people() -> None:
    for pipeline in PIPELINES:
        found = documents(pipeline)[0]
        dags = [found["root"]["dag"], *(one["dag"] for one in found["components"].values() if "dag" in one)]
        tasks = {name: task for dag in dags for name, task in dag["tasks"].items() if name != "condition-1"}
        for name, task in tasks.items():
            assert re.sub(r"-\d+$", "", name).replace("-", "_") in DISPLAY_NAMES, name
            assert task["taskInfo"]["name"] != name
        assert len({task["taskInfo"]["name"] for task in tasks.values()}) == len(tasks)


def test_a_condition_passes_on_what_the_resources_name() -> None:
    """kfp forgets them by itself."""
    spec = documents("nightly")[0]
    condition = spec["root"]["dag"]["tasks"]["condition-1"]
    passed = set(condition["inputs"]["parameters"])
    assert {f"pipelinechannel--train_{name}" for name in ("gpu_type", "gpus", "cpu", "memory")} <= passed
    assert set(spec["components"]["comp-condition-1"]["inputDefinitions"]["parameters"]) == passed
    assert condition["triggerPolicy"]["condition"].endswith("== 'yes'")
    assert "cachingOptions" not in spec["root"]["dag"]["tasks"]["find-release"] or not spec["root"]["dag"]["tasks"][
        "find-release"
    ]["cachingOptions"].get("enableCache")


def test_retries_outlast_the_training_also_without_a_deployment() -> None:
    spec, kubernetes = documents("retrain")
    assert spec["root"]["dag"]["tasks"]["train"]["retryPolicy"]["backoffMaxDuration"] == "604800s"
    assert platform(kubernetes)["exec-train"]["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    assert platform(kubernetes)["exec-train"]["secretAsEnv"][0]["optional"]
    assert spec["root"]["inputDefinitions"]["parameters"]["train_gpus"]["defaultValue"] == "0"


@pytest.mark.parametrize("pipeline", ["retrain", "nightly"])
def test_what_a_corpus_is_fetched_with_is_the_import_s_alone(tmp_path: Path, pipeline: str) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text('[corpus]\nsecret = "sources"\n[steps.import_cv]\nworkers = 2\n')
    _, kubernetes = documents(pipeline, path)
    having = {
        name: {key["envVar"] for key in secret["keyToEnv"]}
        for name, executor in platform(kubernetes).items()
        for secret in executor.get("secretAsEnv", ())
        if (secret.get("secretName") or secret["secretNameParameter"]["runtimeValue"]["constant"]) == "sources"
    }
    expected = {"exec-import-part"} | ({"exec-find-release"} if pipeline == "nightly" else set())
    assert having.keys() == expected
    assert all("SPEECHMILL_BEARER_TOKEN" in names for names in having.values())


def test_no_limit_is_one_that_the_driver_takes(tmp_path: Path) -> None:
    """It fails on an empty quantity, and the parameters' defaults are all that a run from the UI has."""
    path = tmp_path / "deployment.toml"
    path.write_text("[steps.train]\nretries = 1\n")
    for pipeline in PIPELINES:
        parameters = documents(pipeline, path)[0]["root"]["inputDefinitions"]["parameters"]
        assert [parameters[f"train_{name}"]["defaultValue"] for name in ("cpu", "memory", "gpus")] == ["0", "0", "0"]


def test_several_machines_leave_the_step_s_own_pod_small() -> None:
    """The nodes' resources become parameters alone; the pod that waits for them has no GPU."""
    for pipeline in PIPELINES:
        spec, _ = documents(pipeline, images.ROOT / "examples" / "deployments" / "several-nodes.toml")
        container = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
        assert container["resources"] == {
            "cpuLimit": 1.0,
            "resourceCpuLimit": "1",
            "memoryLimit": 2.147483648,
            "resourceMemoryLimit": "2Gi",
        }
        assert {"name": "SPEECHMILL_TRAIN_LAUNCHER", "value": "1"} in container["env"]
        defaults = {name: one["defaultValue"] for name, one in spec["root"]["inputDefinitions"]["parameters"].items()}
        assert (defaults["train_workers"], defaults["train_gpus"], defaults["train_memory"]) == (4, "8", "512Gi")


def test_one_machine_can_be_a_train_job_too(tmp_path: Path) -> None:
    (tmp_path / "deployment.toml").write_text('[steps.train]\ntrainer = true\nmemory = "64Gi"\n')
    spec, *_ = documents("retrain", tmp_path / "deployment.toml")
    container = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert container["resources"]["resourceMemoryLimit"] == "2Gi"
    assert {"name": "SPEECHMILL_TRAIN_LAUNCHER", "value": "1"} in container["env"]
    defaults = spec["root"]["inputDefinitions"]["parameters"]
    assert (defaults["train_workers"]["defaultValue"], defaults["train_memory"]["defaultValue"]) == (1, "64Gi")


@pytest.mark.parametrize("allowed", ["", "writable = true", "run_as_user = 0"])
def test_scratch_of_a_storage_class_has_to_be_writable(tmp_path: Path, allowed: str) -> None:
    """A new volume is root's, and Kubeflow Pipelines knows no fsGroup."""
    top, inside = (allowed, "") if "user" in allowed else ("", f", {allowed}" if allowed else "")
    path = tmp_path / "deployment.toml"
    path.write_text(f'{top}\n[steps.train]\nscratch = {{ size = "9Gi", storage_class = "fast"{inside} }}\n')
    if not allowed:
        with pytest.raises(
            InputError, match=r"steps.train.scratch.storage_class = 'fast': .* run_as_user = 0"
        ) as refused:
            deployment.read(path)
        assert "\n" not in str(refused.value)
        return
    spec, kubernetes = documents("retrain", path)
    env = spec["deploymentSpec"]["executors"]["exec-train"]["container"]["env"]
    assert {"name": "SPEECHMILL_SCRATCH", "value": "/scratch"} in env
    assert "TMPDIR" not in [one["name"] for one in env]  # kfp's own wrapper fails there without a word of ours
    user = platform(kubernetes)["exec-train"].get("securityContext", {})
    assert user == ({"runAsUser": "0"} if top else {})


def test_gpus_bring_the_image_with_cuda() -> None:
    spec, _ = documents("retrain", images.ROOT / "examples" / "deployments" / "gke.toml")
    executors = spec["deploymentSpec"]["executors"]
    assert executors["exec-train"]["container"]["image"] == images.TRAIN_GPU
    assert executors["exec-evaluate"]["container"]["image"] == images.EVALUATE


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_image_with_ds_ctcdecoder_is_a_choice(pipeline: str, tmp_path: Path) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text('registry = "ghcr.io/team"\n[steps.evaluate]\nimage = "evaluate-ds-ctcdecoder"\n')
    for document, registry in ((documents(pipeline, path), "ghcr.io/team/"), (documents(pipeline), "")):
        executors = document[0]["deploymentSpec"]["executors"]
        found = {name: one["container"]["image"] for name, one in executors.items()}
        chosen = images.EVALUATE_DS_CTCDECODER if registry else images.EVALUATE
        assert {found["exec-evaluate"], found["exec-evaluate-openvino"]} == {f"{registry}{chosen}"}
        assert found["exec-train"] == f"{registry}{images.TRAIN}"


SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|wJalrXUtnFEMI|(?i:password|secret_access_key|token)['\"]?\s*[:=]\s*['\"]?[^\s'\"{}.<$]"
)


def test_no_credential_is_in_the_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    texts = [text_of(pipeline, path) for pipeline in PIPELINES for path in (None, *EXAMPLES)]
    texts += [compiled.to_yaml(retrain), *(path.read_text(encoding="utf-8") for path in (*EXAMPLES, *CI))]
    assert [SECRETS.search(text) for text in texts] == [None] * len(texts)
    for path in EXAMPLES:
        executors = documents("retrain", path)[0]["deploymentSpec"]["executors"].values()
        names = {one["name"] for executor in executors for one in executor["container"].get("env", [])}
        assert not [name for name in names if re.search("SECRET|ACCESS_KEY|TOKEN|PASSWORD", name)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('registri = "x"', "registri is unknown: did you mean registry?"),
        ("[steps.trian]\ngpus = 1", "steps.trian is unknown: did you mean train?"),
        ("[steps.train]\ngpu = 1", "steps.train.gpu is unknown: did you mean gpus?"),
        ("[steps.train]\ngpus = 1", "gpus without gpu_type give no GPU at all"),
        ('[steps.train]\ngpus = "1"', "steps.train.gpus = '1': expected int"),
        ("[steps.evaluate]\nworkers = 2", "steps.evaluate.workers = 2: 1 or more, and more than 1 only in"),
        ("[steps.train]\nworkers = 0", "steps.train.workers = 0: 1 or more"),
        ("[steps.train]\nretries = true", "steps.train.retries = True: expected int"),
        ('[steps.train]\nmemory = "16 GB"', "expected a Kubernetes quantity"),
        ('[steps.train]\nscratch = { size = "x" }', "steps.train.scratch.size"),
        ("[steps.evaluate]\ntrainer = true", "steps.evaluate.trainer: only steps.train can be a TrainJob"),
        ("[steps.train]\nretries = 1\ntimeout_s = 864000", "is not longer than timeout_s 864000"),
        ('[steps.train]\nbackoff_duration = "1 hour"', "expected a duration"),
        ("[steps.train]\nbackoff_factor = 1.5", "steps.train.backoff_factor = 1.5: expected a whole number"),
        ("[steps.train]\nbackoff_factor = 0.0", "steps.train.backoff_factor = 0.0: expected a whole number from 1 on"),
        ('[ca_bundle]\nconfig_map = "ca.example.org"', "ca_bundle.config_map = 'ca.example.org': expected a name of"),
        ('[steps.train]\nscratch = { claim = "data.ssd" }', "steps.train.scratch.claim = 'data.ssd': expected a name"),
        ('image_pull_policy = "always"', "image_pull_policy = 'always': expected Always, IfNotPresent, Never"),
        (
            '[env]\nAWS_SECRET_ACCESS_KEY = "x"',
            "env.AWS_SECRET_ACCESS_KEY: credentials belong into a Kubernetes secret",
        ),
        ('[steps.train.env]\nMY_TOKEN = "x"', "steps.train.env.MY_TOKEN: credentials"),
        ('[steps.train]\ntolerations = { key = "x" }', "steps.train.tolerations"),
        ('[steps.train]\ntolerations = [{ kei = "x" }]', "steps.train.tolerations.kei is unknown"),
        ('[steps.evaluate]\nimage = "train-gpu"', "image = 'train-gpu': expected evaluate-ds-ctcdecoder"),
        ('[steps.publish]\nimage = "train-gpu"', "expected nothing: only train, evaluate have other images"),
        ('[steps.default]\nimage = "train-gpu"', "expected nothing: only train, evaluate have other images"),
        ("[steps", "not TOML"),
        ("s3 = 1", "s3: expected a table"),
    ],
)
def test_what_it_may_not_say_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        deployment.read(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_a_step_s_own_table_goes_on_top_of_the_default(tmp_path: Path) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text("[steps.default]\nretries = 3\ntimeout_s = 60\n[steps.train]\nretries = 4\n")
    found = deployment.read(path)
    assert (found.of("train").retries, found.of("train").timeout_s) == (4, 60)
    assert (found.of("publish").retries, found.of("publish").timeout_s) == (3, 60)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_with_notify_a_last_step_runs_behind_all_others_whatever_their_end(pipeline: str, tmp_path: Path) -> None:
    path = tmp_path / "deployment.toml"
    page = "https://kubeflow.example.org/pipeline"
    path.write_text(
        f'[notify]\nsecret = "chat"\npage = "{page}"\n[steps.train]\ngpus = 1\ngpu_type = "nvidia.com/gpu"\n'
        "[steps.notify]\nretries = 3\n"
    )
    document, kubernetes = documents(pipeline, path)
    spec = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(document, spec, ignore_unknown_fields=False)
    tasks = document["root"]["dag"]["tasks"]
    assert set(tasks) == {"exit-handler-1", "notify"}
    told = tasks["notify"]
    assert told["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert told["dependentTasks"] == ["exit-handler-1"]
    assert not told["cachingOptions"].get("enableCache")
    given = told["inputs"]["parameters"]
    assert given["notify_place"] == {"componentInputParameter": "publish_uri"}
    assert given["run_id"]["runtimeValue"]["constant"] == "{{$.pipeline_job_uuid}}"
    assert not [one for one in given.values() if "taskFinalStatus" in one]  # 2.17's driver refuses it
    (variables,) = platform(kubernetes)["exec-notify"]["secretAsEnv"][-1:]
    assert (variables["secretName"], variables["optional"]) == ("chat", True)
    within = document["components"]["comp-exit-handler-1"]
    passed = within["inputDefinitions"]["parameters"]
    assert [name for name in passed if name.endswith("train_gpu_type")]  # what only resources name arrives


def test_without_notify_the_pipeline_is_as_it_was() -> None:
    assert not [name for name in documents("retrain")[0]["root"]["dag"]["tasks"] if "exit" in name or name == "notify"]
