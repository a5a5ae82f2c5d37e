"""An IR of any kind, run on windows of features or on whole clips of samples: the one place that runs OpenVINO."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov

from speech.errors import InputError
from speech.features.mfcc import mfcc
from speech.features.streaming import context_windows
from speech.ir import names
from speech.ir.ir_file import IrFile
from speech.model_files.door import Model

MAX_FRAMES = 1024  # a call: 20 s of audio; the memory of a call grows with it


@functools.cache
def core() -> ov.Core:
    """OpenVINO, once a process: its CPU plugin takes the thread's signal stack, and frees it on its way out.

    Of two that are gone, the second leaves the thread with the stack of the first, and the next signal that Python
    handles (Ctrl-C, SIGTERM) ends the process with a segmentation fault.
    """
    return ov.Core()


class IrRunner:
    """One compiled IR and its state: a streaming one, a stateful one, or one that takes samples.

    Of ours and of those that the Model Optimizer made; what the IR is, its `IrFile` says.
    Those of strangers go through `first_run.try_out` first.
    """

    def __init__(self, model: Model, *, precision: str = "", threads: int = 0, batches: bool = False) -> None:
        """Read and compile. `precision` is what the CPU computes in: f32 or bf16, empty for the CPU's own choice.

        `batches`: compile for many clips a call, where the IR's dimensions can be freed. Raises InputError for a
        file that OpenVINO refuses, and for one that takes several utterances at once and cannot be freed.
        """
        self.path, self.geometry = model.path, model.geometry
        self.file: IrFile = model.container
        self.n_steps = self.file.n_steps
        network = _read(self.file)
        self._batches = batches and not (self.file.keeps_state or self.file.takes_samples or self.n_steps)
        if self._batches:
            network.reshape(self._free_shapes(network))
        elif self.file.batch > 1:
            raise InputError(f"{self.path}: an IR for {self.file.batch} utterances at once: convert with --batch 1")
        outputs = [names.LOGITS] if self.file.keeps_state else list(names.OUTPUTS)
        try:
            compiled = core().compile_model(network, "CPU", _properties(precision, threads))
        except RuntimeError as error:
            raise _refused(self.file, error) from error
        self._outputs = {name: _port(compiled.outputs, name, self.file) for name in outputs}
        self._inputs = {names.canonical(name): port for port in compiled.inputs for name in port.get_names()}
        self._request = compiled.create_infer_request()
        self._states: dict[str, np.ndarray] = {}
        self.reset()

    def reset(self, clips: int = 1) -> None:
        """Forget the utterances so far; the next `clips` begin."""
        if self.file.keeps_state and not self.file.takes_samples:
            self._request.reset_state()
        zeros = np.zeros((clips, self.geometry.n_hidden), np.float32)
        self._states = {} if self.file.keeps_state else {names.STATE_C: zeros, names.STATE_H: zeros}

    def feed(self, windows: np.ndarray) -> np.ndarray:
        """The utterance's next frames with their context `[T, window_frames, n_input]` -> probabilities `[T, C]`.

        With fixed frames a call, only the last call of an utterance may have a rest to fill up.
        """
        return self._feed(windows[np.newaxis])[:, 0]

    def _feed(self, windows: np.ndarray) -> np.ndarray:
        """`[B, T, window_frames, n_input]` -> `[T, B, C]`."""
        clips, frames = windows.shape[:2]
        step = self.n_steps or MAX_FRAMES
        blocks = [self._call(windows[:, start : start + step]) for start in range(0, frames, step)]
        return np.concatenate(blocks) if blocks else np.zeros((0, clips, self.geometry.n_classes), np.float32)

    def _call(self, windows: np.ndarray) -> np.ndarray:
        clips, frames = windows.shape[:2]
        if self.n_steps > frames:
            windows = np.pad(windows, ((0, 0), (0, self.n_steps - frames), (0, 0), (0, 0)))
        inputs = {names.FEATURES: np.ascontiguousarray(windows), **self._states}
        if names.LENGTHS in self._inputs:
            inputs[names.LENGTHS] = np.full(self._inputs[names.LENGTHS].get_shape(), frames, np.int32)
        self._infer({self._inputs[name]: value for name, value in inputs.items()})
        for state, output in ((names.STATE_C, names.NEW_STATE_C), (names.STATE_H, names.NEW_STATE_H)):
            if state in self._states:
                self._states[state] = self._request.get_tensor(self._outputs[output]).data.copy()
        logits = self._request.get_tensor(self._outputs[names.LOGITS]).data
        return logits.reshape(-1, clips, self.geometry.n_classes)[:frames].copy()

    def emissions(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """int16 samples `[N]` of each clip -> probabilities `[T, n_classes]` of each, blank last."""
        if self._batches and clips:
            return self._together(clips)
        return [self._alone(samples) for samples in clips]

    def _together(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        features = [mfcc(samples, self.geometry) for samples in clips]  # [T, n_input] each
        longest = max(map(len, features))
        padded = [np.pad(rows, ((0, longest - len(rows)), (0, 0))) for rows in features]
        windows = np.stack([context_windows(rows, self.geometry) for rows in padded])  # [B, T, window_frames, n_input]
        self.reset(len(clips))
        probabilities = self._feed(windows)  # [T, B, C]
        return [probabilities[: len(rows), column] for column, rows in enumerate(features)]

    def _alone(self, samples: np.ndarray) -> np.ndarray:
        if not self.geometry.n_frames(len(samples)):
            return np.zeros((0, self.geometry.n_classes), np.float32)
        if not self.file.takes_samples:
            self.reset()
            return self.feed(context_windows(mfcc(samples, self.geometry), self.geometry))
        self._infer({self._inputs[names.SAMPLES]: samples.astype(np.float32) / np.float32(32768.0)})
        logits = self._request.get_tensor(self._outputs[names.LOGITS]).data
        return logits.reshape(-1, self.geometry.n_classes).copy()

    def _infer(self, inputs: dict[Any, np.ndarray]) -> None:
        try:
            self._request.infer(inputs)
        except RuntimeError as error:
            raise _refused(self.file, error) from error

    def _free_shapes(self, network: ov.Model) -> dict[Any, ov.PartialShape]:
        """Shapes for any number of clips and of frames."""
        geometry = self.geometry
        shapes = {names.FEATURES: [-1, -1, geometry.window_frames, geometry.n_input]}
        shapes |= {name: [-1, geometry.n_hidden] for name in (names.STATE_C, names.STATE_H)}
        ports = {names.canonical(name): port for port in network.inputs for name in port.get_names()}
        return {ports[name]: ov.PartialShape(shape) for name, shape in shapes.items()}


def _read(file: IrFile) -> ov.Model:
    try:
        return core().read_model(file.path)
    except RuntimeError as error:
        raise _refused(file, error) from error


def _refused(file: IrFile, error: RuntimeError) -> InputError:
    """OpenVINO's messages span lines, with the source's place first and the reason last."""
    reason = [line.strip() for line in str(error).splitlines() if line.strip()][-1:] or [type(error).__name__]
    return InputError(f"{file.path}: OpenVINO refuses it: {reason[0]}")


def _port(ports: Sequence[Any], name: str, file: IrFile) -> Any:
    file.output(name)  # raises, and says what to do
    return next(port for port in ports if names.aliases(name) & port.get_names())


def _properties(precision: str, threads: int) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision:
        properties["INFERENCE_PRECISION_HINT"] = precision
    if threads:
        properties["INFERENCE_NUM_THREADS"] = threads
    return properties
