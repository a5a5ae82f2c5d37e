"""What goes wrong by the user's input, as opposed to by a bug of ours."""

import contextlib
import errno
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

EXIT_INPUT = 2  # the input is wrong: a rerun without a change fails again
# What the file system refuses because of where and how much is written there, and not because of a bug of ours.
REFUSED_WRITES = (errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)  # what another attempt may cure: somebody makes room
EXIT_RETRY = 75  # EX_TEMPFAIL: interrupted or a resource is missing: a scheduler may try again
# In a pod: what Kubernetes shows as the reason of a container's end. Kubeflow's launcher turns every exit code into 1,
# so the code is written there, too, where a scheduler can see it.
TERMINATION_LOG = Path("/dev/termination-log")

# Where temporary files go, instead of TMPDIR, which kfp's wrapper around a step needs before the step's first line.
SCRATCH_VARIABLE = "SPEECHMILL_SCRATCH"


class InputError(Exception):
    """One line for the user: what is wrong, where, what was expected, what to do."""


class RetryError(Exception):
    """The run was interrupted, or lacks a resource, in a way that another attempt may cure."""


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn user errors into `error: ...` on stderr and an exit code, without a traceback."""
    try:
        _use_scratch()
        yield
    except InputError as error:
        if _is_full(error):
            _end(f"interrupted: {error}: make room, and run it again", EXIT_RETRY)
        _end(f"error: {error}", EXIT_INPUT)
    except OSError as error:
        where = error.filename or "a file"
        if error.errno in NO_SPACE:
            _end(f"interrupted: {where}: {error.strerror}: make room, and run it again", EXIT_RETRY)
        if error.errno not in REFUSED_WRITES:
            raise
        _end(f"error: {where}: {error.strerror}: choose another folder or name", EXIT_INPUT)
    except RetryError as error:
        _end(f"interrupted: {error}", EXIT_RETRY)
    except KeyboardInterrupt:
        print("interrupted by the keyboard", file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # of libraries that have errors of their own
        if not _is_full(error):
            raise
        _end(f"interrupted: {str(error).strip().splitlines()[0][:500]}: make room, and run it again", EXIT_RETRY)


def _is_full(error: BaseException) -> bool:
    """Whether a full disk is what an error comes from, however it was told on the way."""
    cause = error.__cause__
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return True
    return os.strerror(errno.ENOSPC) in str(error) or (cause is not None and _is_full(cause))


def _end(line: str, code: int) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    if TERMINATION_LOG.is_file():
        with contextlib.suppress(OSError):
            TERMINATION_LOG.write_text(f"exit status {code}: {line[:3000]}\n", encoding="utf-8")
    sys.exit(code)


def _use_scratch() -> None:
    """Put temporary files where the environment says; InputError if they cannot be written there.

    Python by itself would silently take another folder, such as the small disk of a container.
    """
    name = SCRATCH_VARIABLE if os.environ.get(SCRATCH_VARIABLE) else "TMPDIR"
    folder = os.environ.get(name)
    if not folder:
        return
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{name} {folder}: user {os.getuid()} cannot write temporary files there: {error.strerror}: choose another "
            "folder, or let this user write there (on a cluster: `scratch` in examples/deployments/README.md)"
        ) from error
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # Python looks again
