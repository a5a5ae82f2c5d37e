"""The command line of OpenVINO's Model Optimizer (`mo`), as far as scripts use it on DeepSpeech's graph.

Its `--input` names placeholders with shapes and frozen values ("input_lengths->[16],input_node[1,16,19,26]"), its
`--output` names nodes. Here they are checked against the model and give the fixed dimensions and the outputs' order.
Source: the options of mo in OpenVINO 2019 to 2023.3 and its guides for DeepSpeech.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from speech.errors import InputError
from speech.geometry import Geometry
from speech.ir import names
from speech.settings import NEAR, split_outside_brackets

SHORT_FLAGS = {
    "-m": "--input_model",
    "-w": "--input_model",
    "-n": "--model_name",
    "-o": "--output_dir",
    "-b": "--batch",
}

_NOTHING_TO_OPTIMIZE = "the network is built from the weights, there is nothing to switch off"
_OF_OTHER_MODELS = (
    "tensorflow_custom_operations_config_update",
    "tensorflow_use_custom_operations_config",
    "tensorflow_object_detection_api_pipeline_config",
    "tensorflow_custom_layer_libraries",
    "tensorflow_subgraph_patterns",
    "tensorflow_operation_patterns",
    "saved_model_tags",
)
RETIRED_FLAGS = {
    "framework": "the kind of the input is read from the file",
    "input_model_is_text": "the kind of the input is read from the file",
    "log_level": "there is one line of progress a file",
    "silent": "there is one line of progress a file",
    "progress": "there is one line of progress a file",
    "stream_output": "there is one line of progress a file",
    "static_shape": "--n_steps fixes the time dimension",
    "use_legacy_frontend": _NOTHING_TO_OPTIMIZE,
    "use_new_frontend": _NOTHING_TO_OPTIMIZE,
    "disable_fusing": _NOTHING_TO_OPTIMIZE,
    "finegrain_fusing": _NOTHING_TO_OPTIMIZE,
    "disable_resnet_optimization": _NOTHING_TO_OPTIMIZE,
    "disable_weights_compression": _NOTHING_TO_OPTIMIZE,
    "enable_concat_optimization": _NOTHING_TO_OPTIMIZE,
    "keep_shape_ops": _NOTHING_TO_OPTIMIZE,
    "transform": "--stateful makes the network that keeps its states",
    "extensions": _NOTHING_TO_OPTIMIZE,
    "disable_nhwc_to_nchw": "the network has no images whose channels could change places",
    "disable_gfusing": _NOTHING_TO_OPTIMIZE,
    "move_to_preprocess": _NOTHING_TO_OPTIMIZE,
    "transformations_config": _NOTHING_TO_OPTIMIZE,
    "generate_experimental_IR_V10": "the IR has the version of the OpenVINO installed here",
    "tensorboard_logdir": "there is no graph to draw",
    **dict.fromkeys(_OF_OTHER_MODELS, "it describes other models' operators, and this one's are known"),
}
_OF_IMAGES = "it scales or reorders images, and the model takes features of speech: leave it out"
_FROM_THE_GRAPH = "give the frozen graph, the export's folder or the checkpoint's folder to --input_model"
REFUSED_FLAGS = {
    **dict.fromkeys(("mean_values", "scale_values", "scale", "reverse_input_channels"), _OF_IMAGES),
    **dict.fromkeys(("layout", "source_layout", "target_layout"), _OF_IMAGES),
    **dict.fromkeys(("input_checkpoint", "input_meta_graph", "saved_model_dir"), _FROM_THE_GRAPH),
    "generate_deprecated_IR_V7": "no OpenVINO since 2022 loads such an IR: leave it out",
}

_ANY_SIZES = ("?", "-1")
_INPUT = re.compile(
    r"(?P<name>[^\[\]{}>]+?)\s*(?:\[(?P<shape>[^\]]*)\])?\s*(?:\{(?P<type>[^}]*)\})?\s*(?:->\s*\[?(?P<value>[^\[\]]*)\]?)?"
)


@dataclass(frozen=True)
class Request:
    """What `--input` and `--output` ask for; None: not said. A dimension of 0 is dynamic."""

    n_steps: int | None = None
    batch: int | None = None
    outputs: tuple[str, ...] = names.OUTPUTS


@dataclass(frozen=True)
class _Input:
    text: str
    name: str
    shape: tuple[int | None, ...] | None  # None in it: dynamic
    value: int | None


def precision(asked: str, data_type: str, compress_to_fp16: bool) -> str:
    """Our `--precision` for the Model Optimizer's flags; raises InputError if they contradict it."""
    by_type = {"": "", "FP16": "f16", "half": "f16", "FP32": "f32", "float": "f32"}.get(data_type)
    if by_type is None:
        raise InputError(f"--data_type {data_type!r} is not allowed: FP16, half, FP32 or float (or --precision int8)")
    if asked == "f16":  # the default of both
        return "f32" if not compress_to_fp16 else by_type or asked
    if by_type and by_type != asked:
        raise InputError(f"--precision {asked} and --data_type {data_type} contradict each other: leave one out")
    return asked


def parse(input: str, output: str, input_shape: str, frozen: str, geometry: Geometry) -> Request:
    """Read `--input`, `--output`, `--input_shape` and `--freeze_placeholder_with_value` for a model of `geometry`.

    Raises InputError for a tensor that the network does not have, or a shape that is not the model's.
    """
    inputs = [_parse_input(text.strip()) for text in split_outside_brackets(input)]
    inputs = _with_shapes(inputs, split_outside_brackets(input_shape))
    inputs += [_parse_input(text.strip()) for text in split_outside_brackets(frozen)]
    n_steps = batch = length = None
    for item in inputs:
        if item.value is not None:
            length = _length(item)
        elif item.name == names.FEATURES and item.shape is not None:
            batch, n_steps = _windows_shape(item, geometry)
        elif item.name in (names.STATE_C, names.STATE_H) and item.shape is not None:
            _check_state(item, geometry)
    if length is not None and n_steps not in (None, 0, length):
        raise InputError(
            f"--input {input!r}: input_lengths is {length}, but input_node has {n_steps} frames: give both the same"
        )
    return Request(length if n_steps is None else n_steps, batch, _outputs(output))


def _parse_input(text: str) -> _Input:
    match = _INPUT.fullmatch(text)
    if not match:
        raise InputError(f"--input {text!r} is not allowed: NAME, NAME[SIZES] or NAME->[VALUE]")
    name = names.canonical(match["name"].strip())
    if name not in (*names.INPUTS, names.LENGTHS):
        raise _unknown("input", match["name"], (*names.INPUTS, names.LENGTHS))
    shape = None if match["shape"] is None else tuple(map(_size, re.split(r"[\s,]+", match["shape"].strip())))
    value = None
    if match["value"] is not None:
        if not match["value"].strip().isdecimal():
            raise InputError(f"--input {text!r}: expected a whole number of frames behind `->`")
        value = int(match["value"])
    return _Input(text, name, shape, value)


def _size(text: str) -> int | None:
    if text in _ANY_SIZES or ".." in text:
        return None
    if not text.isdecimal():
        raise InputError(f"--input: {text!r} is not a size: a number, ? or -1")
    return int(text)


def _with_shapes(inputs: list[_Input], shapes: Sequence[str]) -> list[_Input]:
    """`--input_shape` gives the shapes in the order of `--input`, or that of input_node alone."""
    if not shapes:
        return inputs
    targets = inputs or [_Input("--input_shape", names.FEATURES, None, None)]
    if len(shapes) != len(targets):
        raise InputError(f"--input_shape has {len(shapes)} shapes, --input has {len(targets)} names: one shape a name")
    return [
        _Input(target.text, target.name, _parse_input(f"{target.name}{shape.strip()}").shape, target.value)
        for target, shape in zip(targets, shapes, strict=True)
    ]


def _length(item: _Input) -> int:
    if item.name != names.LENGTHS or not item.value:
        raise InputError(f"--input {item.text!r}: only input_lengths can be frozen, to the number of frames a call")
    return item.value


def _windows_shape(item: _Input, geometry: Geometry) -> tuple[int, int]:
    """Batch and frames a call, 0 for dynamic."""
    expected = (geometry.window_frames, geometry.n_input)
    if item.shape is None or len(item.shape) != 4 or item.shape[2:] != expected:
        raise InputError(
            f"--input {item.text!r}: expected input_node[BATCH,FRAMES,{expected[0]},{expected[1]}] for this model"
        )
    return item.shape[0] or 0, item.shape[1] or 0


def _check_state(item: _Input, geometry: Geometry) -> None:
    if item.shape is None or len(item.shape) != 2 or item.shape[1] != geometry.n_hidden:
        raise InputError(f"--input {item.text!r}: expected {item.name}[BATCH,{geometry.n_hidden}] for this model")


def _outputs(text: str) -> tuple[str, ...]:
    asked = [item.strip() for item in text.split(",") if item.strip()]
    outputs = tuple(dict.fromkeys(names.canonical(name) for name in asked))
    known = (*names.OUTPUTS, names.RAW_LOGITS)
    for name in asked:
        if names.canonical(name) not in known:
            raise _unknown("output", name, known)
    return outputs or names.OUTPUTS


def _unknown(kind: str, name: str, known: Sequence[str]) -> InputError:
    spellings = {spelling: ours for ours in known for spelling in names.aliases(ours)}
    nearest = difflib.get_close_matches(name, spellings, n=1, cutoff=NEAR)
    hint = f"did you mean {nearest[0]}?" if nearest else f"it has {', '.join(known)}"
    return InputError(f"--{kind} {name!r}: the network has no such {kind}: {hint}")
