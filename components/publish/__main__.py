"""The publish step from a shell: python -m components.publish [rollback|champion|models] ..."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.publish.settings import PublishSettings
from speech.errors import InputError
from speech.extras import require
from speech.settings import command, setting
from speech.tracking.tracking_settings import TrackingSettings

PROG = "python -m components.publish"


@dataclass(frozen=True)
class PublishCommand(PublishSettings, TrackingSettings):
    """The settings, and the paths that the pipeline would pass."""

    model: str = setting(
        "", "folder of the exported model (model.json, output_graph.pb)", group="Input and output", metavar="FOLDER"
    )
    mapped: str = setting(
        "", "folder of the memory-mapped graph (output_graph.pbmm), if there is one", metavar="FOLDER"
    )
    tflite: str = setting("", "folder of the TFLite model, if there is one", metavar="FOLDER")
    ir: str = setting("", "folder of the OpenVINO IR, if there is one", metavar="FOLDER")
    scorer: str = setting("", "folder of the scorer that it was measured with, if there is one", metavar="FOLDER")
    card: str = setting("", "folder of the model card, if there is one", metavar="FOLDER")
    evaluation: str = setting(
        "", "folder of the scores; without them the version cannot become the champion", metavar="FOLDER"
    )
    checkpoint: str = setting(
        "", "folder of the checkpoint, whose best one goes into the version; empty: none", metavar="FOLDER"
    )
    publish_uri: str = setting("", "folder or s3:// prefix that takes the version")
    corpus_uri: str = setting("", "release that the model was trained on, for the record")
    corpus_revision: str = setting("", "its revision: a scheduled run trains on each revision once")


@dataclass(frozen=True)
class RollbackCommand(TrackingSettings):
    """What to go back to, and where."""

    publish_uri: str = setting("", "folder or s3:// prefix of the versions")
    version: str = setting("", "version to go back to; empty: the champion before the one in force")


@dataclass(frozen=True)
class ChampionCommand:
    """Where to look."""

    publish_uri: str = setting("", "folder or s3:// prefix of the versions")


def run(settings: PublishCommand) -> None:
    """Publish, decide on the champion, and say what came out."""
    _require(settings, "model")
    from components.publish import registration, step

    names = ("model", "mapped", "tflite", "ir", "scorer", "card", "evaluation", "checkpoint")
    artifacts = {name: Path(getattr(settings, name)) for name in names if getattr(settings, name)}
    source = step.Provenance(settings.corpus_uri, settings.corpus_revision)
    version = step.run(settings, artifacts, settings.publish_uri, source)
    print(f"{'published' if version.new else 'already published'}: {version.uri}")
    print(step.verdict(version))
    registration.in_pipeline(settings, version, {}, settings.publish_uri, version.uri)


def roll_back(settings: RollbackCommand) -> None:
    """Move the champion back and say where it is now."""
    _require(settings)
    from components.publish import registration
    from components.publish.champion import Champions
    from components.publish.model_bucket import open_target

    record = Champions(open_target(settings.publish_uri)).roll_back(settings.version)
    if moved := registration.champion(settings, settings.publish_uri, record["version"], record["uri"]):
        print(moved)
    print(f"rolled back from {record['from']}: the champion is {record['version']}, {record['uri']}")


def champion(settings: ChampionCommand) -> None:
    """Print the record in force."""
    _require(settings)
    from components.publish.champion import Champions
    from components.publish.contents import to_json
    from components.publish.model_bucket import open_target

    record = Champions(open_target(settings.publish_uri)).current()
    if record is None:
        raise InputError(f"{settings.publish_uri}: no champion there yet")
    print(to_json(record), end="")


def _require(settings: object, *flags: str) -> None:
    for flag in (*flags, "publish_uri"):
        if not getattr(settings, flag):
            raise InputError(f"--{flag} is missing: `{PROG} --help` lists the flags")
    require("publish")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["rollback"]:
        description = "Make the champion before the one in force the champion again."
        command(RollbackCommand, roll_back, prog=f"{PROG} rollback", description=description, argv=arguments[1:])
    elif arguments[:1] == ["champion"]:
        command(
            ChampionCommand, champion, prog=f"{PROG} champion", description="Show the champion.", argv=arguments[1:]
        )
    elif arguments[:1] == ["models"]:
        from components.publish.history import models

        models.main(arguments[1:], prog=f"{PROG} models")
    else:
        description = (
            "Put a version of a model, with its scores and checksums, under a folder or an s3:// prefix, and make it "
            "the champion there if it is better. `rollback`, `champion` or `models` as first word: see its own --help."
        )
        usage = "--model FOLDER --publish_uri URI"
        command(PublishCommand, run, prog=PROG, description=description, usage=usage, argv=arguments)


if __name__ == "__main__":
    main()
