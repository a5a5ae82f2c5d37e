"""A TFLite model, run by TensorFlow's interpreter with the kernels that native clients have (no delegate)."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from struct import error as StructError
from typing import Any

import numpy as np
import tensorflow as tf

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.features.mfcc import mfcc
from speech.features.streaming import run_in_steps
from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL
from speech.native.processors import cores

INPUTS = ("input_node", "previous_state_c", "previous_state_h", "input_samples")
OUTPUTS = ("logits", "new_state_c", "new_state_h", "mfccs")
METADATA = ("metadata_sample_rate", "metadata_feature_win_len", "metadata_feature_win_step", "metadata_alphabet")
DENSE_LAYERS = ("layer_1", "layer_2", "layer_3", "lstm", "layer_5", "layer_6")  # in the order in which they run
MFCC_TOLERANCE = 1e-2  # of features, which are about -50...50


class TFLiteModel:
    """A `.tflite` file of ours, of DeepSpeech or of Coqui STT."""

    def __init__(self, path: str | Path) -> None:
        """Raises InputError for a file that is truncated, or no streaming acoustic model."""
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{path}: no such file: expected a TFLite model")
        _check_whole(self.path)
        self._interpreters: SimpleQueue[_Interpreter] = SimpleQueue()
        first = self._interpreter()
        facts = first.metadata()
        shape, state = first.shape("input_node"), first.shape("previous_state_c")
        alphabet = Alphabet.deserialize(bytes(facts["metadata_alphabet"]), f"{path}: metadata_alphabet")
        self.alphabet, self.n_steps = alphabet, shape[1]
        self.geometry = Geometry(
            n_hidden=state[1],
            n_labels=len(alphabet),
            audio_sample_rate=int(facts["metadata_sample_rate"]),
            feature_win_len=int(facts["metadata_feature_win_len"]),
            feature_win_step=int(facts["metadata_feature_win_step"]),
            n_context=shape[2] // 2,
            n_input=shape[3],
        )
        if (classes := first.shape("logits")[-1]) != self.geometry.n_classes:
            raise InputError(
                f"{path}: metadata_alphabet has {len(alphabet)} symbols, but the model has {classes - 1} labels and "
                "the blank: export it again with the alphabet that it was trained with"
            )
        self._check_features(first)
        self._interpreters.put(first)

    def emissions(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """int16 samples `[N]` of each clip -> probabilities `[T, n_classes]` of each; a thread a processor."""
        threads = min(len(clips), cores()) or 1
        while self._interpreters.qsize() < threads:
            self._interpreters.put(self._interpreter())
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self._clip, clips))

    def weights(self) -> dict[str, np.ndarray] | None:
        """The float32 weights by DeepSpeech's variable names; None for a quantized or layer-normalised model."""
        return _Interpreter(self.path).weights()

    def _clip(self, samples: np.ndarray) -> np.ndarray:
        interpreter = self._interpreters.get()
        try:
            return run_in_steps(mfcc(samples, self.geometry), self.geometry, self.n_steps, interpreter.step)
        finally:
            self._interpreters.put(interpreter)

    def _check_features(self, interpreter: "_Interpreter") -> None:
        """The file holds the feature operators too: ours, which are used instead, must give the same numbers."""
        window = (np.random.default_rng(0).normal(0.0, 3000.0, self.geometry.window_samples)).astype(np.int16)
        difference = np.abs(interpreter.mfccs(window / np.float32(32768.0)) - mfcc(window, self.geometry)).max()
        if not difference <= MFCC_TOLERANCE:
            raise InputError(f"{self.path}: its features differ by {difference:.2g} from DeepSpeech's")

    def _interpreter(self) -> "_Interpreter":
        interpreter = _Interpreter(self.path)
        interpreter.allocate()
        return interpreter


def _check_whole(path: Path) -> None:
    """Raise InputError unless everything in the file lies inside it: the interpreter would read on behind its end."""
    from tensorflow.lite.python import schema_py_generated as schema

    data = path.read_bytes()
    try:
        if data[4:8] != b"TFL3":
            raise ValueError
        model = schema.Model.GetRootAs(data, 0)
        for number in range(model.BuffersLength()):
            model.Buffers(number).DataAsNumpy()
        for number in range(model.OperatorCodesLength()):
            model.OperatorCodes(number).CustomCode()
        for number in range(model.SubgraphsLength()):
            _visit(model.Subgraphs(number))
    except (StructError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a TFLite model, or a truncated one ({len(data)} bytes): export it again"
        ) from error


def _visit(graph: Any) -> None:
    """Touch all that a graph refers to."""
    for number in range(graph.TensorsLength()):
        tensor = graph.Tensors(number)
        tensor.Name()
        tensor.ShapeAsNumpy()
        if (quantization := tensor.Quantization()) is not None:
            quantization.ScaleAsNumpy()
            quantization.ZeroPointAsNumpy()
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        operator.InputsAsNumpy()
        operator.OutputsAsNumpy()
        operator.CustomOptionsAsNumpy()
        operator.BuiltinOptions()


class _Interpreter:
    """One interpreter, its tensors by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            with warnings.catch_warnings():  # TensorFlow announces that the interpreter moves to a package of its own
                warnings.simplefilter("ignore", UserWarning)
                self._interpreter: Any = tf.lite.Interpreter(
                    str(path), num_threads=1, experimental_op_resolver_type=resolver
                )
        except ValueError as error:
            raise InputError(f"{path}: not a TFLite model ({path.stat().st_size} bytes), or a truncated one") from error
        self._inputs = {detail["name"]: detail for detail in self._interpreter.get_input_details()}
        self._outputs = {detail["name"]: detail for detail in self._interpreter.get_output_details()}
        missing = [name for name in INPUTS if name not in self._inputs]
        missing += [name for name in (*OUTPUTS, *METADATA) if name not in self._outputs]
        if missing:
            raise InputError(
                f"{path}: it has no {missing[0]}: expected a model for the clients of DeepSpeech or Coqui STT"
            )

    def allocate(self) -> None:
        """Make it ready to run."""
        try:
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{self._path}: TensorFlow Lite refuses it: {str(error).splitlines()[0]}") from error

    def shape(self, name: str) -> list[int]:
        """The shape of an input or output."""
        return [int(size) for size in (self._inputs | self._outputs)[name]["shape"]]

    def metadata(self) -> dict[str, Any]:
        """The constants that describe the model."""
        self._interpreter.invoke()
        return {name: self._get(name).reshape(-1)[0] for name in METADATA}

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

    def weights(self) -> dict[str, np.ndarray] | None:
        """See `TFLiteModel.weights`; for an interpreter that has not run."""
        operators = self._interpreter._get_ops_details()
        if any(operator["op_name"] == "RSQRT" for operator in operators):
            return None  # layer normalisation: its weights are folded into others
        dense: dict[int, int] = {}  # weights -> bias, in the order of the layers: the LSTM's are used at every frame
        for operator in operators:
            if operator["op_name"] == "FULLY_CONNECTED":
                _, weights, bias = operator["inputs"]
                dense.setdefault(int(weights), int(bias))
        dtypes = {detail["index"]: detail["dtype"] for detail in self._interpreter.get_tensor_details()}
        if len(dense) != len(DENSE_LAYERS) or any(dtypes[index] is not np.float32 for index in dense):
            return None
        tensors = {}
        for layer, (weights, bias) in zip(DENSE_LAYERS, dense.items(), strict=True):
            names = (KERNEL, BIAS) if layer == "lstm" else (f"{layer}/weights", f"{layer}/bias")
            tensors[names[0]] = self._interpreter.get_tensor(weights).T  # TFLite keeps [outputs, inputs]
            tensors[names[1]] = self._interpreter.get_tensor(bias)
        return tensors

    def _get(self, name: str) -> np.ndarray:
        return self._interpreter.get_tensor(self._outputs[name]["index"])
