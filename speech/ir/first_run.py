"""A stranger's IR, read, compiled and run once in a process of its own: `python -m speech.ir.first_run MODEL.xml`.

OpenVINO is C++ with threads, so a fork of a process that has used it before would not do.
"""

import sys

import numpy as np

from speech.errors import InputError
from speech.model_files import door
from speech.native import trial


def try_out(model: door.Model) -> None:
    """Raise InputError for an IR that OpenVINO refuses or crashes with; costs 0.4 s and the time to compile it."""
    trial.attempt_apart("speech.ir.first_run", model.path, "OpenVINO")


def main() -> None:
    """One call on a bit of silence; an InputError ends it with a line on stderr and code 1."""
    (path,) = sys.argv[1:]
    try:
        model = door.open(path)
        trial.limit(trial.memory_for(model.path.with_suffix(".bin")))

        from speech.ir.runner import IrRunner

        length = model.geometry.window_samples + model.geometry.step_samples
        IrRunner(model, batches=True).emissions([np.zeros(length, np.int16)])
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
