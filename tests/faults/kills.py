"""Kills of single steps and of the whole local DAG, at random moments; a rerun has to end with the undisturbed one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.ledger import IDENTICAL, LOST, Ledger, is_clear
from tests.faults.warm import ROOT, Ended
from tests.faults.work import Workshop, difference_of

CODES = {  # what may follow a signal that a step can act on
    signal.SIGTERM: (0, 75, -signal.SIGTERM, 128 + signal.SIGTERM),
    signal.SIGINT: (0, 75, -signal.SIGINT, 128 + signal.SIGINT),
}
SIGNALS = (signal.SIGKILL,) * 5 + (signal.SIGTERM,) * 3 + (signal.SIGINT,) * 2
KILLS_A_RESULT = (1, 1, 2, 3)  # so many kills come before the work is let finish


def kill_step(workshop: Workshop, name: str, kills: int, numbers: np.random.Generator, ledger: Ledger) -> None:
    """Kill one step so often, in several works of it."""
    steps, one = workshop.steps, workshop.works()[name]
    done = 0
    while done < kills:
        out = workshop.folder / f"killed-{name}-{done}"
        chain, problems = [], []
        for _ in range(min(int(numbers.choice(KILLS_A_RESULT)), kills - done)):
            number = SIGNALS[int(numbers.integers(len(SIGNALS)))]
            whole = bool(numbers.random() < 0.5)
            after_s = float(numbers.uniform(0, workshop.seconds[name] * 1.05))
            running = one.start(steps, out)
            time.sleep(after_s)
            running.kill(number, group=whole)
            ended = running.wait(120)
            chain.append(f"{name}: {number.name} {'to all ' if whole else ''}")
            problems += _problems(number, ended, running.survivors())
            if not difference_of(one, out, workshop.references[name]):
                break  # the kill came behind the end, and another training would be a new one
        else:
            finished = one.run(steps, out)
            if finished.code:
                problems.append(f"the rerun ended with {finished.code}: {finished.errors[-800:]}")
        done += len(chain)
        if not problems and (difference := difference_of(one, out, workshop.references[name])):
            problems.append(f"another result: {difference}")
        for fault in chain:
            ledger.add(fault.strip(), LOST if problems else IDENTICAL, f"{out}: {'; '.join(problems)}")


def _problems(number: signal.Signals, ended: Ended, survivors: list[int]) -> list[str]:
    """What is wrong with the end of a step that got a signal."""
    problems = [f"processes {survivors} outlive it"] if survivors else []
    if ended.code not in CODES.get(number, (ended.code,)):
        problems.append(f"{number.name}: exit code {ended.code}: {ended.errors[-800:]}")
    if number in CODES and ended.code == 75 and not is_clear(ended.code, ended.errors):
        problems.append(f"{number.name}: not one line: {ended.errors[-800:]}")
    if "Traceback (most recent call last)" in ended.errors:
        problems.append(f"a traceback: {ended.errors[-1500:]}")
    return problems


def dag_command(release: Path, output: Path) -> list[str]:
    """The whole DAG on a release, with a tiny model."""
    flags = ["--n_hidden", "16", "--epochs", "2", "--train_batch_size", "4"]
    return [
        *(sys.executable, "-W", "ignore", "-m", "pipelines", "run"),
        *("--corpus_uri", str(release), "--output", str(output), *flags),
    ]


def dag_result(output: Path) -> dict[str, Any]:
    """What a run of the DAG must leave again: scores, counts, and the bytes of every model."""
    facts = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    kept = {name: facts[name] for name in ("wer", "cer", "test_clips", "clips")}
    models = {name: file["sha256"] for name, file in facts["files"].items() if "/output_graph." in name}
    version = facts["published"]["version"]  # named by its content, in which there are times
    kept["files"] = {name.replace(version, "VERSION"): digest for name, digest in models.items()}
    kept["losses"] = [(epoch["train_loss"], epoch["dev_loss"]) for epoch in facts["training"]["epochs"]]
    names = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    visible = {name.replace(version, "VERSION") for name in names if not name.startswith(".runs/")}
    kept["names"] = sorted(name for name in visible if not name.startswith("checkpoint/"))
    return kept


def run_dag(release: Path, output: Path) -> tuple[dict[str, Any], float]:
    """The undisturbed DAG, and how long it took."""
    started = time.monotonic()
    ended = subprocess.run(dag_command(release, output), cwd=ROOT, env=_environment(), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return dag_result(output), time.monotonic() - started


def kill_dag(workshop: Workshop, kills: int, a_run: int, numbers: np.random.Generator, ledger: Ledger) -> None:
    """Kill runs of the DAG, each `a_run` times before it may finish; of some only the command, of some all."""
    reference, seconds = run_dag(workshop.release, workshop.folder / "dag")
    done = 0
    while done < kills:
        output = workshop.folder / f"dag-killed-{done}"
        chain, problems = [], []
        for number_of in range(min(a_run, kills - done)):
            number = SIGNALS[int(numbers.integers(len(SIGNALS)))]
            whole = bool(numbers.random() < 0.5)
            left = seconds * (1 - number_of / (a_run + 1))  # what is done comes from the cache
            after_s = float(numbers.uniform(1, max(4.0, left * 0.9)))
            chain.append(f"DAG: {number.name} {'to all' if whole else 'to the command'}")
            problems += _kill_dag_once(workshop.release, output, number, whole, after_s)
        done += len(chain)
        ended = subprocess.run(
            dag_command(workshop.release, output), cwd=ROOT, env=_environment(), capture_output=True, text=True
        )
        if ended.returncode != 0:
            problems.append(f"the rerun ended with {ended.returncode}: {ended.stderr[-1000:]}")
        elif (found := dag_result(output)) != reference:
            different = [name for name in reference if found[name] != reference[name]]
            problems.append(f"another result: {[(name, found[name], reference[name]) for name in different]}")
        for fault in chain:
            ledger.add(fault, LOST if problems else IDENTICAL, f"{output}: {'; '.join(problems)}")


def _kill_dag_once(release: Path, output: Path, number: signal.Signals, whole: bool, after_s: float) -> list[str]:
    errors = output.with_suffix(".stderr")
    with errors.open("wb") as log:
        process = subprocess.Popen(
            dag_command(release, output), cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            children = descendants(process.pid)
            for pid in [process.pid, *(children if whole else ())]:
                _signal(pid, number)
        try:
            code = process.wait(120)
        except subprocess.TimeoutExpired:
            for pid in [process.pid, *descendants(process.pid)]:
                _signal(pid, signal.SIGKILL)
            return [f"{number.name}: no end within 120 s"]
    text = errors.read_text(encoding="utf-8", errors="replace")
    problems = ["a traceback: " + text[-1500:]] if "Traceback (most recent call last)" in text else []
    if code not in CODES.get(number, (code,)):
        problems.append(f"{number.name}: exit code {code}: {text[-800:]}")
    return problems


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found: list[int] = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return found
    for child in children:
        found += [child, *descendants(child)]
    return found
