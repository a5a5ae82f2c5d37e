"""`speechmill submit` and `schedule` through the real SDK, and the documented jobs through the real CLI."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components import images
from pipelines import __main__ as speechmill
from pipelines.submission import ScheduleFlags
from speech.errors import InputError
from tests.fixtures import compiled_pipeline
from tests.fixtures.api_server import Refused, running
from tests.fixtures.kfp_server import KfpServer

FAST = ["--poll_s", "0.01"]
KFP = Path(sys.executable).with_name("kfp")
WATCHED = "s3://corpora/cv-corpus-*-cy.tar.gz"


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with running(KfpServer()) as server:
        yield server


def run(server: KfpServer, *arguments: str) -> int:
    """The exit code of the command."""
    name, *rest = arguments
    own = {"--registry", "--deployment", "--pipeline"} & {*rest}
    compiled_here = [] if own else ["--pipeline", str(compiled_pipeline.path())]
    try:
        speechmill.main([name, "--endpoint", server.endpoint, *compiled_here, *rest])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_the_first_submission_creates_the_pipeline_and_later_ones_versions(server, tmp_path, capsys) -> None:
    assert run(server, "submit", "--corpus_uri", "s3://corpora/cy.tar.gz", *FAST) == 0
    (pipeline,) = server.pipelines.values()
    assert pipeline["display_name"] == "retrain"
    assert len(server.versions) == 1
    assert "platforms" in next(iter(server.versions.values()))["pipeline_spec"]["platform_spec"]
    assert run(server, "submit", "--registry", "ghcr.io/team", *FAST) == 0
    assert run(server, "submit", "--registry", "ghcr.io/team", *FAST) == 0  # nothing new
    assert len(server.pipelines) == 1
    assert len(server.versions) == 2
    used = [one["pipeline_version_reference"]["pipeline_version_id"] for one in server.runs.values()]
    assert used == [*server.versions, used[-1]]
    captured = capsys.readouterr()
    assert captured.out.split() == list(server.runs)
    assert "there already: retrain, version " in captured.err


def test_parameters_have_the_types_that_the_pipeline_declares(server) -> None:
    given = ["--epochs", "3", "--learning_rate=1e-4", "--early_stop", "--nonormalize", "--version", "17.0"]
    assert run(server, "submit", "--corpus_uri", "s3://corpora/cy.tar.gz", *given, *FAST) == 0
    (started,) = server.runs.values()
    assert started["runtime_config"]["parameters"] == {
        "corpus_uri": "s3://corpora/cy.tar.gz", "epochs": 3, "learning_rate": 1e-4, "early_stop": True,
        "normalize": False, "version": "17.0",
    }  # fmt: skip


def test_progress_is_one_line_a_change(server, capsys) -> None:
    assert run(server, "submit", *FAST) == 0
    lines = [line.split() for line in capsys.readouterr().err.splitlines()[1:]]
    assert [line for line in lines if line[0] == "Import"] == [
        ["Import", "Common", "Voice", "running"], ["Import", "Common", "Voice", "succeeded", "30", "s"]
    ]  # fmt: skip
    assert [line[1] for line in lines if line[0] == "run"] == ["pending", "running", "succeeded"]
    assert not any("driver" in word for line in lines for word in line)


@pytest.mark.parametrize(("outcome", "code"), [("FAILED", 1), ("CANCELED", 1), ("SKIPPED", 0)])
def test_the_exit_code_is_the_run_s(server, outcome, code, capsys) -> None:
    server.outcome = outcome
    assert run(server, "submit", *FAST) == code
    errors = capsys.readouterr().err
    if code:
        assert errors.endswith(f"error: run {next(iter(server.runs))} ended as {outcome}\n")
    if outcome == "FAILED":
        assert re.search(r"^Train +failed +28 s: exit code 2$", errors, re.MULTILINE)


def test_without_following_it_returns_at_once(server) -> None:
    server.outcome = "FAILED"
    assert run(server, "submit", "--nofollow") == 0
    assert next(iter(server.runs.values()))["asked"] == 0


def test_following_outlives_a_server_that_is_away(server, monkeypatch) -> None:
    started = server._create_run

    def away_after_start(**given):
        server.broken_answers = 4
        return started(**given)

    monkeypatch.setattr(server, "_create_run", away_after_start)
    assert run(server, "submit", *FAST) == 0


def test_a_time_limit_ends_the_following_alone(server, capsys) -> None:
    server.outcome = "RUNNING"
    assert run(server, "submit", *FAST, "--timeout_s", "0.2") == 75
    assert "is still running" in capsys.readouterr().err


def test_a_schedule_is_created_enabled_and_then_replaced(server, capsys) -> None:
    flags = ["--corpus_uri", WATCHED, "--publish_uri", "s3://models/cy", "--epochs", "5", "--early_stop"]
    assert run(server, "schedule", "--cron", "0 30 3 * * SUN", *flags) == 0
    (schedule,) = server.schedules.values()
    assert schedule["status"] == "ENABLED"
    assert (schedule["display_name"], schedule["no_catchup"], schedule["max_concurrency"]) == ("nightly", True, 1)
    assert schedule["trigger"] == {"cron_schedule": {"cron": "0 30 3 * * SUN"}}
    assert schedule["runtime_config"]["parameters"] == {
        "corpus_uri": WATCHED, "publish_uri": "s3://models/cy", "epochs": 5, "early_stop": True
    }  # fmt: skip
    assert [one["display_name"] for one in server.pipelines.values()] == ["retrain-on-news"]
    assert run(server, "schedule", "--name", "other", *flags) == 0
    assert run(server, "schedule", "--cron", "0 4 * * *", *flags) == 0  # five fields: at second 0
    crons = {one["display_name"]: one["trigger"]["cron_schedule"]["cron"] for one in server.schedules.values()}
    assert crons == {"nightly": "0 0 4 * * *", "other": "0 0 2 * * *"}
    assert "replaced the schedule nightly: 0 0 4 * * *" in capsys.readouterr().err


def test_a_given_release_is_scheduled_as_it_is(server) -> None:
    assert run(server, "schedule", "--corpus_uri", "s3://corpora/cy.tar.gz") == 0
    assert [one["display_name"] for one in server.pipelines.values()] == ["retrain"]


@pytest.mark.parametrize("cron", ["daily", "0 2 * *", "0 0 2 * * * *", "0 0 2 * * ;"])
def test_a_cron_line_that_is_none_is_refused(cron) -> None:
    with pytest.raises(InputError, match="--cron"):
        ScheduleFlags(cron=cron)


def test_the_defaults_of_a_deployment_are_not_overwritten(server, tmp_path) -> None:
    (tmp_path / "deployment.toml").write_text('[steps.train]\ngpus = 2\ngpu_type = "nvidia.com/gpu"\n')
    flags = ["--deployment", str(tmp_path / "deployment.toml"), *FAST]
    assert run(server, "submit", *flags, "--epochs", "2") == 0
    spec = next(iter(server.versions.values()))["pipeline_spec"]["pipeline_spec"]
    assert spec["root"]["inputDefinitions"]["parameters"]["train_gpus"]["defaultValue"] == "2"
    assert next(iter(server.runs.values()))["runtime_config"]["parameters"] == {"epochs": 2}


def test_a_token_is_sent_and_not_shown(server, tmp_path, capsys) -> None:
    (tmp_path / "token").write_text("s3cr3t\n")
    assert run(server, "submit", "--token_file", str(tmp_path / "token"), *FAST) == 0
    assert server.authorizations == {"Bearer s3cr3t"}
    captured = capsys.readouterr()
    assert "s3cr3t" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("flags", "message", "code"),
    [
        (
            ["--endpoint", "http://127.0.0.1:9"],
            "interrupted: connecting: http://127.0.0.1:9 does not answer",
            75,
        ),
        (["--pipeline", "none.yaml"], "error: --pipeline none.yaml: no such file", 2),
        (["--deployment", "none.toml"], "error: none.toml: No such file", 2),
        (["--token_file", "none"], "error: --token_file none: No such file", 2),
        (["--poll_s", "0"], "error: --poll_s", 2),
    ],
)
def test_wrong_flags_and_a_server_that_is_not_there_are_one_line(server, flags, message, code, capsys) -> None:
    assert run(server, "submit", *flags) == code
    errors = capsys.readouterr().err
    assert errors.startswith(message)
    assert errors.count("\n") == 1


def test_what_the_server_refuses_is_one_line(server, monkeypatch, capsys) -> None:
    monkeypatch.setattr(server, "_upload", refuse)
    assert run(server, "submit", *FAST) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: uploading retrain: the server answered 403 Forbidden: ")
    assert errors.count("\n") == 1


def refuse(**_: object) -> None:
    raise Refused(403, "not yours")


# The documented jobs: what they run, with the real `kfp`.

JOBS = {
    "github-actions.yml": lambda text: [
        step["run"] for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"] if "run" in step
    ],
    "gitlab-ci.yml": lambda text: ["\n".join(yaml.safe_load(text)["retrain"]["script"])],
}


def kfp_job(name: str, server: KfpServer, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the part of a job that talks to Kubeflow: everything that calls kfp."""
    text = (images.ROOT / "examples" / "ci" / name).read_text(encoding="utf-8")
    scripts = [script for script in JOBS[name](text) if "kfp " in script]
    assert len(scripts) == 1
    (folder / "retrain.yaml").write_text(compiled_pipeline.text(), encoding="utf-8")
    script = re.sub(r"^.*(make setup|speechmill compile).*$", "", scripts[0], flags=re.MULTILINE)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KFP_ENDPOINT": server.endpoint,
        "VERSION": "0123abcd",
        "CORPUS_URI": "s3://corpora/cv-corpus-17.0-2024-03-15-cy.tar.gz",
        "PUBLISH_URI": "s3://models/cy",
        "POLL_S": "0.01",
        **variables,
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


SLOW = pytest.mark.slow  # each call of kfp takes seconds to start


@pytest.mark.parametrize("name", ["github-actions.yml", pytest.param("gitlab-ci.yml", marks=SLOW)])
def test_the_ci_jobs_upload_start_and_follow(name, server, tmp_path) -> None:
    server.states = ()
    done = kfp_job(name, server, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    again = kfp_job(name, server, tmp_path, VERSION="4567ef01")
    assert again.returncode == 0, again.stdout + again.stderr
    assert [one["display_name"] for one in server.pipelines.values()] == ["retrain"]
    assert [one["display_name"] for one in server.versions.values()] == ["retrain", "0123abcd", "4567ef01"]
    used = [one["pipeline_version_reference"]["pipeline_version_id"] for one in server.runs.values()]
    assert used == list(server.versions)[1:]
    for one in server.runs.values():
        parameters = one["runtime_config"]["parameters"]
        assert parameters["corpus_uri"] == "s3://corpora/cv-corpus-17.0-2024-03-15-cy.tar.gz"
        assert parameters["epochs"] == 75
        assert isinstance(parameters["version"], str)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("gitlab-ci.yml", "FAILED"),
        pytest.param("gitlab-ci.yml", "CANCELED", marks=SLOW),
        pytest.param("github-actions.yml", "FAILED", marks=SLOW),
    ],
)
def test_the_ci_jobs_fail_with_the_run(name, outcome, server, tmp_path) -> None:
    server.states, server.outcome = (), outcome
    done = kfp_job(name, server, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert outcome in done.stdout + done.stderr


def test_both_jobs_run_the_same_commands() -> None:
    scripts = []
    for name, find in JOBS.items():
        (script,) = [one for one in find((images.ROOT / "examples" / "ci" / name).read_text()) if "kfp " in one]
        scripts.append(script[script.index("PATH=") :].rstrip())
    assert scripts[0] == scripts[1]


@SLOW
def test_the_traps_of_the_cli_are_still_there(server, tmp_path) -> None:
    """What the jobs work around; if this fails, they can be made simpler."""
    server.outcome = "FAILED"
    (tmp_path / "retrain.yaml").write_text(compiled_pipeline.text(), encoding="utf-8")

    def kfp(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(KFP), "--endpoint", server.endpoint, "--output", "json", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert kfp("pipeline", "create", "-p", "retrain", "retrain.yaml").returncode == 0
    version = next(iter(server.versions.values()))
    chosen = ["-p", version["pipeline_id"], "-v", version["pipeline_version_id"]]
    wrong = kfp("run", "create", "-e", "x", *chosen, "version=17.0")
    assert wrong.returncode != 0
    assert "requires type STRING" in wrong.stderr
    quoted = kfp("run", "create", "-e", "x", *chosen, 'version="17.0"')
    assert quoted.returncode == 0, quoted.stderr
    started = json.loads(quoted.stdout[quoted.stdout.index("{") :])
    watched = kfp("run", "get", "--watch", started["run_id"])
    assert watched.returncode == 0  # although it failed
