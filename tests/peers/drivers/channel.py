"""The way back to the test: native libraries print to standard output too, so the answer gets a channel of its own."""

from __future__ import annotations

import json
import os

_answer = os.dup(1)
os.dup2(2, 1)


def answer(value: object) -> None:
    """Give the test its JSON and end at once: some peers hang in their threads at exit."""
    with os.fdopen(_answer, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os._exit(0)
