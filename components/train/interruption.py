"""SIGTERM as a wish, which a loop looks at where it can leave in good order."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_S = 0.02  # a step of Kubeflow Pipelines lives 0.1 s after SIGTERM


class Interruption:
    """Whether SIGTERM has come."""

    # No threading.Event: its set() in a signal handler waits forever if the signal comes inside its wait().
    requested = False

    def wait(self, seconds: float) -> bool:
        """Sleep; True as soon as SIGTERM has come."""
        end = time.monotonic() + seconds
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))
        return self.requested

    @contextmanager
    def armed(self) -> Iterator["Interruption"]:
        """Listen for SIGTERM (only the main thread may)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "requested", True))
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)
