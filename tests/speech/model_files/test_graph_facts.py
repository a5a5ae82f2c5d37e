"""What a frozen graph says about itself."""

from pathlib import Path

import numpy as np
import pytest

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files import graphdef, memmapped_file
from speech.model_files.graph_facts import read_facts, read_weights
from speech.model_files.variables import weight_shapes
from speech.nn.graph import Metadata, streaming_graph

ALPHABET = Alphabet((" ", "x", "ß"))
GEOMETRY = Geometry(8, 3, layer_norm=True, relu_clip=7.5, audio_sample_rate=8000, feature_win_len=40, n_context=4)


def graph_file(path: Path, geometry: Geometry = GEOMETRY) -> Path:
    generator = np.random.default_rng(0)
    shapes = weight_shapes(geometry)
    weights = {name: generator.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    path.write_bytes(streaming_graph(weights, geometry, ALPHABET, 5, Metadata()).SerializeToString())
    return path


@pytest.mark.parametrize("geometry", [GEOMETRY, Geometry(16, 3)])
def test_facts_and_weights_of_plain_and_mapped_graphs(tmp_path: Path, geometry: Geometry) -> None:
    plain, mapped = graph_file(tmp_path / "g.pb", geometry), tmp_path / "g.pbmm"
    memmapped_file.convert(plain, mapped, 100)
    for path in (plain, mapped):
        graph = memmapped_file.open_graph(path)
        facts = read_facts(graph)
        assert (facts.geometry, facts.alphabet, facts.n_steps) == (geometry, ALPHABET, 5)
        weights = read_weights(graph)
        assert {name: value.shape for name, value in weights.items()} == weight_shapes(geometry)
        assert weights["layer_1/weights"][3, 2] == graph.constant("layer_1/weights")[3, 2]


def test_a_graph_of_another_kind_is_named(tmp_path: Path) -> None:
    graph = graphdef.read(graph_file(tmp_path / "g.pb"))
    del graph.nodes["new_state_h"]
    with pytest.raises(InputError, match="lacks the node new_state_h"):
        read_facts(graph)


def test_an_alphabet_of_another_size_is_named(tmp_path: Path) -> None:
    graph = graphdef.read(graph_file(tmp_path / "g.pb"))
    node = graph.nodes["metadata_alphabet"]
    node.attr["value"].tensor.string_val[0] = Alphabet((" ", "x")).serialize()
    with pytest.raises(InputError, match="2 symbols, but the model has 3 labels"):
        read_facts(graph)


def test_an_input_without_a_shape_is_named(tmp_path: Path) -> None:
    graph = graphdef.read(graph_file(tmp_path / "g.pb"))
    graph.nodes["input_node"].attr["shape"].shape.dim[1].size = -1
    with pytest.raises(InputError, match="input_node has the shape"):
        read_facts(graph)
