"""The publish step from a shell: python -m components.publish --model ... --publish_uri ..."""

from dataclasses import dataclass
from pathlib import Path

from components.publish import step
from components.publish.settings import PublishSettings
from speech.errors import InputError
from speech.settings import command, setting


@dataclass(frozen=True)
class PublishCommand(PublishSettings):
    """The settings, and the paths that the pipeline would pass."""

    model: str = setting("", "folder of the exported model (model.json, output_graph.pb)")
    mapped: str = setting("", "folder of the memory-mapped graph (output_graph.pbmm), if there is one")
    ir: str = setting("", "folder of the OpenVINO IR, if there is one")
    evaluation: str = setting("", "folder of the scores, if there are any")
    publish_uri: str = setting("", "folder or s3:// prefix that takes the version")


def run(settings: PublishCommand) -> None:
    """Publish and say where the version is."""
    for flag in ("model", "publish_uri"):
        if not getattr(settings, flag):
            raise InputError(f"--{flag} is missing: `python -m components.publish --help` lists the flags")
    names = ("model", "mapped", "ir", "evaluation")
    artifacts = {name: Path(getattr(settings, name)) for name in names if getattr(settings, name)}
    version = step.run(settings, artifacts, settings.publish_uri)
    print(f"{'published' if version.new else 'already published'}: {version.uri}")


def main() -> None:
    """Entry point."""
    command(
        PublishCommand,
        run,
        prog="python -m components.publish",
        description="Put a version of a model, with its scores and checksums, under a folder or an s3:// prefix.",
    )


if __name__ == "__main__":
    main()
