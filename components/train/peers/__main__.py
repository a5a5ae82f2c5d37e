"""Write the stand-ins: python -m components.train.peers --folder FOLDER"""

from dataclasses import dataclass
from pathlib import Path

from components.train.peers import stand_ins
from speech.errors import InputError
from speech.settings import command, setting


@dataclass(frozen=True)
class PeersCommand:
    """Where to."""

    folder: str = setting(
        "", "folder that takes the programs, in place of a checkout of DeepSpeech", group="Output", metavar="FOLDER"
    )


def run(flags: PeersCommand) -> None:
    """Write the programs, and say how they are found."""
    if not flags.folder:
        raise InputError("--folder is missing: the folder that takes the programs")
    folder = Path(flags.folder).expanduser().absolute()
    for name in stand_ins.write(folder):
        print(name)
    print("found by their plain names after:", *stand_ins.search_paths(folder), sep="\n")


def main() -> None:
    """Entry point."""
    command(
        PeersCommand,
        run,
        prog="python -m components.train.peers",
        usage="--folder FOLDER",
        description="Write programs with the names of DeepSpeech's, Coqui STT's and mo that run Speechmill.",
    )


if __name__ == "__main__":
    main()
