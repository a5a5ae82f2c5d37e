"""Somebody's folder `components` or `speech` must not take the place of ours where a command is called.

The installed `speechmill` does not look into the current folder, but `python -m`, by which it starts steps, does.
"""

import os
import sys
from pathlib import Path

from speech.errors import InputError

NAMES = ("speech", "components", "pipelines", "kfp")
ROOT = Path(__file__).resolve().parents[1]  # of our code: a checkout, or where it is installed


def keep_to_our_code(starts_steps: bool) -> None:
    """Let the processes that are started from here on not look for packages in the current folder.

    Where it is on the path already somebody put it there, as `python -m pipelines` does: then nothing is changed, and
    in a checkout of our code neither. Python 3.10 has no such switch: there InputError is raised if the command
    `starts_steps` and would find somebody's package of a name of ours.
    """
    here = Path.cwd()
    if here.resolve() == ROOT or any(place in ("", str(here)) for place in sys.path):
        return
    os.environ["PYTHONSAFEPATH"] = "1"
    found = [path for name in NAMES for path in (here / name / "__init__.py", here / f"{name}.py") if path.is_file()]
    if starts_steps and sys.version_info < (3, 11) and found:
        raise InputError(
            f"{found[0]} hides a package of Speechmill from Python 3.10: call speechmill in another folder, or take a "
            "newer Python"
        )
