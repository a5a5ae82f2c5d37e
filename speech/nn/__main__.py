"""Compile the operators of `recurrence.py` ahead of their first use: `python -m speech.nn [--output FOLDER]`."""

from speech.native_library import compile_ahead
from speech.nn.recurrence import LIBRARY

if __name__ == "__main__":
    compile_ahead(LIBRARY, "speech.nn", "the LSTM")
