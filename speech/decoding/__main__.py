"""Compile the decoder ahead of its first use: `python -m speech.decoding [--output FOLDER]`."""

from speech.decoding.library import LIBRARY
from speech.native.compiling import compile_ahead

if __name__ == "__main__":
    compile_ahead(LIBRARY, "speech.decoding", "the decoder")
