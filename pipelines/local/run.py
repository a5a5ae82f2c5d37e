"""A run on this machine from the first check to the summary."""

import shutil
import sys
from pathlib import Path
from typing import Any

from components.publish.releases import is_watched, look
from pipelines.local import collect, messages, results, runners
from pipelines.local.revision import revision
from pipelines.local.screen import Screen
from pipelines.retrain import retrain
from speech.errors import InputError
from speech.storage.files import write_json


def run(arguments: dict[str, Any], output: Path, runner: str) -> int:
    """Run the pipeline, put its results into `output`, print and tell what came out; returns the exit code."""
    with messages.told(arguments, output) as known:
        return _run(arguments, output, runner, known)


def _run(arguments: dict[str, Any], output: Path, runner: str, known: dict[str, Any]) -> int:
    if not arguments["corpus_uri"]:
        raise InputError("--corpus_uri is missing: the folder or .tar.gz of a Common Voice release, local or s3://")
    if arguments["train_workers"] != 1:
        raise InputError(
            f"--train_workers {arguments['train_workers']}: several machines are started by the Kubeflow Trainer, on a "
            "cluster (`speechmill submit`): leave it at 1 here (--train_flags '--devices gpu:2' takes several GPUs)"
        )
    if is_watched(arguments["corpus_uri"]) and (arguments["publish_uri"] or not arguments["corpus_uri"].endswith("/")):
        news = look(arguments["corpus_uri"], arguments["publish_uri"], arguments["base_checkpoint_uri"])
        print(news.message, flush=True)
        if news.release is None:
            known["decision"] = news.message
            return 0
        arguments = arguments | {
            "corpus_uri": news.release.uri,
            "corpus_revision": news.release.revision,
            "previous": arguments["previous"] or news.previous,
            "base_checkpoint_uri": news.base_checkpoint_uri,
        }
    _check_output(output)
    runs = output.absolute() / collect.RUNS
    try:
        current = {"corpus_revision": arguments["corpus_revision"] or revision(arguments["corpus_uri"])}
        uncached = ("publish",) if arguments["publish_uri"] else ()  # what is there decides, which is no input
        screen = Screen()
        result = runners.run(retrain, arguments | current, runs, screen, runner, uncached)
        if result.failed_step:
            known |= messages.failure(result, screen)
            _tell_failure(result)
            return result.exit_code
        collect.collect(result.outputs, output)
        facts = results.gather(result, output)
        write_json(output / collect.SUMMARY, facts)
        known |= messages.success(result, facts, output)
        print(results.text(facts, output))
        return 0
    finally:
        _remove_if_empty(runs, output)


def _check_output(output: Path) -> None:
    """Refuse a folder that holds something else: its `corpus/`, `model/`, ... would be replaced."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: --output takes a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / collect.RUNS).is_dir():
        raise InputError(f"{output} holds files that no run made: choose an empty folder for --output, or a new one")


def _tell_failure(result: runners.LocalRun) -> None:
    """A step that ends with an error of the input says so itself; of any other, say where to look."""
    if result.log is not None:
        print(
            f"error: {result.failed_step} failed with exit code {result.exit_code}; its log is {result.log}",
            file=sys.stderr,
        )


def _remove_if_empty(runs: Path, output: Path) -> None:
    """After a run that failed before any step was done: leave nothing behind."""
    if runs.is_dir() and not any(path.is_file() for path in runs.rglob("*") if path.name != runners.LOCK):
        shutil.rmtree(runs)
    if output.is_dir() and not any(output.iterdir()):
        output.rmdir()
