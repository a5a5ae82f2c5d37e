"""The `speechmill` command."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from speech.errors import InputError, one_line_errors
from speech.settings import command, setting

URIS = ("corpus_uri", "base_checkpoint_uri", "checkpoint_uri", "publish_uri")


@dataclass(frozen=True)
class RunBase:
    """The flags of `speechmill run` that are no parameters of the pipeline."""

    output: str = setting("build/run", "folder that takes the results; a rerun into it uses what has not changed")
    runner: str = setting("subprocess", "what a step runs in", choices=("subprocess", "docker"))


@dataclass(frozen=True)
class CompileFlags:
    """The flags of `speechmill compile`."""

    output: str = setting("", "file to write; empty: pipelines/retrain.yaml beside the code")
    registry: str = setting("", "registry in front of the images' names, such as ghcr.io/team; empty: none")


def run(argv: Sequence[str]) -> None:
    """Run the pipeline on this machine."""
    from pipelines.parameters import flags_class
    from pipelines.retrain import retrain

    command(
        flags_class(retrain.pipeline_func, RunBase),
        _run,
        prog="speechmill run",
        description="Run the whole pipeline on this machine: a Common Voice release in, models that clients load out.",
        argv=argv,
    )


def _run(flags: Any) -> None:
    from pipelines import local

    given = {field.name for field in fields(RunBase)}
    arguments = {field.name: getattr(flags, field.name) for field in fields(flags) if field.name not in given}
    code = local.run(_absolute(arguments), Path(flags.output), flags.runner)
    if code:
        sys.exit(code)


def _absolute(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments with absolute paths: steps and containers may work in other folders."""
    from speech.storage import is_remote

    local = {name: arguments[name] for name in URIS if arguments[name] and not is_remote(arguments[name])}
    return arguments | {name: str(Path(path).expanduser().absolute()) for name, path in local.items()}


def compile_pipeline(argv: Sequence[str]) -> None:
    """Write the pipeline as YAML."""
    command(
        CompileFlags,
        _compile,
        prog="speechmill compile",
        description="Compile the pipeline to the YAML file that Kubeflow Pipelines takes.",
        argv=argv,
    )


def _compile(flags: CompileFlags) -> None:
    from pipelines import compiled
    from pipelines.retrain import retrain

    path = Path(flags.output) if flags.output else compiled.PATH
    print(f"{'wrote' if compiled.write(retrain, path, flags.registry) else 'up to date:'} {path}")


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], None], str]] = {
    "run": (run, "run the whole pipeline on this machine"),
    "compile": (compile_pipeline, "write the pipeline as YAML for Kubeflow"),
}


def usage() -> str:
    """The help of the command itself."""
    lines = [f"  {name:10} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: speechmill COMMAND [--help] [flags]", "", *lines])


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        print(usage())
        return
    with one_line_errors():
        if name not in COMMANDS:
            raise InputError(f"unknown command {name}: expected {' or '.join(COMMANDS)}")
    COMMANDS[name][0](arguments[1:])


if __name__ == "__main__":
    main()
