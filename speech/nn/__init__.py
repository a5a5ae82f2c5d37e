"""The only room with TensorFlow in it."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def _held_back_stderr() -> Iterator[None]:
    """Hold back what native code prints to stderr; show it only if the block raises."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


# TensorFlow greets with lines about processor features that no setting silences; a step's own lines should stand out.
with _held_back_stderr():
    import tensorflow  # noqa: F401
