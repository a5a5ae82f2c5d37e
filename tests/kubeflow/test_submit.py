"""`speechmill submit` towards a real Kubeflow Pipelines: what is said of a run, and with which code it ends."""

import re
import time
from pathlib import Path

import pytest

from tests.kubeflow import small_pipelines
from tests.kubeflow.server import Kubeflow, until

pytestmark = pytest.mark.kubeflow


def lines(err: str, name: str) -> list[str]:
    return [line for line in err.splitlines() if re.match(rf"{name}( |,|:)", line)]


def test_a_run_and_the_same_from_the_cache(kubeflow: Kubeflow, tmp_path: Path) -> None:
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, f"echo {kubeflow.name}")
    flags = ["--version", "17.0"]  # a text that looks like a number
    first = kubeflow.submit(path, *flags)
    assert first.code == 0
    for name in (small_pipelines.PREPARE, small_pipelines.WORK):
        (line,) = lines(first.err, name)
        assert re.search(r" succeeded +\d+ s$", line)
    assert not re.search("driver|executor|root", first.err)
    assert f"/#/runs/details/{first.run_id}" in first.err
    second = kubeflow.submit(path, *flags)
    assert second.code == 0
    assert "there already: " in second.err
    assert all(re.search(r" cached +\d+ s$", line) for name in ("Prepare", "Work") for line in lines(second.err, name))
    versions = kubeflow.client.list_pipeline_versions(kubeflow.client.get_pipeline_id(kubeflow.name), page_size=100)
    names = [version.display_name for version in versions.pipeline_versions]  # other tests upload theirs, too
    (uploaded,) = re.findall("^uploaded .*, version (.*)$", first.err, re.MULTILINE)
    assert uploaded in names
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in names)


def test_a_wrong_input_is_explained_and_not_tried_again(kubeflow: Kubeflow, tmp_path: Path) -> None:
    script = "echo working; echo 'error: --epochs -1 is not allowed: 1 or more' >&2; exit 2"
    done = kubeflow.submit(small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, script, retries=2))
    assert done.code == 2
    assert "Work, attempt 1: error: --epochs -1 is not allowed: 1 or more\n" in done.err
    last = done.err.splitlines()[-1]
    assert last.startswith(
        "error: the run failed (wrong input: nothing is tried again): Work, attempt 1: error: --epochs"
    )
    assert last.endswith(f"/#/runs/details/{done.run_id}")
    assert "attempt 2" not in done.err


def test_what_fails_for_now_is_tried_again_and_nothing_else(kubeflow: Kubeflow, tmp_path: Path) -> None:
    cured = int(time.time()) + 45
    script = f"[ $(date +%s) -ge {cured} ] || {{ echo 'interrupted: the store is away' >&2; exit 75; }}"
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, script)
    done = kubeflow.submit(path, "--attempts", "20", "--retry_wait_s", "0")
    assert done.code == 0
    assert "Work, attempt 1: interrupted: the store is away" in done.err
    assert "attempt 2 of 20" in done.err
    assert len(lines(done.err, "Prepare")) == 1


def test_after_the_last_attempt_it_says_that_it_may_work_later(kubeflow: Kubeflow, tmp_path: Path) -> None:
    script = "echo 'interrupted: the store is away' >&2; exit 75"
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, script)
    done = kubeflow.submit(path, "--attempts", "2", "--retry_wait_s", "0")
    assert done.code == 75
    assert "the run failed (it may work later): Work, attempt 2: interrupted: the store is away" in done.err


def test_a_traceback_s_last_line_is_the_reason(kubeflow: Kubeflow, tmp_path: Path) -> None:
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, "python3 -c '{}[3]'")
    done = kubeflow.submit(path, "--attempts", "1")
    assert done.code == 1
    assert "Work, attempt 1: KeyError: 3" in done.err


def test_out_of_memory_is_said_in_words(kubeflow: Kubeflow, tmp_path: Path) -> None:
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, "tail /dev/zero", memory="96Mi")
    done = kubeflow.submit(path, "--attempts", "1")
    assert done.code == 1
    assert "Work, attempt 1: out of memory (exit code 137): it may use 96Mi" in done.err


def test_a_step_s_time_is_limited(kubeflow: Kubeflow, tmp_path: Path) -> None:
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, "sleep 600", timeout_s=20)
    done = kubeflow.submit(path, "--attempts", "1")
    assert done.code == 1
    assert "Work, attempt 1: it ran longer than its timeout_s" in done.err


def test_an_image_that_cannot_be_pulled_is_said(kubeflow: Kubeflow, tmp_path: Path) -> None:
    missing = "127.0.0.1:9/nothing/here:1"
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, "true", work_image=missing)
    done = kubeflow.submit(path, "--timeout_s", "60")
    assert done.code == 75
    assert re.search(rf"^Work: its image cannot be pulled: .*{re.escape(missing)}", done.err, re.MULTILINE)
    kubeflow.client.terminate_run(done.run_id)


def test_a_pod_that_no_node_takes_is_spoken_of_after_2_minutes(kubeflow: Kubeflow, tmp_path: Path) -> None:
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, "true", cpu="1000", memory="64Mi")
    process = kubeflow.start("submit", "--pipeline", str(path), "--poll_s", "1", "--timeout_s", "600")
    assert process.stdout is not None
    assert process.stderr is not None
    run_id = process.stdout.readline().strip()
    said = next((line for line in process.stderr if line.startswith("Work is pending for 120 s")), "")
    process.kill()
    kubeflow.client.terminate_run(run_id)
    assert "it asks for 1k cpu, 64Mi memory: Unschedulable: " in said


def test_a_run_that_is_terminated_ends_the_command(kubeflow: Kubeflow, tmp_path: Path) -> None:
    path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, "sleep 300")
    process = kubeflow.start("submit", "--pipeline", str(path), "--poll_s", "1", "--run_name", "terminated")
    run = until(lambda: next((run for run in kubeflow.runs() if run.display_name == "terminated"), None))
    until(lambda: kubeflow.client.get_run(run.run_id).state == "RUNNING")
    kubeflow.client.terminate_run(run.run_id)
    _, err = process.communicate(timeout=120)
    print(err)
    assert process.returncode == 1
    assert f"error: the run was canceled: {kubeflow.endpoint}/#/runs/details/{run.run_id}" in err
    assert "attempt" not in err
