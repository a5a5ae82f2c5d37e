"""DeepSpeech's variable names and their shapes: what its checkpoints and frozen graphs hold."""

from speech.geometry import Geometry

LSTM_SCOPE = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
KERNEL, BIAS = f"{LSTM_SCOPE}/kernel", f"{LSTM_SCOPE}/bias"
LAYER_NORM_EPSILON = 1e-12  # that of tf.contrib.layers.layer_norm
NORMALISED_LAYERS = ("layer_1", "layer_2", "layer_3", "layer_5")


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
