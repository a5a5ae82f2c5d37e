"""Run a pipeline on this machine through kfp.local: each step a subprocess, or a container of the step's image.

The DAG and its components are those of a cluster. kfp.local decides what runs when, and passes the artifacts; three of
its functions are replaced for the time of a run, because it has no setting for them: how a step's process is run (it
would print every input and cut progress bars into lines), how a container is (it takes a container that is already gone
for one that ended well), and which cache is used (it would trust a damaged artifact).
"""

import contextlib
import fcntl
import functools
import io
import json
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kfp.local
import kfp.local.cache
import kfp.local.docker_task_handler
import kfp.local.subprocess_task_handler

from pipelines.local.containers import docker_runner, gpus_of, run_container, with_gpus
from pipelines.local.processes import run_process
from pipelines.local.screen import Screen
from pipelines.local.step_cache import Outputs, VerifiedCache
from speech.errors import EXIT_INPUT, EXIT_RETRY, InputError
from speech.storage.files import write_text

RUNNERS = ("subprocess", "docker")
CACHE = "cache"
LOCK = "lock"
UNFINISHED = ".unfinished"  # beside the folder of a step that works or was interrupted: the key of its work
COMPONENT_PREFIX = "comp-"  # kfp's, of component names; a step's folder is named without it


@dataclass
class LocalRun:
    """What happened: the outputs and the time of each step, and the step that failed, if one did."""

    outputs: dict[str, Outputs] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # of a cached step: those it took when it ran
    cached: list[str] = field(default_factory=list)
    failed_step: str = ""
    exit_code: int = 0
    log: Path | None = None  # of a step that failed without saying why in a line of its own


def run(
    pipeline: Callable[..., Any],
    arguments: dict[str, Any],
    folder: Path,
    screen: Screen,
    runner: str = "subprocess",
    uncached: Collection[str] = (),
) -> LocalRun:
    """Run a kfp pipeline with its artifacts and its cache in `folder`. The steps `uncached` are run in any case.

    A failing step ends the run; the step itself has told on the screen what is wrong. What a step left that was
    interrupted is there for the next attempt with the same inputs: a training goes on. What it left of a wrong input is
    removed.
    """
    result, names = LocalRun(), step_names(pipeline)
    with _locked(folder), _terminable():
        tell = functools.partial(_cached, result=result, screen=screen)
        cache = VerifiedCache(folder / CACHE, names, result.seconds, tell, uncached)
        steps = _Steps(folder, names, cache, screen, result, gpus_of(arguments))
        kfp.local.init(
            runner=docker_runner(arguments) if runner == "docker" else kfp.local.SubprocessRunner(use_venv=False),
            pipeline_root=str(folder),
            enable_caching=True,
        )
        try:
            with _quiet(), steps.installed():
                pipeline(**arguments)
        except RuntimeError:
            if not result.failed_step:
                raise
        finally:
            steps.clean_up()
    result.outputs = cache.outputs
    return result


def step_names(pipeline: Any) -> dict[str, str]:
    """kfp's component name of each task (`comp-convert-mmap`) -> the task's own name (`convert_mmap`)."""
    tasks = pipeline.pipeline_spec.root.dag.tasks.values()
    return {task.component_ref.name: task.task_info.name.replace("-", "_") for task in tasks}


def _cached(step: str, result: LocalRun, screen: Screen) -> None:
    result.cached.append(step)
    screen.cached(step)


class _Steps:
    """Runs the steps' processes for kfp."""

    def __init__(
        self,
        folder: Path,
        names: Mapping[str, str],
        cache: VerifiedCache,
        screen: Screen,
        result: LocalRun,
        gpus: int,
    ) -> None:
        self.folder, self.names, self.cache, self.screen, self.result = folder, names, cache, screen, result
        self.gpus = gpus  # of the training's container
        self._working: Path | None = None  # the folder of the step that runs

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Put the replacements in the place of kfp's functions."""
        with (
            _replaced(kfp.local.subprocess_task_handler, "run_local_subprocess", self.run_subprocess),
            _replaced(kfp.local.docker_task_handler, "run_docker_container", self.run_container),
            _replaced(kfp.local.cache, "get_local_cache", lambda: self.cache),
        ):
            yield

    def run_subprocess(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Stands for kfp's function of this signature."""
        with tempfile.TemporaryDirectory(prefix="speechmill-") as scratch:  # kfp's wrapper leaves a folder in TMPDIR
            environment = {**os.environ, "TMPDIR": scratch, "PYTHONUNBUFFERED": "1", **(env_vars or {})}
            return self._step(full_command, lambda log: run_process(full_command, environment, log, self.screen))

    def run_container(
        self, client: Any, image: str, command: list[str], volumes: dict[str, Any], **container_run_args: Any
    ) -> int:
        """Stands for kfp's function of this signature."""
        options = {"image": image, "command": command, "volumes": volumes, **container_run_args}
        return self._step(command, lambda log: run_container(client, with_gpus(options, self.gpus), log, self.screen))

    def _step(self, command: Sequence[str], work: Callable[[Path], int]) -> int:
        folder = _step_folder(command)
        step, log = self.names[f"{COMPONENT_PREFIX}{folder.name}"], folder.with_suffix(".log")
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._adopt(folder)
        self._working, started_s = folder, time.monotonic()
        self.screen.start(step)
        code = work(log)
        seconds = time.monotonic() - started_s
        self.result.seconds[step] = seconds
        if code == 0:
            folder.with_suffix(UNFINISHED).unlink()
            self._working = None
            self.screen.finish(seconds)
        else:
            self.screen.fail()
            self.result.failed_step, self.result.exit_code = step, code
            self.result.log = None if code in (EXIT_INPUT, EXIT_RETRY) else log
        return code

    def _adopt(self, folder: Path) -> None:
        """Mark a step's folder as unfinished, and move there what an unfinished attempt at the same work left."""
        key = self.cache.key
        for mark in self.folder.glob(f"*/{folder.name}{UNFINISHED}"):
            if mark.read_text(encoding="utf-8") == key and mark.with_suffix("").is_dir():
                mark.with_suffix("").rename(folder)
                mark.unlink()
                break
        write_text(folder.with_suffix(UNFINISHED), key)

    def clean_up(self) -> None:
        """Remove what a refused input left, and runs of which neither a cached nor an unfinished step is left."""
        kept = {CACHE} | {path.relative_to(self.folder).parts[0] for path in self._artifacts()}
        if self._working is not None:
            if self.result.exit_code == EXIT_INPUT or not self._working.is_dir():
                shutil.rmtree(self._working, ignore_errors=True)
                self._working.with_suffix(UNFINISHED).unlink(missing_ok=True)
            else:
                kept.add(self._working.parent.name)
        if self.result.log is not None:
            kept.add(self.result.log.parent.name)
        for run_folder in self.folder.iterdir():
            if run_folder.is_dir() and run_folder.name not in kept:
                shutil.rmtree(run_folder, ignore_errors=True)

    def _artifacts(self) -> list[Path]:
        return [path for path in self.cache.artifact_paths() if path.is_relative_to(self.folder)]


def _step_folder(command: Sequence[str]) -> Path:
    """Where a step's outputs go, from the executor input in its command."""
    position = list(command).index("--executor_input")
    return Path(json.loads(command[position + 1])["outputs"]["outputFile"]).parent


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep kfp's own log and warnings, some 40 lines a step, off the terminal."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one run at a time work in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{folder}: another run is working there: wait for it, or choose another --output"
            ) from None
        yield


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the run the way Ctrl-C does: the step's processes are ended, what they left is removed."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
