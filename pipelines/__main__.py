"""The `speechmill` command."""

import runpy
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipelines.own_code import keep_to_our_code
from speech.errors import InputError, one_line_errors
from speech.extras import STEPS, require
from speech.settings import command, setting

URIS = (
    "corpus_uri", "previous", "base_checkpoint_uri", "checkpoint_uri", "scorer_uri", "champion", "publish_uri"
)  # fmt: skip


@dataclass(frozen=True)
class RunBase:
    """The flags of `speechmill run` that are no parameters of the pipeline."""

    output: str = setting(
        "build/run",
        "folder that takes the results; a rerun into it uses what has not changed",
        metavar="FOLDER",
        group="This run",
    )
    runner: str = setting("subprocess", "what a step runs in", choices=("subprocess", "docker"))


@dataclass(frozen=True)
class CompileFlags:
    """The flags of `speechmill compile`."""

    output: str = setting("", "file to write; empty: build/retrain.yaml or build/retrain-on-news.yaml", metavar="FILE")
    registry: str = setting("", "registry in front of the images' names, such as ghcr.io/team; empty: the deployment's")
    deployment: str = setting(
        "", "deployment.toml of the cluster (see examples/deployments); empty: one that suits most", metavar="FILE"
    )
    pipeline: str = setting(
        "retrain", "retrain, or the pipeline that looks for a new release first", choices=("retrain", "retrain-on-news")
    )


def run(argv: Sequence[str]) -> None:
    """Run the pipeline on this machine."""
    from pipelines.parameters import flags_class

    command(
        flags_class(RunBase),
        _run,
        prog="speechmill run",
        usage="--corpus_uri RELEASE",
        description="Run the whole pipeline on this machine: a Common Voice release in, models that clients load out.",
        argv=argv,
    )


def _run(flags: Any) -> None:
    if flags.runner == "subprocess":
        require(*STEPS)
    from pipelines.local import run as local

    own = {field.name for field in fields(RunBase)}
    arguments = {field.name: getattr(flags, field.name) for field in fields(flags) if field.name not in own}
    code = local.run(_absolute(arguments), Path(flags.output), flags.runner)
    if code:
        sys.exit(code)


def _absolute(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments with absolute paths: steps and containers may work in other folders."""
    from speech.storage.corpus_uri import split_corpora
    from speech.storage.objects import is_remote

    local = {name: arguments[name] for name in URIS if arguments[name] and not is_remote(arguments[name])}
    found = {name: str(Path(path).expanduser().absolute()) for name, path in local.items()}
    corpora = split_corpora(arguments["corpus_uri"])
    return arguments | found | {"corpus_uri": ",".join(map(_absolute_corpus, corpora))}


def _absolute_corpus(uri: str) -> str:
    """The same for one release; the slash at the end of a place where releases appear stays."""
    if "://" in uri:
        return uri
    return str(Path(uri).expanduser().absolute()) + "/" * uri.endswith("/")


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
    from pipelines.cluster import compiled, deployment
    from pipelines.cluster.nightly import nightly
    from pipelines.retrain import retrain

    pipeline = retrain if flags.pipeline == "retrain" else nightly
    path = Path(flags.output) if flags.output else compiled.FOLDER / f"{flags.pipeline}.yaml"
    cluster = deployment.read(Path(flags.deployment)) if flags.deployment else None
    print(f"{'wrote' if compiled.write(pipeline, path, flags.registry, cluster) else 'up to date:'} {path}")


def submit(argv: Sequence[str]) -> None:
    """Start a run on a cluster."""
    from pipelines.cluster import submission

    submission.submit(argv)


def schedule(argv: Sequence[str]) -> None:
    """Create or replace a schedule on a cluster."""
    from pipelines.cluster import submission

    submission.schedule(argv)


def images(argv: Sequence[str]) -> None:
    """Build or push the images, or say what is in them."""
    from pipelines.cluster import bill_of_materials, image_builds

    work = {"build": image_builds.build, "push": image_builds.push}
    with one_line_errors():
        if not argv or (argv[0] not in (*work, "sbom") and argv[0] not in ("--help", "-h")):
            raise InputError("speechmill images: expected build, push or sbom")
    if argv[0] == "sbom":
        command(
            bill_of_materials.BillFlags,
            bill_of_materials.write,
            prog="speechmill images sbom",
            description="Write what is in each image as CycloneDX, from the locks: packages, versions, SHA-256 sums.",
            argv=argv[1:],
        )
        return
    name = argv[0] if argv[0] in work else "build"
    command(
        image_builds.ImageFlags,
        work[name],
        prog=f"speechmill images {name}",
        description="Build the steps' images (build), push them to a registry (push), or list what is in them (sbom).",
        argv=argv[1:] if argv[0] in work else argv,
    )


def models(argv: Sequence[str]) -> None:
    """The versions of a place: list, compare, go back."""
    from components.publish.history import models as versions

    versions.main(argv)


def card(argv: Sequence[str]) -> None:
    """The model card of a version."""
    from pipelines import card as model_cards

    model_cards.main(argv)


def watch(argv: Sequence[str]) -> None:
    """A training while it runs."""
    from pipelines import watching

    watching.main(argv)


def doctor(argv: Sequence[str]) -> None:
    """Look at this machine."""
    from pipelines import doctor as work

    command(work.DoctorFlags, work.run, prog="speechmill doctor", description=work.DESCRIPTION, argv=argv)


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], None], str]] = {
    "run": (run, "run the whole pipeline on this machine"),
    "compile": (compile_pipeline, "write the pipeline as YAML for Kubeflow"),
    "submit": (submit, "start a run on Kubeflow and follow it"),
    "schedule": (schedule, "create or replace a recurring run on Kubeflow"),
    "watch": (watch, "follow a training in the terminal: its curves, and the time left"),
    "images": (images, "build the steps' images, push them, or list what is in them"),
    "models": (models, "list, show and compare the published versions, or roll back to one"),
    "card": (card, "print the model card of a published version, for a model hub"),
    "doctor": (doctor, "look at this machine: what is missing, and what to do"),
}
STEP_COMMANDS = {
    "import_cv": "a release to a corpus",
    "train": "a corpus to a checkpoint",
    "export": "a checkpoint to a frozen graph, memory-mapped graph, TFLite file",
    "convert_openvino": "a model to an OpenVINO IR",
    "build_scorer": "text to a scorer",
    "evaluate": "a model and a test set to scores",
    "publish": "a model and its scores to a version",
}
TOOLS = {  # and the extra that each needs
    "convert_openvino.transcribe": "convert-openvino",
    "evaluate.tune": "evaluate",
    "export.memmapped": "convert-mmap",
    "train.peers": "train",
    "train.peers.data_set_tool": "train",
    "train.peers.play": "train",
}
WITHOUT_KFP = ("models", "card")
WITHOUT_EXTRAS = ("doctor", "watch")  # which says what is missing; whose run on Kubeflow asks for kfp itself


def usage() -> str:
    """The help of the command itself."""
    lines = [f"  {name:10} {text}" for name, (_, text) in COMMANDS.items()]
    steps = [f"  {name:17} {text}" for name, text in STEP_COMMANDS.items()]
    heading = "one step, or a tool of one, as `python -m components.NAME` runs it, in any folder:"
    tools = textwrap.wrap(", ".join(TOOLS), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(["usage: speechmill COMMAND [--help] [flags]", "", *lines, "", heading, *steps, *tools])


def step_or_tool(name: str, argv: Sequence[str]) -> None:
    """The program of a step, which asks for its extra itself, or a tool."""
    with one_line_errors():
        if name in TOOLS:
            require(TOOLS[name])
    sys.argv[1:] = argv
    runpy.run_module(f"components.{name}", run_name="__main__", alter_sys=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        print(usage())
        return
    if argv is None:  # a process of its own
        with one_line_errors():
            keep_to_our_code(starts_steps=name == "run" or name in STEP_COMMANDS or name in TOOLS)
    if name in STEP_COMMANDS or name in TOOLS:
        step_or_tool(name, arguments[1:])
        return
    with one_line_errors():
        if name not in COMMANDS:
            raise InputError(f"unknown command {name}: expected {', '.join([*COMMANDS, *STEP_COMMANDS])}")
        if name not in WITHOUT_EXTRAS:
            require("publish" if name in WITHOUT_KFP else "pipeline")
    COMMANDS[name][0](arguments[1:])


if __name__ == "__main__":
    main()
