"""Compile the operators of `recurrence.py` ahead of their first use: `-m speech.nn.recurrent [--output FOLDER]`."""

from speech.native.compiling import compile_ahead
from speech.nn.recurrent.recurrence import LIBRARY, has_machine

if __name__ == "__main__":
    if has_machine():
        compile_ahead(LIBRARY, "speech.nn.recurrent", "the LSTM")
    else:
        print("nothing to compile: on this kind of processor TensorFlow computes the LSTM")
