"""The Model Optimizer's command line."""

import pytest

from components.convert_openvino.model_optimizer import Request, parse, precision
from speech.errors import InputError
from speech.geometry import Geometry

GEOMETRY = Geometry(n_hidden=2048, n_labels=28)
CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
ALL = ("logits", "new_state_c", "new_state_h")


def test_the_guides_own_command() -> None:
    request = parse(
        "input_lengths->[16],input_node[1,16,19,26],previous_state_h[1,2048],previous_state_c[1,2048]",
        f"{CELL}/GatherNd_1,{CELL}/GatherNd,logits",
        "",
        "",
        GEOMETRY,
    )
    assert request == Request(16, 1, ("new_state_h", "new_state_c", "logits"))


@pytest.mark.parametrize("states", ["GatherNd", "Gather"])
def test_the_commands_of_earlier_guides(states: str) -> None:
    request = parse(
        "input_node,previous_state_h/read,previous_state_c/read",
        f"raw_logits,lstm_fused_cell/{states},lstm_fused_cell/{states}_1",
        "[1,16,19,26],[1,2048],[1,2048]",
        "input_lengths->[16]",
        GEOMETRY,
    )
    assert request == Request(16, 1, ("raw_logits", "new_state_c", "new_state_h"))


@pytest.mark.parametrize(
    ("input", "input_shape", "frozen", "expected"),
    [
        ("", "", "", Request()),
        ("input_node[1 16 19 26],input_lengths->16", "", "", Request(16, 1)),
        ("input_node:0[1,?,19,26]{f32},previous_state_c:0", "", "", Request(0, 1)),
        ("input_node[-1,1..64,19,26]", "", "", Request(0, 0)),
        ("input_lengths->[8]", "", "", Request(8, None)),
        ("input_node,previous_state_c", "[1,32,19,26],[1,2048]", "input_lengths->[32]", Request(32, 1)),
        ("", "[2,4,19,26]", "", Request(4, 2)),
    ],
)
def test_inputs(input: str, input_shape: str, frozen: str, expected: Request) -> None:
    assert parse(input, "", input_shape, frozen, GEOMETRY) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input": "input_nod[1,16,19,26]"}, "did you mean input_node"),
        ({"input": "input_node[1,16,19,27]"}, r"expected input_node\[BATCH,FRAMES,19,26\]"),
        ({"input": "input_node[16]"}, "expected input_node"),
        ({"input": "previous_state_h/read[1,1024]"}, r"expected previous_state_h\[BATCH,2048\]"),
        ({"output": "lstm_fused_cell/BlockLSTM:6"}, "it has logits, new_state_c, new_state_h, raw_logits"),
        ({"input": "previous_state_h[1,1024]"}, r"expected previous_state_h\[BATCH,2048\]"),
        ({"input": "input_lengths->[8],input_node[1,16,19,26]"}, "input_lengths is 8, but input_node has 16"),
        ({"input": "input_node->[3]"}, "only input_lengths can be frozen"),
        ({"input": "input_lengths->[0]"}, "only input_lengths can be frozen"),
        ({"input": "input_lengths->[x]"}, "whole number"),
        ({"input": "input_node[a,b]"}, "'a' is not a size"),
        ({"input": "x]y"}, "is not allowed"),
        ({"output": "logit"}, "did you mean logits"),
        ({"output": "logits,zzz"}, "'zzz'"),
        ({"input_shape": "[1,1],[2,2]"}, "2 shapes"),
    ],
)
def test_what_the_network_does_not_have_is_refused(given: dict[str, str], message: str) -> None:
    arguments = {"input": "", "output": "", "input_shape": "", "frozen": "", **given}
    with pytest.raises(InputError, match=message):
        parse(**arguments, geometry=GEOMETRY)


@pytest.mark.parametrize(
    ("asked", "data_type", "compress", "expected"),
    [
        ("f16", "", True, "f16"),
        ("f16", "FP32", True, "f32"),
        ("f16", "half", True, "f16"),
        ("f16", "", False, "f32"),
        ("int8", "", True, "int8"),
        ("f32", "float", True, "f32"),
    ],
)
def test_precision(asked: str, data_type: str, compress: bool, expected: str) -> None:
    assert precision(asked, data_type, compress) == expected


@pytest.mark.parametrize(("asked", "data_type"), [("int8", "FP16"), ("f16", "FP64")])
def test_contradicting_precisions(asked: str, data_type: str) -> None:
    with pytest.raises(InputError, match="data_type"):
        precision(asked, data_type, True)
