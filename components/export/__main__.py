"""The export from a shell: checkpoint folder in, frozen and memory-mapped graphs out."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from components.export.settings import ExportSettings
from speech.errors import InputError
from speech.settings import command, setting


@dataclass(frozen=True)
class ExportCommand(ExportSettings):
    """The settings, and where things are."""

    checkpoint_dir: str = setting("", "checkpoint folder: ours, DeepSpeech's or Coqui STT's")
    export_dir: str = setting("", "folder for the exported model")


def main() -> None:
    """Parse the command line and export."""
    command(
        ExportCommand,
        _run,
        prog="python -m components.export",
        description="Export a checkpoint as frozen (.pb) and memory-mapped (.pbmm) graphs for native clients.",
    )


def _run(given: ExportCommand) -> None:
    for flag in ("checkpoint_dir", "export_dir"):
        if not getattr(given, flag):
            raise InputError(f"--{flag} is missing: `python -m components.export --checkpoint_dir C --export_dir D`")
    from components.export import step

    names = {field.name for field in fields(ExportSettings)}
    settings = ExportSettings(**{name: value for name, value in asdict(given).items() if name in names})
    folder = Path(given.export_dir)
    step.freeze(settings, Path(given.checkpoint_dir), folder)
    step.convert_mmap(folder, folder)


if __name__ == "__main__":
    main()
