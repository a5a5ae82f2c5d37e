"""The frozen graph: what native clients demand of it, and its numbers."""

import numpy as np
import pytest
import tensorflow as tf

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.nn.graph import KNOWN_ATTRIBUTES, Metadata, streaming_graph
from speech.nn.model import AcousticModel
from tests.speech.nn.test_model import random_weights


def alphabet_of(size: int) -> Alphabet:
    return Alphabet((" ", *(chr(0x100 + k) for k in range(size - 1))))


def build(geometry: Geometry, n_steps: int = 16, language: str = ""):
    weights = random_weights(geometry)
    return streaming_graph(weights, geometry, alphabet_of(geometry.n_labels), n_steps, Metadata(300, language)), weights


def run(graph, geometry: Geometry, windows: np.ndarray, n_steps: int) -> np.ndarray:
    """Probabilities `[T, C]` of one clip's windows `[T, 19, 26]`, chunk by chunk."""
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    options = tf.compat.v1.ConfigProto()
    options.graph_options.rewrite_options.disable_meta_optimizer = True
    c = h = np.zeros((1, geometry.n_hidden), np.float32)
    outputs = []
    with tf.compat.v1.Session(graph=imported, config=options) as session:
        for start in range(0, len(windows), n_steps):
            chunk = np.zeros((1, n_steps, geometry.window_frames, geometry.n_input), np.float32)
            length = len(windows[start : start + n_steps])
            chunk[0, :length] = windows[start : start + n_steps]
            feed = {
                "input_node:0": chunk,
                "input_lengths:0": [length],
                "previous_state_c:0": c,
                "previous_state_h:0": h,
            }
            logits, c, h = session.run(["logits:0", "new_state_c:0", "new_state_h:0"], feed)
            assert logits.shape == (n_steps, 1, geometry.n_classes)
            outputs.append(logits[:length, 0])
    return np.concatenate(outputs)


@pytest.mark.parametrize(
    ("geometry", "n_steps"),
    [(Geometry(24, 29), 16), (Geometry(16, 5, layer_norm=True), 1), (Geometry(40, 200), 32), (Geometry(16, 255), 16)],
)
def test_probabilities_are_the_models(geometry: Geometry, n_steps: int) -> None:
    graph, weights = build(geometry, n_steps)
    features = np.random.default_rng(2).normal(0, 2, (1, 37, 26)).astype(np.float32)
    model = AcousticModel(geometry, weights, trainable=False)
    expected = tf.nn.softmax(model.logits(features)).numpy()[:, 0]
    windows = model.windows(features).numpy()[:, 0].reshape(-1, geometry.window_frames, geometry.n_input)
    np.testing.assert_allclose(run(graph, geometry, windows, n_steps), expected, atol=2e-6)


def test_nodes_shapes_and_metadata() -> None:
    geometry = Geometry(24, 29)
    graph, weights = build(geometry, language="cy")
    nodes = {node.name: node for node in graph.node}
    assert [d.size for d in nodes["input_node"].attr["shape"].shape.dim] == [1, 16, 19, 26]
    assert [d.size for d in nodes["previous_state_c"].attr["shape"].shape.dim] == [1, 24]
    values = {
        name: tf.make_ndarray(node.attr["value"].tensor).tolist()
        for name, node in nodes.items()
        if name.startswith("metadata_") or name == "logits_shape"
    }
    assert values.pop("metadata_alphabet") == [alphabet_of(29).serialize()]
    assert values == {
        "metadata_version": [6],
        "metadata_sample_rate": [16_000],
        "metadata_feature_win_len": [32],
        "metadata_feature_win_step": [20],
        "metadata_beam_width": [300],
        "metadata_language": [b"cy"],
        "logits_shape": [16, 1, 30],
    }
    scope = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
    assert {
        "mfccs",
        "new_state_c",
        "new_state_h",
        f"{scope}/BlockLSTM",
        f"{scope}/GatherNd",
        f"{scope}/GatherNd_1",
    } <= set(nodes)
    for name, value in weights.items():
        assert nodes[name].op == "Const"
        np.testing.assert_array_equal(tf.make_ndarray(nodes[name].attr["value"].tensor), value)


def test_only_what_clients_of_2020_know() -> None:
    graph, _ = build(Geometry(16, 5, layer_norm=True))
    assert graph.versions.min_consumer == 0
    assert not graph.library.function
    for node in graph.node:
        assert set(node.attr) <= KNOWN_ATTRIBUTES[node.op], node.name


def test_alphabet_of_another_size_is_refused() -> None:
    geometry = Geometry(16, 5)
    with pytest.raises(InputError, match="6 symbols, but the model has 5 labels"):
        streaming_graph(random_weights(geometry), geometry, alphabet_of(6), 16, Metadata())


def test_mfccs_of_a_window_are_the_batch_features() -> None:
    from speech.nn.features import batch_features

    geometry = Geometry(16, 5)
    graph, _ = build(geometry)
    samples = np.random.default_rng(3).normal(0, 3000, 2000).astype(np.int16)
    features, n_frames = batch_features(samples[np.newaxis], np.array([2000], np.int32), geometry)
    assert n_frames.numpy().tolist() == [5]
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    with tf.compat.v1.Session(graph=imported) as session:
        rows = [
            session.run("mfccs:0", {"input_samples:0": samples[320 * t : 320 * t + 512] / np.float32(32768)})
            for t in range(5)
        ]
    np.testing.assert_allclose(np.concatenate(rows), features.numpy()[0], rtol=1e-5, atol=1e-5)
