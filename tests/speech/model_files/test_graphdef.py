"""Frozen graphs read without TensorFlow, against TensorFlow's own protobuf; damaged and foreign files refused."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from speech import wire
from speech.errors import InputError
from speech.model_files import graphdef

NUMBERS = np.random.default_rng(5)


def tensorflow_graph() -> Any:
    """A GraphDef of TensorFlow's with constants of all kinds, a function, and what our messages do not declare."""
    graph = tf.Graph()
    with graph.as_default():
        weights = tf.constant(NUMBERS.standard_normal((40, 30), np.float32), name="layer_1/weights")
        tf.constant(np.arange(3000), name="int64_large")
        tf.constant(NUMBERS.integers(0, 255, 5000), tf.uint8, name="uint8_large")
        tf.constant(NUMBERS.standard_normal(700), tf.bfloat16, name="bfloat16_large")
        tf.constant(NUMBERS.standard_normal(700), tf.float16, name="float16_large")
        tf.constant([b"\x00\x01", b"blob" * 500], name="strings")
        tf.constant(3.5, shape=[50, 50], name="one_value")
        tf.constant(True, name="flag")
        inputs = tf.compat.v1.placeholder(tf.float32, [None, 40], name="input_node")
        with tf.control_dependencies([inputs]):
            tf.identity(tf.matmul(inputs, weights, name="product"), name="logits")
        tf.function(lambda x: x + 1.0)(inputs)
    message = graph.as_graph_def()
    message.node[0].experimental_debug_info.original_node_names.append("unknown to us")
    message.debug_info.files.append("unknown to us too")
    note = message.node.add(name="note", op="NoOp").attr["_numbers"].list
    note.i.extend([1, 2, 300])
    message.node[-1].attr["_table"].tensor.CopyFrom(tf.make_tensor_proto(np.arange(400)))
    return message


@pytest.fixture(scope="module")
def message() -> Any:
    return tensorflow_graph()


@pytest.fixture
def path(message: Any, tmp_path: Path) -> Path:
    file = tmp_path / "output_graph.pb"
    file.write_bytes(message.SerializeToString())
    return file


def test_constants_are_those_that_tensorflow_reads(message: Any, path: Path) -> None:
    graph = graphdef.read(path)
    constants = {node.name: node for node in message.node if node.op == "Const"}
    assert graph.constants() == list(constants)
    assert list(graph.nodes) == [node.name for node in message.node]
    for name, node in constants.items():
        expected = tf.make_ndarray(node.attr["value"].tensor)
        value = graph.constant(name)
        assert value.shape == expected.shape
        if value.dtype.names:  # bfloat16, which numpy lacks
            value, expected = value[value.dtype.names[0]], expected.view(np.uint16)
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected)


def test_saving_keeps_everything_even_what_is_not_declared(message: Any, path: Path, tmp_path: Path) -> None:
    graph = graphdef.read(path)
    graphdef.save(graph, tmp_path / "saved" / "again.pb")
    saved = (tmp_path / "saved" / "again.pb").read_bytes()
    assert tf.compat.v1.GraphDef.FromString(saved) == message
    assert graph.size() == len(saved) == path.stat().st_size
    assert [file.name for file in (tmp_path / "saved").iterdir()] == ["again.pb"]


def test_large_constants_are_views_of_the_file(path: Path) -> None:
    graph = graphdef.read(path)
    assert {"layer_1/weights", "int64_large", "uint8_large"} <= set(graph.contents)
    first, second = graph.constant("layer_1/weights"), graph.constant("layer_1/weights")
    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    assert graph.node("layer_1/weights").ByteSize() < 200


def test_attributes_as_python_has_them(path: Path) -> None:
    graph = graphdef.read(path)
    assert graph.attribute("input_node", "shape") == [-1, 40]
    assert graph.attribute("input_node", "dtype") == "float32"
    assert graph.attribute("product", "transpose_a") is False
    assert graph.attribute("note", "_numbers") == [1, 2, 300]
    np.testing.assert_array_equal(graph.attribute("note", "_table"), np.arange(400))
    with pytest.raises(InputError, match=r"no attr beam_width: it has .*transpose_a"):
        graph.attribute("product", "beam_width")


def test_a_missing_node_is_named_with_its_neighbour(path: Path) -> None:
    with pytest.raises(InputError, match=r"no node layer_1/weight among .*the nearest is layer_1/weights"):
        graphdef.read(path).constant("layer_1/weight")
    with pytest.raises(InputError, match="constant logits: expected a Const node with a value, found Identity"):
        graphdef.read(path).constant("logits")


def test_const_node_is_one_for_tensorflow() -> None:
    value = np.arange(12, dtype=np.float32).reshape(3, 4)
    node = tf.compat.v1.NodeDef.FromString(graphdef.const_node("weights", value).SerializeToString())
    assert (node.name, node.op, node.attr["dtype"].type) == ("weights", "Const", tf.float32.as_datatype_enum)
    np.testing.assert_array_equal(tf.make_ndarray(node.attr["value"].tensor), value)
    blob = graphdef.const_node("metadata_alphabet", b"\x02\x00\x00")
    assert blob.attr["value"].tensor.string_val == [b"\x02\x00\x00"]


def test_reading_graphs_loads_no_tensorflow(path: Path) -> None:
    code = (
        "import sys; from speech.model_files import graphdef; "
        f"graphdef.read({str(path)!r}); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def edited(change: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    """The bytes of the graph after `change`."""

    def make(message: Any) -> bytes:
        copy = tf.compat.v1.GraphDef.FromString(message.SerializeToString())
        change(copy)
        return copy.SerializeToString()

    return make


def with_variable(message: Any) -> None:
    message.node.add(name="layer_2/weights", op="VarHandleOp")


def with_variable_in_function(message: Any) -> None:
    message.library.function[0].node_def.add(name="inner/weights", op="VarHandleOp")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda message: b"", "the file is empty"),
        (lambda message: b"node {\n  name: 'a'\n}\n", "it is a text file"),
        (lambda message: b"\x1c\x00\x00\x00TFL3" + bytes(100), "it is a TFLite model"),
        (lambda message: b"PK\x03\x04" + bytes(100), "it is a zip archive"),
        (lambda message: b"\x1f\x8b" + bytes(100), "it is a gzip archive"),
        (lambda message: b"\x08\x01\x12\x03abc", "it is a SavedModel"),
        (lambda message: bytes(1000), "no valid graph from byte 0 of 1000"),
        (lambda message: message.SerializeToString()[:5000], "cut short"),
        (lambda message: b"\x0a" + wire.varint(2**60) + message.SerializeToString(), "no valid graph from byte 0"),
        (lambda message: b"\x0a\x00" * 20, "a node without a name"),
        (lambda message: b"\x22\x02\x08\x01", "no nodes"),
        (edited(with_variable), "not frozen: 'layer_2/weights' is a variable"),
        (edited(with_variable_in_function), "not frozen: 'inner/weights' is a variable"),
        (edited(lambda message: message.node.pop(0)), "node product takes 'layer_1/weights', which is missing"),
        (edited(lambda message: message.node.append(message.node[0])), "two nodes are called 'layer_1/weights'"),
        (edited(lambda message: message.node.add(name="w", op="ImmutableConst")), "memory-mapped package that is not"),
    ],
)
def test_no_graph_is_refused_in_one_line(
    make: Callable[[Any], bytes], expected: str, message: Any, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.pb"
    file.write_bytes(make(message))
    with pytest.raises(InputError, match=expected) as caught:
        graphdef.read(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pb: No such file"):
        graphdef.read(tmp_path / "nowhere.pb")
    with pytest.raises(InputError, match="Is a directory"):
        graphdef.read(tmp_path)


def damaged(data: bytes, numbers: random.Random) -> bytes:
    """`data` with one kind of damage."""
    place = numbers.randrange(len(data))
    kind = numbers.randrange(6)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes([data[place] ^ 1 << numbers.randrange(8)]) + data[place + 1 :]
    if kind == 2:
        return data[:place] + numbers.randbytes(numbers.randrange(1, 9)) + data[place:]
    if kind == 3:
        return data[:place] + data[place + numbers.randrange(1, 200) :]
    if kind == 4:
        return data[:place] + wire.varint(numbers.choice([2**31, 2**60, 2**64 - 1])) + data[place + 1 :]
    return numbers.randbytes(numbers.randrange(1, 400))


def read_all(data: bytes) -> dict[str, tuple[Any, ...]]:
    """Every constant, and every attr for good measure."""
    graph = graphdef.parse(memoryview(data), "fuzz")
    graphdef.check_frozen(graph)
    for name, node in graph.nodes.items():
        for key in set(node.attr) - {"value"}:
            graph.attribute(name, key)
    values = {name: graph.constant(name) for name in graph.constants()}
    return {name: (value.dtype, value.shape, value) for name, value in values.items()}


def test_damage_gives_an_error_or_the_same_constants(message: Any) -> None:
    """Whatever happens to the bytes: InputError, or a graph; what a cut leaves whole is unchanged."""
    data = message.SerializeToString()
    intact = read_all(data)
    numbers = random.Random(7)
    messages = []
    for _ in range(600):
        broken = damaged(data, numbers)
        try:
            constants = read_all(broken)
        except InputError as error:
            messages.append(str(error))
            continue
        if data.startswith(broken):
            assert all(value[:2] == intact[name][:2] for name, value in constants.items())
            assert all((value[2] == intact[name][2]).all() for name, value in constants.items())
    assert 100 < len(messages) < 600
    assert not any("\n" in message for message in messages)
