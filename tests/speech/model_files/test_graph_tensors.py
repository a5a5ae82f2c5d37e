"""TensorProto decoding against TensorFlow's own."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from speech import wire
from speech.errors import InputError
from speech.model_files import graph_tensors
from speech.model_files.graph_messages import TensorProto

NUMBERS = [1, -2, 3, 0, 5, 7]
PLAIN_TYPES = ["float32", "float64", "int32", "int16", "int8", "int64", "complex64", "complex128", "float16"]
UNSIGNED_TYPES = ["uint8", "uint16", "uint32", "uint64"]


def light(tensor: Any) -> Any:
    """TensorFlow's message as ours."""
    return TensorProto.FromString(tensor.SerializeToString())


def decoded(tensor: Any) -> np.ndarray:
    return graph_tensors.decode(light(tensor), None, "test")


def bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("dtype", [*PLAIN_TYPES, *UNSIGNED_TYPES])
@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (2, 0, 3), (1, 6, 1)])
def test_contents_decode_as_in_tensorflow(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.resize(np.abs(np.array(NUMBERS)) * 1.5, shape).astype(dtype)
    tensor = tf.make_tensor_proto(values)
    assert decoded(tensor).dtype == values.dtype
    assert decoded(tensor).shape == shape
    np.testing.assert_array_equal(decoded(tensor), tf.make_ndarray(tensor))


def by_list(dtype: Any, shape: list[int], values: list[Any]) -> Any:
    """A TensorFlow TensorProto that holds `values` in the list of its type."""
    tensor = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto())
    name = graph_tensors.BY_NAME[dtype.name].values
    for value in values:
        if dtype.is_complex:
            getattr(tensor, name).extend([value.real, value.imag])
        elif name == "half_val":
            getattr(tensor, name).append(int(np.asarray(value, dtype.as_numpy_dtype).view(np.uint16)))
        else:
            getattr(tensor, name).append(value)
    return tensor


@pytest.mark.parametrize("dtype", [*PLAIN_TYPES, *UNSIGNED_TYPES, "bool", "bfloat16"])
@pytest.mark.parametrize(
    ("shape", "count"), [([], 1), ([6], 6), ([2, 3], 1), ([2, 3], 4), ([2, 3], 0), ([0], 0), ([100_000], 1)]
)
def test_lists_of_any_length_decode_as_in_tensorflow(dtype: str, shape: list[int], count: int) -> None:
    kind = tf.as_dtype(dtype)
    positive = dtype in UNSIGNED_TYPES
    values = [kind.as_numpy_dtype(abs(value) if positive else value) for value in NUMBERS[:count]]
    tensor = by_list(kind, shape, [value.item() if dtype != "bfloat16" else value for value in values])
    # the kernel's own reading, which `tf.make_ndarray` follows only in part
    expected = tf.raw_ops.Identity(input=tf.io.parse_tensor(tensor.SerializeToString(), kind)).numpy()
    result = decoded(tensor)
    assert result.shape == tuple(shape)
    assert bits(result) == bits(expected)


@pytest.mark.parametrize("dtype", ["qint8", "quint8", "qint32", "qint16", "quint16"])
def test_quantized_values_come_as_their_bits(dtype: str) -> None:
    item = np.dtype(dtype.removeprefix("q"))
    tensor = TensorProto(dtype=tf.as_dtype(dtype).as_datatype_enum, int_val=[1, 2, 3])
    tensor.tensor_shape.dim.add(size=3)
    result = graph_tensors.decode(tensor, None, "test")
    assert result.dtype.names == (dtype,)
    np.testing.assert_array_equal(result[dtype], np.array([1, 2, 3], item))


def test_one_value_for_a_large_tensor_takes_no_memory() -> None:
    result = decoded(by_list(tf.float32, [1 << 28], [2.5]))
    assert result.nbytes == 1 << 30
    assert result.strides == (0,)
    assert result[123] == 2.5


@pytest.mark.parametrize("strings", [[b""], [b"a\x00", b"", b"\xff" * 300], [b"x"] * 5])
def test_strings_both_ways(strings: list[bytes]) -> None:
    array = np.array(strings, object)
    as_list = graph_tensors.encode(array)
    np.testing.assert_array_equal(graph_tensors.decode(as_list, None, "test"), array)
    packed = b"".join([*(wire.varint(len(string)) for string in strings), *strings])
    as_content = TensorProto(dtype=7, tensor_content=packed, tensor_shape=as_list.tensor_shape)
    np.testing.assert_array_equal(graph_tensors.decode(as_content, None, "test"), array)
    kernel = tf.io.parse_tensor(as_content.SerializeToString(), tf.string)
    np.testing.assert_array_equal(kernel.numpy(), array)


@pytest.mark.parametrize("dtype", [dtype for dtype in graph_tensors.BY_NAME if dtype != "string"])
def test_encode_decode_keeps_every_bit(dtype: str) -> None:
    kind = graph_tensors.BY_NAME[dtype].array
    numbers = np.random.default_rng(3).integers(0, 2, (4, 5, kind.itemsize), np.uint8)
    array = numbers.view(kind)[..., 0]
    tensor = graph_tensors.encode(array)
    back = graph_tensors.decode(tensor, None, "test")
    assert (back.dtype, back.shape, bits(back)) == (kind, (4, 5), bits(array))
    assert tf.io.parse_tensor(tensor.SerializeToString(), tf.as_dtype(dtype)).shape == (4, 5)


def test_encode_keeps_order_and_byte_order() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    np.testing.assert_array_equal(graph_tensors.decode(graph_tensors.encode(array), None, "test"), array)
    with pytest.raises(TypeError, match="datetime64"):
        graph_tensors.encode(np.array(["2020-01-01"], "datetime64[D]"))


def shaped(sizes: list[int], **fields: Any) -> Any:
    tensor = TensorProto(**fields)
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (shaped([3], dtype=1, tensor_content=b"12345678"), "8 bytes of data, float32 .3. takes 12"),
        (shaped([2], dtype=1, float_val=[1, 2, 3]), "3 values, but the shape .2. holds 2"),
        (shaped([-1], dtype=1, float_val=[1]), "not fully known"),
        (shaped([2**60], dtype=1, float_val=[1]), "cannot stand for"),
        (shaped([2**40, 2**40], dtype=1, float_val=[1, 2]), "cannot stand for"),
        (shaped([2**60], dtype=7, tensor_content=b"\x00" * 100), "do not fill"),
        (shaped([2], dtype=7, tensor_content=b"\x05\x05abc"), "do not fill"),
        (shaped([2], dtype=7, tensor_content=b"\xff"), "do not fill"),
        (shaped([1] * 70, dtype=1, float_val=[1]), "impossible"),
        (shaped([1] * 300, dtype=1, float_val=[1]), "300 dimensions"),
        (shaped([1], dtype=8, scomplex_val=[1, 2, 3]), "impossible"),
        (shaped([1], dtype=20), "type 20 is not supported"),
    ],
)
def test_what_does_not_fit_together_is_refused(tensor: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        graph_tensors.decode(tensor, None, "the place")
    assert "the place" in str(caught.value)
