"""DeepSpeech's variables: the names, shapes and initial values of what its checkpoints and frozen graphs hold."""

from collections.abc import Mapping

import numpy as np

from speech.errors import InputError
from speech.geometry import Geometry

LSTM_SCOPE = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
KERNEL, BIAS = f"{LSTM_SCOPE}/kernel", f"{LSTM_SCOPE}/bias"
LAYER_NORM_EPSILON = 1e-12  # that of tf.contrib.layers.layer_norm
# From the input to the output: the layers that transfer learning may drop, counted from the end.
LAYERS = ("layer_1", "layer_2", "layer_3", "lstm", "layer_5", "layer_6")
NORMALISED_LAYERS = ("layer_1", "layer_2", "layer_3", "layer_5")
MOMENTS = ("Adam", "Adam_1")  # what Adam keeps of each variable: the first and the second moment


def weight_shapes(geometry: Geometry) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every trainable variable, in the order of the layers."""
    hidden, inputs = geometry.n_hidden, geometry.window_frames * geometry.n_input
    shapes: dict[str, tuple[int, ...]] = {}
    for name, rows, columns in (
        ("layer_1", inputs, hidden),
        ("layer_2", hidden, hidden),
        ("layer_3", hidden, hidden),
        ("layer_5", hidden, hidden),
        ("layer_6", hidden, geometry.n_classes),
    ):
        shapes[f"{name}/bias"] = (columns,)
        shapes[f"{name}/weights"] = (rows, columns)
        if geometry.layer_norm and name in NORMALISED_LAYERS:
            shapes[f"{name}/LayerNorm/beta"] = (columns,)
            shapes[f"{name}/LayerNorm/gamma"] = (columns,)
    shapes[KERNEL] = (2 * hidden, 4 * hidden)
    shapes[BIAS] = (4 * hidden,)
    return shapes


class NoFloatWeights(InputError):
    """A file that runs, and from which the weights cannot be taken: quantized ones, those of another network."""


def check_weights(weights: Mapping[str, np.ndarray], geometry: Geometry, where: str) -> None:
    """Raise NoFloatWeights unless every variable of the model is there, in float32 and in its shape."""
    for name, shape in weight_shapes(geometry).items():
        value = weights.get(name)
        if value is None:
            raise NoFloatWeights(f"{where}: it lacks {name} in float32: expected a DeepSpeech acoustic model")
        if value.shape != shape or value.dtype != np.float32:
            kind = "" if value.dtype == np.float32 else f"{value.dtype} and "
            raise NoFloatWeights(
                f"{where}: {name} is {kind}of the shape {list(value.shape)}, expected float32 {list(shape)}"
            )


def layer_of(variable: str) -> str:
    """The layer that a variable (or one of its Adam moments) belongs to."""
    return "lstm" if variable.startswith("cudnn_lstm/") else variable.split("/")[0]


def initial_weights(geometry: Geometry, seed: int) -> dict[str, np.ndarray]:
    """Fresh weights as the peers draw them: Glorot uniform matrices, zero biases; reproducible from `seed`."""
    weights: dict[str, np.ndarray] = {}
    for position, (name, shape) in enumerate(weight_shapes(geometry).items()):
        if len(shape) == 1:
            weights[name] = np.full(shape, 1.0 if name.endswith("gamma") else 0.0, np.float32)
            continue
        limit = np.sqrt(6.0 / (shape[0] + shape[1]))
        generator = np.random.default_rng([seed, position])
        weights[name] = generator.uniform(-limit, limit, shape).astype(np.float32)
    return weights
