"""An IR of any kind that this step writes, run on windows of features or on samples."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from components.convert_openvino.ir import names
from components.convert_openvino.ir.description import Description, find_output, read
from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.features.mfcc import mfcc
from speech.features.streaming import context_windows

MAX_FRAMES = 1024  # a call: 20 s of audio; the memory of a call grows with it


class Runner:
    """One compiled IR and its state: the streaming one, the stateful one, or the one that takes samples."""

    def __init__(
        self, model: str | Path, *, precision: str = "", threads: int = 0, alphabet: Alphabet | None = None
    ) -> None:
        """Read and compile. `precision` is what the CPU computes in: f32 or bf16, empty for the CPU's own choice.

        Raises InputError for a file that is not an acoustic model's IR.
        """
        self.path = Path(model)
        self._network = _read(self.path)
        self.description: Description = read(self._network, self.path, alphabet)
        self.geometry = self.description.geometry
        known = {name for port in self._network.inputs for name in port.get_names()}
        self.takes_samples = names.SAMPLES in known
        self._keeps_state = names.STATE_C not in known
        self.n_steps = 0 if self.takes_samples else self._fixed_frames()
        compiled = ov.Core().compile_model(self._network, "CPU", _properties(precision, threads))
        self._logits = find_output(compiled, names.LOGITS, self.path)
        if not self._keeps_state:
            self._states = [find_output(compiled, name, self.path) for name in (names.NEW_STATE_C, names.NEW_STATE_H)]
        self._request = compiled.create_infer_request()
        self._state_c = self._state_h = np.zeros((1, self.geometry.n_hidden), np.float32)
        self.reset()

    def _fixed_frames(self) -> int:
        """Frames a call if the IR has them fixed, 0 if they are free."""
        batch, frames = self._network.input(names.FEATURES).get_partial_shape()[:2]
        if batch.is_static and batch.get_length() != 1:
            raise InputError(f"{self.path}: an IR for {batch.get_length()} utterances at once: convert with --batch 1")
        return frames.get_length() if frames.is_static else 0

    def reset(self) -> None:
        """Forget the utterance so far."""
        if self._keeps_state:
            self._request.reset_state()
        self._state_c = self._state_h = np.zeros((1, self.geometry.n_hidden), np.float32)

    def feed(self, windows: np.ndarray) -> np.ndarray:
        """The utterance's next frames with their context `[T, window_frames, n_input]` -> probabilities `[T, C]`.

        With fixed frames a call, only the last call of an utterance may have a rest to fill up.
        """
        step = self.n_steps or MAX_FRAMES
        blocks = [self._call(windows[start : start + step]) for start in range(0, len(windows), step)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.geometry.n_classes), np.float32)

    def _call(self, windows: np.ndarray) -> np.ndarray:
        frames = len(windows)
        if self.n_steps > frames:
            windows = np.pad(windows, ((0, self.n_steps - frames), (0, 0), (0, 0)))
        inputs: dict[str, np.ndarray] = {names.FEATURES: np.ascontiguousarray(windows[np.newaxis])}
        if not self._keeps_state:
            inputs |= {names.STATE_C: self._state_c, names.STATE_H: self._state_h}
        self._request.infer(inputs)
        if not self._keeps_state:
            self._state_c, self._state_h = (self._request.get_tensor(port).data.copy() for port in self._states)
        logits = self._request.get_tensor(self._logits).data
        return logits.reshape(-1, self.geometry.n_classes)[:frames].copy()

    def emissions(self, samples: np.ndarray) -> np.ndarray:
        """int16 samples `[N]` of a whole utterance -> probabilities `[T, C]`, blank last."""
        if not self.geometry.n_frames(len(samples)):
            return np.zeros((0, self.geometry.n_classes), np.float32)
        if not self.takes_samples:
            self.reset()
            return self.feed(context_windows(mfcc(samples, self.geometry), self.geometry))
        self._request.infer({names.SAMPLES: samples.astype(np.float32) / np.float32(32768.0)})
        return self._request.get_tensor(self._logits).data.reshape(-1, self.geometry.n_classes).copy()


def _read(path: Path) -> ov.Model:
    if path.suffix != ".xml":
        raise InputError(f"{path}: expected the .xml file of an OpenVINO IR")
    weights = path.with_suffix(".bin")
    for file in (path, weights):
        if not file.is_file():
            raise InputError(f"{file}: no such file: expected an OpenVINO IR, an .xml file with its .bin beside it")
    try:
        return ov.Core().read_model(path)
    except RuntimeError as error:
        reason = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise InputError(f"{path}: OpenVINO cannot read it: {reason}") from error


def _properties(precision: str, threads: int) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision:
        properties["INFERENCE_PRECISION_HINT"] = precision
    if threads:
        properties["INFERENCE_NUM_THREADS"] = threads
    return properties
