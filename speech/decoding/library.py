"""The decoder's library. Images compile it ahead, with `python -m speech.decoding`, where there is no numpy."""

from pathlib import Path

from speech.native.compiling import NativeLibrary

LIBRARY = NativeLibrary("decoder", Path(__file__).parent / "cpp")
