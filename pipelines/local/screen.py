"""What a person sees of a run: one line a step, and the step's own progress bar while it works."""

import sys
import time
from typing import TextIO

NAME_WIDTH = 18
LAST_WORDS = ("error: ", "interrupted: ")  # how a step's last line begins that says what is wrong


class Screen:
    """Writes the lines of a run to a stream; on a terminal also a line that counts the seconds of a silent step."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.is_terminal = self.stream.isatty()
        self._step = ""
        self._started_s = 0.0
        self._transient = False  # the cursor stands behind a line that counts seconds
        self._open_line = False  # the step's last output did not end its line
        self.last_words = ""  # of a step that failed: its own line

    def start(self, step: str) -> None:
        """A step begins to work."""
        self._step, self._started_s = step, time.monotonic()
        self.tick()

    def tick(self) -> None:
        """Time passed without output of the step."""
        self.meanwhile(f"{self._step:{NAME_WIDTH}} ... {time.monotonic() - self._started_s:5.0f} s")

    def meanwhile(self, text: str) -> None:
        """Say on a terminal what goes on; the next thing said takes its place."""
        if self.is_terminal and not self._open_line:
            self._write(f"\r\x1b[K{text}")
            self._transient = True

    def line(self, text: str) -> None:
        """Say something that stays."""
        self._end_line()
        self._write(f"{text}\n")

    def output(self, text: str) -> None:
        """The step wrote something, carriage returns included."""
        self._clear()
        for line in text.splitlines():
            if line.startswith(LAST_WORDS):
                self.last_words = line
        self._write(text)
        self._open_line = not text.endswith(("\n", "\r"))  # a bar that is taken away ends with a carriage return

    def finish(self, seconds: float) -> None:
        """The step ended well."""
        self._end_line()
        self._write(f"{self._step:{NAME_WIDTH}} {seconds:9.1f} s\n")

    def fail(self) -> None:
        """The step ended with an error, which it has told itself."""
        self._end_line()

    def cached(self, step: str) -> None:
        """The step had nothing to do."""
        self._write(f"{step:{NAME_WIDTH}}    cached\n")

    def _clear(self) -> None:
        if self._transient:
            self._write("\r\x1b[K")
            self._transient = False

    def _end_line(self) -> None:
        self._clear()
        if self._open_line:
            self._write("\n")
            self._open_line = False

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
