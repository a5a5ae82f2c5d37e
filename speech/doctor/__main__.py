"""The doctor of a step's image or pod: `python -m speech.doctor`; `speechmill doctor` looks at more."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from speech.doctor import gpu, machine, object_store
from speech.doctor.checks import Check, as_json, has_problem, page
from speech.doctor.settings import DoctorSettings
from speech.settings import command

DESCRIPTION = "Look at this machine: what Speechmill needs, what is missing, what to do. Exit code 1 for a problem."


def examine(settings: DoctorSettings) -> Iterator[Check]:
    """All that can be said with a step's image alone."""
    yield machine.python()
    yield machine.own_packages(gpu.ROOT)
    yield machine.processor(machine.cpu_flags())
    yield machine.memory(settings.hours)
    yield machine.shared_memory()
    yield machine.disk(Path(settings.output), settings.hours)
    yield machine.scratch()
    yield from machine.programs()
    yield from gpu.checks()
    yield from object_store.checks(settings.s3)


def tell(checks: Iterable[Check], json: bool) -> None:
    """Print the checks; end the process with 1 if there is a problem."""
    checks = list(checks)
    print(as_json(checks) if json else page(checks), flush=True)
    if has_problem(checks):
        sys.exit(1)


def run(settings: DoctorSettings) -> None:
    """Examine and tell."""
    tell(examine(settings), settings.json)


if __name__ == "__main__":
    command(DoctorSettings, run, prog="python -m speech.doctor", description=DESCRIPTION)
