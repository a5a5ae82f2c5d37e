"""An OpenVINO IR, run by OpenVINO at full float32 precision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speech.errors import InputError
from speech.features.mfcc import mfcc
from speech.features.streaming import context_windows, run_in_steps
from speech.geometry import Geometry

FEATURES, STATE_C, STATE_H, LENGTHS = "input_node", "previous_state_c", "previous_state_h", "input_lengths"
LOGITS, NEW_STATE_C, NEW_STATE_H = "logits", "new_state_c", "new_state_h"
LSTM_CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
OTHER_NAMES = {  # of IRs that the Model Optimizer made
    NEW_STATE_C: (f"{LSTM_CELL}/GatherNd", f"{LSTM_CELL}/BlockLSTM/TensorIterator.2"),
    NEW_STATE_H: (f"{LSTM_CELL}/GatherNd_1", f"{LSTM_CELL}/BlockLSTM/TensorIterator.1"),
}


class OpenVinoModel:
    """An IR of ours, which takes any number of frames of any number of clips, or another one with fixed sizes."""

    def __init__(self, xml: Path, geometry: Geometry) -> None:
        """Raises InputError for an IR that is damaged, or no streaming acoustic model."""
        import openvino as ov

        self.xml, self.geometry = xml, geometry
        core = ov.Core()
        try:
            network = core.read_model(xml)
        except RuntimeError as error:
            raise InputError(f"{xml}: OpenVINO cannot read it: {_reason(error)}") from error
        inputs = {name: _port(network.inputs, name) for name in (FEATURES, STATE_C, STATE_H, LENGTHS)}
        missing = [name for name in (FEATURES, STATE_C, STATE_H) if inputs[name] is None]
        missing += [name for name in (LOGITS, NEW_STATE_C, NEW_STATE_H) if _port(network.outputs, name) is None]
        if missing:
            raise InputError(f"{xml}: it has no {missing[0]}: expected a DeepSpeech acoustic model")
        shape = inputs[FEATURES].partial_shape
        self.n_steps = shape[1].get_length() if shape[1].is_static else 0  # 0: any number
        if self.n_steps == 0:
            network.reshape(_free(inputs, geometry))
        self._network = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        self._inputs = {name: _port(self._network.inputs, name) for name in inputs}
        self._outputs = [_port(self._network.outputs, name) for name in (LOGITS, NEW_STATE_C, NEW_STATE_H)]

    def emissions(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """int16 samples `[N]` of each clip -> probabilities `[T, n_classes]` of each, blank last."""
        features = [mfcc(samples, self.geometry) for samples in clips]  # [T, n_input] each
        if self.n_steps:
            return [run_in_steps(rows, self.geometry, self.n_steps, self._step) for rows in features]
        longest = max(map(len, features), default=0)
        if longest == 0:
            return [np.zeros((0, self.geometry.n_classes), np.float32) for _ in clips]
        padded = [np.pad(rows, ((0, longest - len(rows)), (0, 0))) for rows in features]
        windows = np.stack([context_windows(rows, self.geometry) for rows in padded])  # [B, T, window_frames, n_input]
        state = np.zeros((len(clips), self.geometry.n_hidden), np.float32)
        probabilities = self._step(windows, 0, state, state)[0]  # [T, B, C]
        return [probabilities[: len(rows), column] for column, rows in enumerate(features)]

    def _step(
        self, windows: np.ndarray, length: int, state_c: np.ndarray, state_h: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        given: dict[Any, Any] = {FEATURES: windows, STATE_C: state_c, STATE_H: state_h}
        if self._inputs[LENGTHS] is not None:
            given[LENGTHS] = np.full(self._inputs[LENGTHS].shape, length, np.int32)
        results = self._network({self._inputs[name]: value for name, value in given.items()})
        logits, new_c, new_h = (results[port].copy() for port in self._outputs)
        return logits, new_c, new_h


def sizes(xml: Path) -> tuple[int, int, int, int]:
    """n_hidden, n_classes, window_frames and n_input of an IR that comes without a description."""
    import openvino as ov

    try:
        network = ov.Core().read_model(xml)
        features, state = _port(network.inputs, FEATURES), _port(network.inputs, STATE_C)
        logits = _port(network.outputs, LOGITS)
        return (
            state.partial_shape[1].get_length(),
            logits.partial_shape[-1].get_length(),
            features.partial_shape[2].get_length(),
            features.partial_shape[3].get_length(),
        )
    except (RuntimeError, AttributeError) as error:
        raise InputError(f"{xml}: not a DeepSpeech acoustic model: {_reason(error)}") from error


def _free(inputs: dict[str, Any], geometry: Geometry) -> dict[Any, list[int]]:
    """Shapes for any number of clips and of frames."""
    return {
        inputs[FEATURES]: [-1, -1, geometry.window_frames, geometry.n_input],
        inputs[STATE_C]: [-1, geometry.n_hidden],
        inputs[STATE_H]: [-1, geometry.n_hidden],
    }


def _port(ports: Sequence[Any], name: str) -> Any:
    """The input or output called `name`, with or without its port's number; None if there is none."""
    wanted = {spelling for known in (name, *OTHER_NAMES.get(name, ())) for spelling in (known, f"{known}:0")}
    return next((port for port in ports if wanted & port.names), None)


def _reason(error: Exception) -> str:
    """OpenVINO's messages span lines, with the source's place first and the reason last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
