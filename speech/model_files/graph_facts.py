"""What a frozen streaming graph says about itself: geometry, alphabet, frames a call, metadata, weights by name.

Node names and shapes are those of DeepSpeech 0.9.3 and Coqui STT 1.4.0 (`speech.nn.graph` builds them); graphs of
theirs and memory-mapped ones are read as well as ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.graphdef import FrozenGraph

METADATA, ALPHABET_NODE = "metadata_", "metadata_alphabet"
REQUIRED_NODES = (
    *("input_samples", "mfccs", "input_node", "input_lengths", "previous_state_c", "previous_state_h"),
    *("logits", "new_state_c", "new_state_h"),
    *("metadata_sample_rate", "metadata_feature_win_len", "metadata_feature_win_step", ALPHABET_NODE),
)
OUTPUT_BIAS = "layer_6/bias"
WEIGHT_ENDINGS = ("/weights", "/bias", "/kernel", "/beta", "/gamma")


@dataclass(frozen=True)
class GraphFacts:
    """Read by `read_facts`."""

    geometry: Geometry
    alphabet: Alphabet
    n_steps: int  # frames a call
    metadata: Mapping[str, Any]  # what else the graph's metadata nodes say: beam_width, language, ...


def read_facts(graph: FrozenGraph) -> GraphFacts:
    """Read shapes and metadata. Raises InputError for a graph of another kind, or one that contradicts itself."""
    missing = [name for name in REQUIRED_NODES if name not in graph.nodes]
    if missing:
        raise InputError(
            f"{graph.source}: the graph lacks the node {missing[0]}: expected the streaming acoustic model that "
            "`python -m components.export` makes"
        )
    _, n_steps, window_frames, n_input = _shape(graph, "input_node", 4)
    alphabet = Alphabet.deserialize(_constant(graph, ALPHABET_NODE), f"{graph.source}: {ALPHABET_NODE}")
    if OUTPUT_BIAS in graph.nodes and (classes := graph.constant(OUTPUT_BIAS).size) != len(alphabet) + 1:
        raise InputError(
            f"{graph.source}: {ALPHABET_NODE} has {len(alphabet)} symbols, but the model has {classes - 1} labels "
            "and the blank: export it again with the alphabet that it was trained with"
        )
    geometry = Geometry(
        n_hidden=_shape(graph, "previous_state_c", 2)[1],
        n_labels=len(alphabet),
        layer_norm=any("/LayerNorm/" in name for name in graph.nodes),
        relu_clip=_relu_clip(graph),
        audio_sample_rate=int(_constant(graph, "metadata_sample_rate")),
        feature_win_len=int(_constant(graph, "metadata_feature_win_len")),
        feature_win_step=int(_constant(graph, "metadata_feature_win_step")),
        n_input=n_input,
        n_context=window_frames // 2,
    )
    return GraphFacts(geometry, alphabet, n_steps, _metadata(graph))


def _metadata(graph: FrozenGraph) -> dict[str, Any]:
    nodes = (name for name in graph.constants() if name.startswith(METADATA) and name != ALPHABET_NODE)
    return {name.removeprefix(METADATA): plain(_constant(graph, name)) for name in nodes}


def plain(value: Any) -> Any:
    """A constant's value as Python has it: strings are UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else np.asarray(value).item()


def read_weights(graph: FrozenGraph) -> dict[str, np.ndarray]:
    """The constants that carry the names of DeepSpeech's variables."""
    names = [name for name in graph.constants() if name.endswith(WEIGHT_ENDINGS)]
    values = {name: graph.constant(name) for name in names}
    return {name: value for name, value in values.items() if value.dtype == np.float32}


def _shape(graph: FrozenGraph, name: str, rank: int) -> list[int]:
    sizes = graph.attribute(name, "shape")
    if sizes is None or len(sizes) != rank or min(sizes) < 1:
        raise InputError(f"{graph.source}: {name} has the shape {sizes}, expected {rank} known sizes")
    return sizes


def _constant(graph: FrozenGraph, name: str) -> Any:
    value = graph.constant(name)
    if value.size != 1:
        raise InputError(f"{graph.source}: {name} holds {value.size} values, expected one")
    return value.reshape(-1)[0]


def _relu_clip(graph: FrozenGraph) -> float:
    """The limit of the clipped activations: the constant input of the first Minimum."""
    for node in graph.nodes.values():
        for name in node.input if node.op == "Minimum" else ():
            if name in graph.nodes and graph.nodes[name].op == "Const":
                return float(_constant(graph, name))
    return Geometry.relu_clip
