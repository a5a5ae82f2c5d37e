"""A schedule that is replaced while its run works, on a real Kubeflow Pipelines."""

from pathlib import Path

import pytest

from tests.kubeflow import small_pipelines
from tests.kubeflow.server import Kubeflow, until

pytestmark = pytest.mark.kubeflow

OFTEN, NEVER = "*/5 * * * * *", "0 0 2 29 2 *"


def test_replacing_a_schedule_touches_none_of_its_runs(kubeflow: Kubeflow, tmp_path: Path) -> None:
    def schedule(script: str, cron: str) -> str:
        path = small_pipelines.write(tmp_path / "p.yaml", kubeflow.image, script)
        done = kubeflow.run("schedule", "--pipeline", str(path), "--name", kubeflow.name, "--cron", cron)
        assert done.code == 0
        return done.out.strip() + done.err

    def runs_of(text: str) -> list[str]:
        schedule_id = text.split()[0].removesuffix("uploaded")
        return [run.run_id for run in kubeflow.runs() if run.recurring_run_id == schedule_id[:36]]

    def pods(run_id: str) -> dict[str, str]:
        from speech.kubeflow_runs import workflow

        steps = workflow.steps(kubeflow.cluster.workflow(run_id))
        return {step.name: step.state for step in steps if not step.is_kubeflows}

    first = schedule("echo from the first; exit 1", OFTEN)
    failed = until(lambda: next(iter(runs_of(first)), ""))
    until(lambda: kubeflow.client.get_run(failed).state == "FAILED")
    second = schedule("sleep 40; echo from the second", OFTEN)
    running = until(lambda: next(iter(runs_of(second)), ""))
    until(lambda: pods(running).get("Work") == "running")

    third = schedule("echo from the third", NEVER)
    assert "replaced the schedule" in third
    assert f"a run of the replaced schedule goes on: {kubeflow.endpoint}/#/runs/details/{running}" in third
    schedules = kubeflow.client.list_recurring_runs(experiment_id=kubeflow.experiment_id()).recurring_runs
    assert [one.recurring_run_id for one in schedules] == [third[:36]]
    until(lambda: kubeflow.client.get_run(running).state not in ("RUNNING", "PENDING"))
    assert kubeflow.client.get_run(running).state == "SUCCEEDED"
    assert pods(running) == {"Prepare": "succeeded", "Work": "succeeded"} or pods(running)["Work"] == "succeeded"
    for run_id, said in ((failed, "from the first"), (running, "from the second")):
        assert said in log_of(kubeflow, run_id)


def log_of(kubeflow: Kubeflow, run_id: str) -> str:
    from speech.kubeflow_runs import workflow

    steps = workflow.steps(kubeflow.cluster.workflow(run_id))
    (step,) = [step for step in steps if step.name == "Work"]
    return kubeflow.cluster.log(run_id, step.pods[-1].name)
