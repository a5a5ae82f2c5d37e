"""`speechmill submit` and `schedule` through the real SDK, and the documented jobs through the real CLI."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import __main__ as speechmill
from pipelines.cluster.submission import ScheduleFlags
from pipelines.local.revision import revision
from speech.errors import InputError
from speech.storage.objects import upload_file
from tests.fixtures import compiled_pipeline
from tests.fixtures.api_server import Refused, running
from tests.fixtures.ci_jobs import JOBS, script_of
from tests.fixtures.kfp_server import KfpServer, Playback, recording
from tests.kubeflow import small_pipelines

FAST = ["--poll_s", "0.01"]
CORPUS = ["--corpus_uri", "s3://corpora/cy.tar.gz"]
KFP = Path(sys.executable).with_name("kfp")
WATCHED = "s3://corpora/cv-corpus-*-cy.tar.gz"


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are looked for on this machine alone."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


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
    assert run(server, "submit", *CORPUS, *FAST) == 0
    (pipeline,) = server.pipelines.values()
    assert pipeline["display_name"] == "retrain"
    assert len(server.versions) == 1
    assert "platforms" in next(iter(server.versions.values()))["pipeline_spec"]["platform_spec"]
    assert run(server, "submit", "--registry", "ghcr.io/team", *CORPUS, *FAST) == 0
    assert run(server, "submit", "--registry", "ghcr.io/team", *CORPUS, *FAST) == 0  # nothing new
    assert len(server.pipelines) == 1
    assert len(server.versions) == 2
    assert all(re.fullmatch("[0-9a-f]{12}", one["display_name"]) for one in server.versions.values())
    used = [one.given["pipeline_version_reference"]["pipeline_version_id"] for one in server.runs.values()]
    assert used == [*server.versions, used[-1]]
    captured = capsys.readouterr()
    assert captured.out.split() == list(server.runs)
    assert "there already: retrain, version " in captured.err


def test_an_upload_that_was_cut_short_is_taken_up(server, monkeypatch) -> None:
    """The pipeline is there, without a version."""
    server._create_pipeline(given={"display_name": "retrain"})
    assert run(server, "submit", *CORPUS, *FAST) == 0
    assert len(server.pipelines) == len(server.versions) == 1


def parameters_of(server: KfpServer) -> dict[str, object]:
    (started,) = server.runs.values()
    return started.given["runtime_config"]["parameters"]


def test_parameters_have_the_types_that_the_pipeline_declares(server) -> None:
    given = ["--epochs", "3", "--learning_rate=1e-4", "--early_stop", "--nonormalize", "--version", "17.0"]
    assert run(server, "submit", *CORPUS, *given, *FAST) == 0
    assert parameters_of(server) == {
        "corpus_uri": "s3://corpora/cy.tar.gz", "epochs": 3, "learning_rate": 1e-4, "early_stop": True,
        "normalize": False, "version": "17.0",
    }  # fmt: skip


def test_no_limit_is_sent_as_the_driver_takes_it(server) -> None:
    assert run(server, "submit", *CORPUS, "--train_cpu", "", "--train_memory=", *FAST) == 0
    assert parameters_of(server) == {"corpus_uri": CORPUS[1], "train_cpu": "0", "train_memory": "0"}


def test_what_is_wrong_is_refused_before_anything_is_sent(server, capsys) -> None:
    for flags, message in (
        ([], "error: --corpus_uri is missing"),
        ([*CORPUS, "--train_flags=--layer_nrom"], "error: --train_flags: unknown flag --layer_nrom"),
        ([*CORPUS, "--attempts", "0"], "error: --attempts 0 is not allowed"),
        ([*CORPUS, "--train_memory", "8 GB"], "error: --train_memory '8 GB' is not allowed"),
    ):
        assert run(server, "submit", *flags, *FAST) == 2
        assert capsys.readouterr().err.startswith(message)
    assert server.calls == []


def test_the_corpus_s_revision_is_sent(server, s3_bucket, tmp_path, capsys) -> None:
    (tmp_path / "x").write_bytes(b"archive")
    uri = f"{s3_bucket}/cy.tar.gz"
    upload_file(tmp_path / "x", uri)
    assert run(server, "submit", "--corpus_uri", uri, *FAST) == 0
    assert parameters_of(server) == {"corpus_uri": uri, "corpus_revision": revision(uri)}
    assert "corpus_revision" not in capsys.readouterr().err
    assert run(server, "submit", "--corpus_uri", f"{s3_bucket}/none.tar.gz", *FAST) == 2
    assert "none.tar.gz: nothing is there" in capsys.readouterr().err
    assert len(server.runs) == 1
    assert run(server, "submit", "--corpus_uri", uri, "--corpus_revision", "mine", *FAST) == 0
    assert server.newest.given["runtime_config"]["parameters"]["corpus_revision"] == "mine"


def test_a_revision_that_cannot_be_known_here_is_said(server, capsys) -> None:
    assert run(server, "submit", *CORPUS, *FAST) == 0
    assert "corpus_revision is unknown, and so a cached import of this name counts" in capsys.readouterr().err
    assert "corpus_revision" not in parameters_of(server)


def test_progress_is_one_line_a_step_and_the_run_s_address(server, capsys) -> None:
    assert run(server, "submit", *CORPUS, *FAST) == 0
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert f"run: {server.endpoint}/#/runs/details/{captured.out.strip()}" in lines
    steps = [line for line in lines if line.startswith(("Prepare", "Work"))]
    assert [line.split()[1] for line in steps] == ["succeeded", "succeeded"]
    assert not any(word in captured.err for word in ("driver", "executor", "root"))


@pytest.mark.parametrize(
    ("scenario", "code", "said"),
    [
        ("wrong_input", 2, "the run failed (wrong input: nothing is tried again): Work, attempt 1: error: --epochs -1"),
        ("passing", 75, "the run failed (it may work later): Work, attempt 2: interrupted: s3://corpora"),
        ("traceback", 1, "the run failed: Work, attempt 2: KeyError: 3: "),
        ("terminated", 1, "the run was canceled: "),
    ],
)
def test_the_last_line_says_why_and_where_and_the_exit_code_is_the_run_s(server, scenario, code, said, capsys) -> None:
    server.scenario = scenario
    assert run(server, "submit", *CORPUS, *FAST, "--attempts", "2", "--retry_wait_s", "0") == code
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith(f"error: {said}")
    assert last.endswith(f"{server.endpoint}/#/runs/details/{captured.out.strip()}")


def test_three_attempts_are_made(server, capsys) -> None:
    server.scenario = "traceback"
    assert run(server, "submit", *CORPUS, *FAST, "--retry_wait_s", "0") == 1
    assert server.newest.retried == 2
    assert "Work, attempt 3: KeyError: 3" in capsys.readouterr().err


def test_without_following_it_returns_at_once(server) -> None:
    server.scenario = "traceback"
    assert run(server, "submit", "--nofollow", *CORPUS) == 0
    assert server.newest.position == -1


def test_following_outlives_a_server_that_is_away(server, monkeypatch) -> None:
    started = server._create_run

    def away_after_start(**given):
        server.broken_answers = 4
        return started(**given)

    monkeypatch.setattr(server, "_create_run", away_after_start)
    assert run(server, "submit", *CORPUS, *FAST) == 0


def test_a_time_limit_ends_the_following_alone(server, capsys) -> None:
    server.scenario = "no_node"
    assert run(server, "submit", *CORPUS, *FAST, "--timeout_s", "0.2") == 75
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


def test_a_replaced_schedule_leaves_its_runs_alone(server, capsys) -> None:
    """Kubernetes would take the Workflows of its runs along."""
    flags = ["schedule", *CORPUS, "--publish_uri", "s3://models/cy"]
    assert run(server, *flags) == 0
    (old,) = server.schedules
    made = {"experiment_id": server.schedules[old]["experiment_id"], "recurring_run_id": old}
    server.runs = {"working": Playback("working", made, "no_node"), "done": Playback("done", made, "succeeded")}
    server.runs["done"].position = -1 + len(recording("succeeded")["frames"])
    capsys.readouterr()
    assert run(server, *flags, "--cron", "0 0 3 * * *") == 0
    assert list(server.schedules) != [old]
    assert not server.runs["working"].is_gone
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"a run of the replaced schedule goes on: {server.endpoint}/#/runs/details/working"


def test_a_given_release_is_scheduled_as_it_is(server, capsys) -> None:
    assert run(server, "schedule", "--corpus_uri", "s3://corpora/cy.tar.gz") == 0
    assert [one["display_name"] for one in server.pipelines.values()] == ["retrain"]
    assert "note: s3://corpora/cy.tar.gz is one release" in capsys.readouterr().err


@pytest.mark.parametrize("cron", ["daily", "0 2 * *", "0 0 2 * * * *", "0 0 2 * * ;"])
def test_a_cron_line_that_is_none_is_refused(cron) -> None:
    with pytest.raises(InputError, match="--cron"):
        ScheduleFlags(cron=cron)


def test_the_defaults_of_a_deployment_are_not_overwritten(server, tmp_path) -> None:
    (tmp_path / "deployment.toml").write_text('[steps.train]\ngpus = 2\ngpu_type = "nvidia.com/gpu"\n')
    flags = ["--deployment", str(tmp_path / "deployment.toml"), *CORPUS, *FAST]
    assert run(server, "submit", *flags, "--epochs", "2") == 0
    spec = next(iter(server.versions.values()))["pipeline_spec"]["pipeline_spec"]
    assert spec["root"]["inputDefinitions"]["parameters"]["train_gpus"]["defaultValue"] == "2"
    assert parameters_of(server) == {"corpus_uri": CORPUS[1], "epochs": 2}


def test_a_token_is_sent_and_not_shown(server, tmp_path, capsys) -> None:
    (tmp_path / "token").write_text("s3cr3t\n")
    assert run(server, "submit", "--token_file", str(tmp_path / "token"), *CORPUS, *FAST) == 0
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
    assert run(server, "submit", *CORPUS, "--corpus_revision", "x", *flags) == code
    errors = capsys.readouterr().err
    assert errors.startswith(message)
    assert errors.count("\n") == 1


def test_what_the_server_refuses_is_one_line(server, monkeypatch, capsys) -> None:
    monkeypatch.setattr(server, "_upload_version", refuse)
    assert run(server, "submit", *CORPUS, "--corpus_revision", "x", *FAST) == 2
    errors = capsys.readouterr().err
    assert errors == "error: uploading retrain: the server answered 403 Forbidden: not yours\n"
    assert errors.count("\n") == 1


def test_what_the_server_says_of_a_parameter_is_said(server, tmp_path, capsys) -> None:
    """A pipeline that is not ours, whose values nobody can check here."""
    small = small_pipelines.write(tmp_path / "p.yaml", "image", "true")
    text = small.read_text(encoding="utf-8")
    small.write_text(text.replace("parameterType: STRING", "parameterType: NUMBER_INTEGER"), encoding="utf-8")
    assert run(server, "submit", "--pipeline", str(small), "--version", "17.0", *FAST) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(
            "the server answered 400 Bad Request: input parameter version requires type double or integer, but the "
            "parameter value is not of number value type"
        )
    )


def refuse(**_: object) -> None:
    raise Refused(403, "not yours")


# The documented jobs: what they run, with the real `kfp`.


def kfp_job(name: str, server: KfpServer, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the part of a job that talks to Kubeflow: everything that calls kfp."""
    (folder / "retrain.yaml").write_text(compiled_pipeline.text(), encoding="utf-8")
    script = script_of(name)
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
    server.is_fast = True
    done = kfp_job(name, server, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    again = kfp_job(name, server, tmp_path, VERSION="4567ef01")
    assert again.returncode == 0, again.stdout + again.stderr
    assert [one["display_name"] for one in server.pipelines.values()] == ["retrain"]
    assert [one["display_name"] for one in server.versions.values()] == ["retrain", "0123abcd", "4567ef01"]
    used = [one.given["pipeline_version_reference"]["pipeline_version_id"] for one in server.runs.values()]
    assert used == list(server.versions)[1:]
    for one in server.runs.values():
        parameters = one.given["runtime_config"]["parameters"]
        assert parameters["corpus_uri"] == "s3://corpora/cv-corpus-17.0-2024-03-15-cy.tar.gz"
        assert parameters["epochs"] == 75
        assert isinstance(parameters["version"], str)


@pytest.mark.parametrize(
    ("name", "scenario"),
    [
        ("gitlab-ci.yml", "traceback"),
        pytest.param("gitlab-ci.yml", "terminated", marks=SLOW),
        pytest.param("github-actions.yml", "traceback", marks=SLOW),
    ],
)
def test_the_ci_jobs_fail_with_the_run(name, scenario, server, tmp_path) -> None:
    server.scenario, server.is_fast = scenario, True
    done = kfp_job(name, server, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED" in done.stdout + done.stderr


def test_both_jobs_run_the_same_commands() -> None:
    scripts = []
    for name in JOBS:
        script = script_of(name)
        scripts.append(script[script.index("PATH=") :].rstrip())
    assert scripts[0] == scripts[1]


@SLOW
def test_the_traps_of_the_cli_are_still_there(server, tmp_path) -> None:
    """What the jobs work around; if this fails, they can be made simpler."""
    server.scenario, server.is_fast = "traceback", True
    (tmp_path / "retrain.yaml").write_text(compiled_pipeline.text(), encoding="utf-8")

    def kfp(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(KFP), "--endpoint", server.endpoint, "--output", "json", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert kfp("pipeline", "create", "-p", "retrain", "retrain.yaml").returncode == 0
    version = next(iter(server.versions.values()))
    chosen = ["-p", version["pipeline_id"], "-v", version["pipeline_version_id"]]
    wrong = kfp("run", "create", "-e", "x", *chosen, "version=17.0")
    assert wrong.returncode != 0
    assert "requires type string" in wrong.stderr
    quoted = kfp("run", "create", "-e", "x", *chosen, 'version="17.0"')
    assert quoted.returncode == 0, quoted.stderr
    started = json.loads(quoted.stdout[quoted.stdout.index("{") :])
    watched = kfp("run", "get", "--watch", started["run_id"])
    assert watched.returncode == 0  # although it failed
