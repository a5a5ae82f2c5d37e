"""The frozen streaming graph: node names, shapes and metadata that native clients and OpenVINO rely on.

Names and structure are those that DeepSpeech 0.9.3 and Coqui STT 1.4.0 export, so that every client, script and
conversion command written for their graphs works on ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.features.mfcc import LOWEST_HZ, MEL_CHANNELS
from speech.geometry import Geometry
from speech.model_files.variables import BIAS, KERNEL, LAYER_NORM_EPSILON, LSTM_SCOPE, weight_shapes

METADATA_VERSION = 6  # of the client interface of DeepSpeech 0.9.3 and Coqui STT 1.4.0
PRODUCER = 134  # of graphs that TensorFlow 1.15 writes

# Operators of the graph and the attributes that TensorFlow 1.15 knows of each. Clients of 2020 refuse newer ones, or
# load the graph and then return empty text.
KNOWN_ATTRIBUTES = {
    "AddV2": {"T"},
    "AudioSpectrogram": {"window_size", "stride", "magnitude_squared"},
    "BiasAdd": {"T", "data_format"},
    "BlockLSTM": {"T", "cell_clip", "forget_bias", "use_peephole"},
    "Cast": {"SrcT", "DstT", "Truncate"},
    "ConcatV2": {"T", "N", "Tidx"},
    "Const": {"dtype", "value"},
    "ExpandDims": {"T", "Tdim"},
    "GatherNd": {"Tparams", "Tindices"},
    "Identity": {"T"},
    "Less": {"T"},
    "MatMul": {"T", "transpose_a", "transpose_b"},
    "Max": {"T", "Tidx", "keep_dims"},
    "Mean": {"T", "Tidx", "keep_dims"},
    "Mfcc": {"upper_frequency_limit", "lower_frequency_limit", "filterbank_channel_count", "dct_coefficient_count"},
    "Minimum": {"T"},
    "Mul": {"T"},
    "Pack": {"T", "N", "axis"},
    "Placeholder": {"dtype", "shape"},
    "Range": {"Tidx"},
    "Relu": {"T"},
    "Reshape": {"T", "Tshape"},
    "Rsqrt": {"T"},
    "Softmax": {"T"},
    "SquaredDifference": {"T"},
    "Sub": {"T"},
    "Tile": {"T", "Tmultiples"},
    "Transpose": {"T", "Tperm"},
}


@dataclass(frozen=True)
class Metadata:
    """What clients read from the graph besides the network."""

    beam_width: int = 500
    language: str = ""


def streaming_graph(
    weights: Mapping[str, np.ndarray], geometry: Geometry, alphabet: Alphabet, n_steps: int, metadata: Metadata
) -> Any:
    """Build the GraphDef that processes `n_steps` frames a call.

    Inputs: `input_samples` [window_samples] -> `mfccs` [1, n_input]; `input_node` [1, n_steps, window_frames, n_input],
    `input_lengths` [1], `previous_state_c|h` [1, H] -> `logits` [n_steps, 1, n_classes] (probabilities),
    `new_state_c|h` [1, H]. Raises InputError when alphabet and output layer differ in size.
    """
    if len(alphabet) != geometry.n_labels:
        raise InputError(
            f"the alphabet has {len(alphabet)} symbols, but the model has {geometry.n_labels} labels and "
            "the blank: give the alphabet that the model was trained with"
        )
    graph = tf.Graph()
    with graph.as_default():
        _features(geometry)
        _network(weights, geometry, n_steps)
        _metadata(geometry, alphabet, n_steps, metadata)
    return _portable(graph.as_graph_def())


def _constant(value: Any, name: str, dtype: Any = np.int32) -> tf.Tensor:
    return tf.constant(np.asarray(value, dtype), name=name)


def _features(geometry: Geometry) -> None:
    ops = tf.raw_ops
    samples = tf.compat.v1.placeholder(tf.float32, [geometry.window_samples], "input_samples")
    column = ops.ExpandDims(input=samples, axis=_constant(-1, "ExpandDims/dim"), name="ExpandDims")
    spectrogram = ops.AudioSpectrogram(
        input=column,
        window_size=geometry.window_samples,
        stride=geometry.step_samples,
        magnitude_squared=True,
        name="AudioSpectrogram",
    )
    mfcc = ops.Mfcc(
        spectrogram=spectrogram,
        sample_rate=_constant(geometry.audio_sample_rate, "Mfcc/sample_rate"),
        upper_frequency_limit=geometry.audio_sample_rate / 2,
        lower_frequency_limit=LOWEST_HZ,
        filterbank_channel_count=MEL_CHANNELS,
        dct_coefficient_count=geometry.n_input,
        name="Mfcc",
    )
    flat = ops.Reshape(tensor=mfcc, shape=_constant([-1, geometry.n_input], "Reshape/shape"), name="Reshape")
    tf.identity(flat, name="mfccs")


def _network(weights: Mapping[str, np.ndarray], geometry: Geometry, n_steps: int) -> None:
    ops, hidden, classes = tf.raw_ops, geometry.n_hidden, geometry.n_classes
    read = {
        name: tf.identity(tf.constant(weights[name], tf.float32, shape, name=name), name=f"{name}/read")
        for name, shape in weight_shapes(geometry).items()
    }
    shape = [1, n_steps, geometry.window_frames, geometry.n_input]
    node = tf.compat.v1.placeholder(tf.float32, shape, "input_node")
    lengths = tf.compat.v1.placeholder(tf.int32, [1], "input_lengths")
    state_c = tf.compat.v1.placeholder(tf.float32, [1, hidden], "previous_state_c")
    state_h = tf.compat.v1.placeholder(tf.float32, [1, hidden], "previous_state_h")

    x = ops.Transpose(x=node, perm=_constant([1, 0, 2, 3], "transpose/perm"), name="transpose")
    x = _reshape(x, [-1, geometry.window_frames * geometry.n_input], "Reshape_1")  # [n_steps, inputs]
    for position, name in enumerate(("layer_1", "layer_2", "layer_3")):
        x = _dense(x, name, read, geometry, "" if position == 0 else f"_{position}")
    x = _reshape(x, [-1, 1, hidden], "Reshape_2")  # [n_steps, 1, H]
    outputs, new_c, new_h = _lstm(x, lengths, state_c, state_h, read[KERNEL], read[BIAS], n_steps)
    x = _reshape(outputs, [-1, hidden], "Reshape_3")  # [n_steps, H]
    x = _dense(x, "layer_5", read, geometry, "_3")
    x = ops.MatMul(a=x, b=read["layer_6/weights"], name="MatMul_4")
    x = ops.BiasAdd(value=x, bias=read["layer_6/bias"], name="BiasAdd_4")
    ops.Softmax(logits=_reshape(x, [-1, 1, classes], "raw_logits"), name="logits")  # [n_steps, 1, classes]
    tf.identity(new_c, name="new_state_c")
    tf.identity(new_h, name="new_state_h")


def _reshape(x: tf.Tensor, shape: list[int], name: str) -> tf.Tensor:
    return tf.raw_ops.Reshape(tensor=x, shape=_constant(shape, f"{name}/shape"), name=name)


def _dense(x: tf.Tensor, layer: str, read: Mapping[str, tf.Tensor], geometry: Geometry, suffix: str) -> tf.Tensor:
    ops = tf.raw_ops
    x = ops.MatMul(a=x, b=read[f"{layer}/weights"], name=f"MatMul{suffix}")
    x = ops.BiasAdd(value=x, bias=read[f"{layer}/bias"], name=f"BiasAdd{suffix}")
    clip = _constant(geometry.relu_clip, f"Minimum{suffix}/y", np.float32)
    x = ops.Minimum(x=ops.Relu(features=x, name=f"Relu{suffix}"), y=clip, name=f"Minimum{suffix}")
    return _layer_norm(x, layer, read) if geometry.layer_norm else x


def _layer_norm(x: tf.Tensor, layer: str, read: Mapping[str, tf.Tensor]) -> tf.Tensor:
    ops, scope = tf.raw_ops, f"{layer}_1/LayerNorm"
    axes = _constant([1], f"{scope}/axes")
    mean = ops.Mean(input=x, axis=axes, keep_dims=True, name=f"{scope}/mean")
    squares = ops.SquaredDifference(x=x, y=mean, name=f"{scope}/SquaredDifference")
    variance = ops.Mean(input=squares, axis=axes, keep_dims=True, name=f"{scope}/variance")
    epsilon = _constant(LAYER_NORM_EPSILON, f"{scope}/epsilon", np.float32)
    scale = ops.Rsqrt(x=ops.AddV2(x=variance, y=epsilon, name=f"{scope}/add"), name=f"{scope}/Rsqrt")
    scale = ops.Mul(x=scale, y=read[f"{layer}/LayerNorm/gamma"], name=f"{scope}/mul")
    offset = ops.Mul(x=mean, y=scale, name=f"{scope}/mul_2")
    offset = ops.Sub(x=read[f"{layer}/LayerNorm/beta"], y=offset, name=f"{scope}/sub")
    return ops.AddV2(x=ops.Mul(x=x, y=scale, name=f"{scope}/mul_1"), y=offset, name=f"{scope}/add_1")


def _lstm(
    x: tf.Tensor, lengths: tf.Tensor, state_c: tf.Tensor, state_h: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, n: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """BlockLSTM over `n` frames, outputs zero behind `lengths`, and the states after `lengths` frames."""
    ops, scope, hidden = tf.raw_ops, LSTM_SCOPE, state_c.shape[1]
    zeros = _constant(np.zeros(hidden), f"{scope}/zeros", np.float32)
    longest = ops.Max(input=lengths, axis=_constant([0], f"{scope}/Const"), name=f"{scope}/Max")
    block = ops.BlockLSTM(
        seq_len_max=ops.Cast(x=longest, DstT=tf.int64, name=f"{scope}/Cast"),
        x=x,
        cs_prev=state_c,
        h_prev=state_h,
        w=kernel,
        wci=zeros,
        wcf=zeros,
        wco=zeros,
        b=bias,
        forget_bias=0.0,
        cell_clip=-1.0,
        use_peephole=False,
        name=f"{scope}/BlockLSTM",
    )
    outputs = ops.Mul(x=block.h, y=_length_mask(lengths, n, hidden), name=f"{scope}/mul")
    new_c = _after(block.cs, state_c, lengths, ("ExpandDims_1", "concat", "range", "stack", "GatherNd"))
    new_h = _after(outputs, state_h, lengths, ("ExpandDims_2", "concat_1", "range_1", "stack_1", "GatherNd_1"))
    return outputs, new_c, new_h


def _length_mask(lengths: tf.Tensor, n: int, hidden: int) -> tf.Tensor:
    """1 for the first `lengths` frames and 0 behind, `[n, 1, H]`."""
    ops, scope = tf.raw_ops, f"{LSTM_SCOPE}/SequenceMask"
    frames = ops.Range(
        start=_constant(0, f"{scope}/Const_1"),
        limit=_constant(n, f"{scope}/Const"),
        delta=_constant(1, f"{scope}/Const_2"),
        name=f"{scope}/Range",
    )
    limit = ops.ExpandDims(input=lengths, axis=_constant(-1, f"{scope}/ExpandDims/dim"), name=f"{scope}/ExpandDims")
    inside = ops.Cast(x=ops.Less(x=frames, y=limit, name=f"{scope}/Less"), DstT=tf.float32, name=f"{scope}/Cast_1")
    scope = LSTM_SCOPE
    inside = ops.Transpose(x=inside, perm=_constant([1, 0], f"{scope}/transpose/perm"), name=f"{scope}/transpose")
    inside = ops.ExpandDims(input=inside, axis=_constant(-1, f"{scope}/ExpandDims/dim"), name=f"{scope}/ExpandDims")
    return ops.Tile(input=inside, multiples=_constant([1, 1, hidden], f"{scope}/Tile/multiples"), name=f"{scope}/Tile")


def _after(states: tf.Tensor, initial: tf.Tensor, lengths: tf.Tensor, names: tuple[str, ...]) -> tf.Tensor:
    """The state `[1, H]` after `lengths` frames; with 0 frames the initial one."""
    ops = tf.raw_ops
    expand, concat, batch_range, stack, gather = (f"{LSTM_SCOPE}/{name}" for name in names)
    first = ops.ExpandDims(input=initial, axis=_constant(0, f"{expand}/dim"), name=expand)
    every = ops.ConcatV2(values=[first, states], axis=_constant(0, f"{concat}/axis"), name=concat)  # [n + 1, 1, H]
    clip = ops.Range(
        start=_constant(0, f"{batch_range}/start"),
        limit=_constant(1, f"{batch_range}/limit"),
        delta=_constant(1, f"{batch_range}/delta"),
        name=batch_range,
    )
    return ops.GatherNd(params=every, indices=ops.Pack(values=[lengths, clip], axis=1, name=stack), name=gather)


def _metadata(geometry: Geometry, alphabet: Alphabet, n_steps: int, metadata: Metadata) -> None:
    for name, value in (
        ("version", METADATA_VERSION),
        ("sample_rate", geometry.audio_sample_rate),
        ("feature_win_len", geometry.feature_win_len),
        ("feature_win_step", geometry.feature_win_step),
        ("beam_width", metadata.beam_width),
    ):
        _constant([value], f"metadata_{name}")
    tf.constant([alphabet.serialize()], tf.string, name="metadata_alphabet")
    if metadata.language:
        tf.constant([metadata.language.encode("utf-8")], tf.string, name="metadata_language")
    # DeepSpeech's client compares this unused constant with its alphabet: a clean error instead of a crash.
    _constant([n_steps, 1, geometry.n_classes], "logits_shape")


def _portable(graph_def: Any) -> Any:
    """Leave only the operators and attributes that clients of 2020 know, and a version of their time."""
    graph_def.versions.Clear()
    graph_def.versions.producer = PRODUCER
    for node in graph_def.node:
        if node.op not in KNOWN_ATTRIBUTES:
            raise AssertionError(f"{node.name}: the operator {node.op} is not one that native clients have")
        for name in set(node.attr) - KNOWN_ATTRIBUTES[node.op]:
            del node.attr[name]
    return graph_def
