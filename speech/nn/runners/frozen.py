"""An exported graph, run as native clients run it: windows of samples, then a few frames a call, with the state."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from speech.errors import InputError
from speech.features.streaming import run_in_steps
from speech.model_files import Model
from speech.model_files.graphdef import FrozenGraph

# In the names of TensorFlow's operators that read or write files, run Python or talk to others.
REACHING_OUT = re.compile(
    r"File|PyFunc|Save|Restore|Checkpoint|Reader(?!.*Variable)|Dataset|Iterator|Library|Print|Summary|Debug|Remote|Rpc|"
    r"^_?Send|^_?Recv|_Host|Collective|Lmdb|TensorStore|Sql|BigQuery|Http"
)


class FrozenModel:
    """A frozen graph, plain or memory-mapped, in a TensorFlow session."""

    def __init__(self, model: Model) -> None:
        """Raises InputError if TensorFlow refuses the graph."""
        graph: FrozenGraph = model.container
        self._source, self._geometry, self._n_steps = graph.source, model.geometry, model.n_steps
        serialized = io.BytesIO()
        graph.write(serialized)
        definition = tf.compat.v1.GraphDef.FromString(serialized.getvalue())
        _refuse_programs(definition, graph.source)
        imported = tf.Graph()
        try:
            with imported.as_default():
                tf.import_graph_def(definition, name="")
        except (ValueError, tf.errors.OpError) as error:
            raise InputError(f"{graph.source}: TensorFlow refuses the graph: {_first_line(error)}") from error
        self._session = tf.compat.v1.Session(graph=imported, config=_as_written())
        self._mfccs: Callable[..., np.ndarray] = self._session.make_callable("mfccs:0", ["input_samples:0"])
        self._step: Callable[..., list[np.ndarray]] = self._session.make_callable(
            ["logits:0", "new_state_c:0", "new_state_h:0"],
            ["input_node:0", "input_lengths:0", "previous_state_c:0", "previous_state_h:0"],
        )

    def mfccs(self, samples: np.ndarray) -> np.ndarray:
        """int16 samples `[N]` -> features `[T, n_input]`, a call a window as the native client makes them."""
        geometry = self._geometry
        scaled = samples.astype(np.float32) / 32768.0
        starts = range(0, geometry.n_frames(len(samples)) * geometry.step_samples, geometry.step_samples)
        rows = [self._mfccs(scaled[start : start + geometry.window_samples]).reshape(-1) for start in starts]
        return np.array(rows, np.float32).reshape(-1, geometry.n_input)  # [T, n_input]

    def emissions(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """int16 samples `[N]` of each clip -> probabilities `[T, n_classes]` of each, blank last."""
        try:
            return [run_in_steps(self.mfccs(clip), self._geometry, self._n_steps, self._run_step) for clip in clips]
        except tf.errors.OpError as error:
            raise InputError(f"{self._source}: TensorFlow cannot run the graph: {_first_line(error)}") from error

    def _run_step(
        self, windows: np.ndarray, length: int, state_c: np.ndarray, state_h: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        logits, state_c, state_h = self._step(windows, np.array([length], np.int32), state_c, state_h)
        return logits, state_c, state_h


def _refuse_programs(definition: Any, source: str) -> None:
    """Raise InputError for operators that reach beyond the graph: a graph is a program, and this one a stranger's."""
    functions = [node for function in definition.library.function for node in function.node_def]
    for node in (*definition.node, *functions):
        if REACHING_OUT.search(node.op):
            raise InputError(
                f"{source}: its node {node.name[:80]!r} is a {node.op}, which no acoustic model needs: files, "
                "other programs and the network are out of reach for a model"
            )


def _as_written() -> tf.compat.v1.ConfigProto:
    """Run the graph as its nodes say: TensorFlow 2.21 fuses layer normalisation into a kernel with another epsilon."""
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
