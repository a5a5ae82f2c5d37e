"""A TFLite model, run by TensorFlow's interpreter with the kernels that native clients have (no delegate)."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import tensorflow as tf

from speech.errors import InputError
from speech.features.mfcc import mfcc
from speech.features.streaming import run_in_steps
from speech.model_files import Model
from speech.native import trial
from speech.native.processors import cores

MFCC_TOLERANCE = 1e-2  # of features, which are about -50...50


class TFLiteModel:
    """A `.tflite` file of ours, of DeepSpeech or of Coqui STT."""

    def __init__(self, model: Model) -> None:
        """Raises InputError for a file that TensorFlow Lite refuses or crashes with, or with other features."""
        self._path, self._geometry, self._n_steps = model.path, model.geometry, model.n_steps
        self._interpreters: SimpleQueue[_Interpreter] = SimpleQueue()
        trial.attempt(self._try, self._path, "TensorFlow Lite")
        self._interpreters.put(_Interpreter(self._path))

    def _try(self) -> None:
        """One call of everything, on silence. The interpreter has one thread, so a fork can run it at any time."""
        interpreter = _Interpreter(self._path)
        self._check_features(interpreter)
        geometry, frames = self._geometry, self._n_steps
        windows = np.zeros((1, frames, geometry.window_frames, geometry.n_input), np.float32)
        state = np.zeros((1, geometry.n_hidden), np.float32)
        interpreter.step(windows, frames, state, state)

    def emissions(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """int16 samples `[N]` of each clip -> probabilities `[T, n_classes]` of each; a thread a processor."""
        threads = min(len(clips), cores()) or 1
        while self._interpreters.qsize() < threads:
            self._interpreters.put(_Interpreter(self._path))
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self._clip, clips))

    def _clip(self, samples: np.ndarray) -> np.ndarray:
        interpreter = self._interpreters.get()
        try:
            return run_in_steps(mfcc(samples, self._geometry), self._geometry, self._n_steps, interpreter.step)
        finally:
            self._interpreters.put(interpreter)

    def _check_features(self, interpreter: "_Interpreter") -> None:
        """The file holds the feature operators too: ours, which are used instead, must give the same numbers."""
        window = (np.random.default_rng(0).normal(0.0, 3000.0, self._geometry.window_samples)).astype(np.int16)
        difference = np.abs(interpreter.mfccs(window / np.float32(32768.0)) - mfcc(window, self._geometry)).max()
        if not difference <= MFCC_TOLERANCE:
            raise InputError(f"{self._path}: its features differ by {difference:.2g} from DeepSpeech's")


class _Interpreter:
    """One interpreter, its tensors by name."""

    def __init__(self, path: Path) -> None:
        resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            with warnings.catch_warnings():  # TensorFlow announces that the interpreter moves to a package of its own
                warnings.simplefilter("ignore", UserWarning)
                self._interpreter: Any = tf.lite.Interpreter(
                    str(path), num_threads=1, experimental_op_resolver_type=resolver
                )
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{path}: not a TFLite model ({path.stat().st_size} bytes), or a truncated one") from error
        self._inputs = {_name(detail): detail for detail in self._interpreter.get_input_details()}
        self._outputs = {_name(detail): detail for detail in self._interpreter.get_output_details()}
        try:
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{path}: TensorFlow Lite refuses it: {str(error).splitlines()[0]}") from error

    def mfccs(self, window: np.ndarray) -> np.ndarray:
        """Samples of one window in -1...1 -> its features `[1, n_input]`."""
        self._interpreter.set_tensor(self._inputs["input_samples"]["index"], window)
        self._interpreter.invoke()
        return self._get("mfccs").reshape(1, -1)

    def step(
        self, windows: np.ndarray, length: int, state_c: np.ndarray, state_h: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `speech.features.streaming.Step`; the model always runs all frames of a call."""
        for name, value in (("input_node", windows), ("previous_state_c", state_c), ("previous_state_h", state_h)):
            self._interpreter.set_tensor(self._inputs[name]["index"], value)
        self._interpreter.invoke()
        return self._get("logits"), self._get("new_state_c"), self._get("new_state_h")

    def _get(self, name: str) -> np.ndarray:
        return self._interpreter.get_tensor(self._outputs[name]["index"])


def _name(detail: dict[str, Any]) -> str:
    return str(detail["name"]).split(":")[0]
