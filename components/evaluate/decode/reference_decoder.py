"""DeepSpeech's ds_ctcdecoder, which stops at Python 3.9, in an interpreter of its own."""

import contextlib
import json
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from speech.alphabet import Alphabet
from speech.errors import InputError

PROGRAM = Path(__file__).with_name("ds_ctcdecoder_program.py")
CURE = (
    "expected a Python 3.6 to 3.9 with `pip install ds-ctcdecoder==0.9.3 'numpy<2'`, which the image "
    "evaluate-ds-ctcdecoder holds"
)


class ReferenceDecoder:
    """A running ds_ctcdecoder with one scorer or none; emissions reach it as files."""

    def __init__(self, python: str, alphabet: Alphabet, settings: Mapping[str, Any]) -> None:
        """Start it; raises InputError if the interpreter or the package is not there, or refuses the scorer."""
        self._python = python
        self._folder = tempfile.TemporaryDirectory(prefix="ds_ctcdecoder-")
        folder = Path(self._folder.name)
        alphabet.save(folder / "alphabet.txt")
        job = {**settings, "alphabet": None if alphabet.bytes_mode else str(folder / "alphabet.txt")}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        self._stderr = (folder / "stderr.txt").open("w+", encoding="utf-8", errors="replace")
        try:
            self._process = subprocess.Popen(
                [python, "-u", str(PROGRAM), str(folder / "job.json")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise InputError(f"--ds_ctcdecoder_python {python}: it does not run: {error.strerror}; {CURE}") from error
        self._finalizer = weakref.finalize(self, _end, self._process, self._stderr)
        self._receive(CURE)

    def decode(self, batch: Sequence[np.ndarray]) -> list[list[tuple[float, str]]]:
        """Probabilities `[T, C]` of each clip -> confidence and text of each clip's hypotheses, best first."""
        if not batch:
            return []
        path = Path(self._folder.name) / "emissions.npz"
        arrays: dict[str, Any] = {f"{number:06d}": emissions for number, emissions in enumerate(batch)}
        np.savez(path, **arrays)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer, either
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
        hint = "`--decoder beam` finds the same"
        return [[(confidence, text) for confidence, text in clip] for clip in self._receive(hint)]

    def _receive(self, hint: str) -> Any:
        """The next answer; if the program has ended, the reason that it gave."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()
        reason = lines[-1] if lines else f"it ended with {self._process.wait()}"
        raise InputError(f"--ds_ctcdecoder_python {self._python}: ds_ctcdecoder failed: {reason}; {hint}")


def _end(process: "subprocess.Popen[str]", stderr: IO[str]) -> None:
    """Its input ends, so it does."""
    for stream in (process.stdin, process.stdout, stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()
