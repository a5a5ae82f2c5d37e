"""Compile the decoder ahead of its first use: `python -m speech.decoding [--output FOLDER]`."""

import argparse
from pathlib import Path

from speech.decoding.build import NoCompilerError, build, cache_folder, find
from speech.errors import InputError, one_line_errors


def main() -> None:
    """Build the library unless it is there, and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m speech.decoding", description="Compile the decoder.")
    parser.add_argument("--output", type=Path, help="folder for the library (default: where it is looked for)")
    output = parser.parse_args().output
    with one_line_errors():
        try:
            print(build(output) if output else find() or build(cache_folder()))
        except NoCompilerError as error:
            raise InputError(f"the decoder was not compiled: {error}") from error
        except OSError as error:
            raise InputError(f"the decoder was not compiled: {error.filename}: {error.strerror}") from error


if __name__ == "__main__":
    main()
