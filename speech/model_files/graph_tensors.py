"""TensorFlow's TensorProto <-> numpy, in each of the ways a TensorProto can hold its numbers.

numpy lacks bfloat16 and TensorFlow's quantized types: their arrays are structured with one field, named after the
type, that holds the stored bits (`array["bfloat16"]` is uint16). Strings are object arrays of bytes.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from speech.errors import InputError
from speech.model_files.graph_messages import TensorProto, TensorShapeProto
from speech.wire import Bytes, read_varint

_MAX_RANK = 254  # TensorFlow's
MAX_EXPANDED_BYTES = 2**31 - 1  # protobuf's own limit; beyond it only a damaged shape can be behind a short list


@dataclass(frozen=True)
class Dtype:
    """One of TensorFlow's element types: what numpy calls it, and the TensorProto list that may hold its values."""

    number: int
    name: str
    array: np.dtype[Any]
    values: str
    item: str = ""  # numpy type of the stored bits, where it is not `array` itself

    @property
    def mappable(self) -> bool:
        """Whether the converter of memory-mapped graphs maps it: numbers and bools, no strings or quantized types."""
        return self.array.kind != "O" and not self.name.startswith("q")


def _bits(name: str, item: str) -> np.dtype[Any]:
    return np.dtype([(name, item)])


_DTYPES = (
    Dtype(1, "float32", np.dtype("<f4"), "float_val"),
    Dtype(2, "float64", np.dtype("<f8"), "double_val"),
    Dtype(3, "int32", np.dtype("<i4"), "int_val"),
    Dtype(4, "uint8", np.dtype("u1"), "int_val"),
    Dtype(5, "int16", np.dtype("<i2"), "int_val"),
    Dtype(6, "int8", np.dtype("i1"), "int_val"),
    Dtype(7, "string", np.dtype("O"), "string_val"),
    Dtype(8, "complex64", np.dtype("<c8"), "scomplex_val", "<f4"),
    Dtype(9, "int64", np.dtype("<i8"), "int64_val"),
    Dtype(10, "bool", np.dtype("?"), "bool_val"),
    Dtype(11, "qint8", _bits("qint8", "i1"), "int_val", "i1"),
    Dtype(12, "quint8", _bits("quint8", "u1"), "int_val", "u1"),
    Dtype(13, "qint32", _bits("qint32", "<i4"), "int_val", "<i4"),
    Dtype(14, "bfloat16", _bits("bfloat16", "<u2"), "half_val", "<u2"),
    Dtype(15, "qint16", _bits("qint16", "<i2"), "int_val", "<i2"),
    Dtype(16, "quint16", _bits("quint16", "<u2"), "int_val", "<u2"),
    Dtype(17, "uint16", np.dtype("<u2"), "int_val"),
    Dtype(18, "complex128", np.dtype("<c16"), "dcomplex_val", "<f8"),
    Dtype(19, "float16", np.dtype("<f2"), "half_val", "<u2"),
    Dtype(22, "uint32", np.dtype("<u4"), "uint32_val"),
    Dtype(23, "uint64", np.dtype("<u8"), "uint64_val"),
)
_BY_NUMBER = {dtype.number: dtype for dtype in _DTYPES}
_BY_ARRAY = {dtype.array: dtype for dtype in _DTYPES}
BY_NAME = {dtype.name: dtype for dtype in _DTYPES}


def dtype_of(number: int) -> Dtype | None:
    """The element type with TensorFlow's `number` (types.proto), None for one that no constant here can have."""
    return _BY_NUMBER.get(number)


def dtype_name(number: int) -> str:
    """A readable name of the element type `number`."""
    dtype = dtype_of(number)
    return dtype.name if dtype else f"type {number}"


def shape_of(shape: Any, where: str) -> tuple[int, ...]:
    """The sizes in a TensorShapeProto. Raises InputError if a size or the rank is not known."""
    if len(shape.dim) > _MAX_RANK:
        raise InputError(f"{where}: a shape of {len(shape.dim)} dimensions: the file is damaged")
    sizes = tuple(dim.size for dim in shape.dim)
    if shape.unknown_rank or any(size < 0 for size in sizes):
        raise InputError(f"{where}: its shape {list(sizes)} is not fully known, as a constant's must be")
    return sizes


def shape_proto(sizes: Sequence[int]) -> Any:
    """A TensorShapeProto with these sizes."""
    shape = TensorShapeProto()
    for size in sizes:
        shape.dim.add(size=size)
    return shape


@contextlib.contextmanager
def _numpy_limits(where: str) -> Iterator[None]:
    """What numpy cannot represent (65 dimensions, 2**60 elements) is a fault of the file here."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: impossible shape or data ({error}): the file is damaged") from error


def from_bytes(content: Bytes, dtype: Dtype, shape: tuple[int, ...], where: str) -> npt.NDArray[Any]:
    """A read-only array over `content` (no copy), little-endian and row-major. Raises InputError if sizes differ."""
    expected = math.prod(shape) * dtype.array.itemsize
    if len(content) != expected:
        raise InputError(
            f"{where}: {len(content)} bytes of data, {dtype.name} {list(shape)} takes {expected}: the file is damaged"
        )
    with _numpy_limits(where):
        array = np.frombuffer(content, dtype.array).reshape(shape)
    array.flags.writeable = False
    return array


def decode(tensor: Any, content: Bytes | None, where: str) -> npt.NDArray[Any]:
    """The array that a TensorProto stands for.

    `content` stands in for its `tensor_content` if given, and is not copied. Lists may be shorter than the shape:
    their last value repeats (none at all means zero), as in TensorFlow; a single value is not expanded in memory.
    Raises InputError, naming `where`, if type, shape and data do not fit together.
    """
    dtype = dtype_of(tensor.dtype)
    if dtype is None:
        raise InputError(f"{where}: element {dtype_name(tensor.dtype)} is not supported")
    shape = shape_of(tensor.tensor_shape, where)
    data = tensor.tensor_content if content is None else content
    if len(data) and dtype.name != "string":
        return from_bytes(data, dtype, shape, where)
    values = _split_strings(data, math.prod(shape), where) if len(data) else getattr(tensor, dtype.values)
    return _expand(_listed(values, dtype, where), dtype, shape, where)


def _listed(values: Sequence[Any], dtype: Dtype, where: str) -> npt.NDArray[Any]:
    """The values of one of TensorProto's lists, as they are. [N]"""
    if dtype.name == "string":
        strings = np.empty(len(values), object)
        strings[:] = values
        return strings
    item = np.dtype(dtype.item) if dtype.item else dtype.array
    # These lists are int32 whatever the type: narrowing cuts off the upper bits, as TensorFlow does.
    stored = np.dtype("<i4") if dtype.values in ("int_val", "half_val") else item
    with _numpy_limits(where):
        return np.fromiter(values, stored, len(values)).astype(item, copy=False).view(dtype.array)


def _expand(values: npt.NDArray[Any], dtype: Dtype, shape: tuple[int, ...], where: str) -> npt.NDArray[Any]:
    """[N] -> `shape`: the last value stands for all that are missing."""
    count = math.prod(shape)
    if len(values) > count:
        raise InputError(
            f"{where}: {len(values)} values, but the shape {list(shape)} holds {count}: the file is damaged"
        )
    if len(values) < count and count * dtype.array.itemsize > MAX_EXPANDED_BYTES:
        raise InputError(f"{where}: {len(values)} values cannot stand for the shape {list(shape)}: the file is damaged")
    with _numpy_limits(where):
        if len(values) == count:
            array = values.reshape(shape)
        elif len(values) > 1:
            array = np.concatenate([values, np.broadcast_to(values[-1], count - len(values))]).reshape(shape)
        else:
            zero = b"" if dtype.name == "string" else np.zeros((), dtype.array)[()]
            single = np.empty((), dtype.array)
            single[()] = values[0] if len(values) else zero
            array = np.broadcast_to(single, shape)
    array.flags.writeable = False
    return array


def _split_strings(data: Bytes, count: int, where: str) -> list[bytes]:
    """Strings packed in a `tensor_content`: the lengths as varints, then the bytes of all."""
    lengths: list[int] = []
    position = 0
    try:
        while len(lengths) < count:
            length, position = read_varint(data, position, len(data))
            lengths.append(length)
    except ValueError:
        position = len(data) + 1
    if position + sum(lengths) != len(data):
        raise InputError(f"{where}: its strings do not fill its {len(data)} bytes: the file is damaged")
    ends = list(accumulate(lengths, initial=position))
    return [bytes(data[start:end]) for start, end in pairwise(ends)]


def encode(value: npt.NDArray[Any] | bytes) -> Any:
    """A TensorProto with the array's type, shape and values; strings come as bytes or as an object array of bytes."""
    # Not as numpy's own byte strings: those lose the zeros at their end.
    array = np.array(value, object) if isinstance(value, bytes) else value
    little = array.dtype.newbyteorder("<")
    if little not in _BY_ARRAY:
        raise TypeError(f"no TensorFlow type for numpy's {array.dtype}")
    tensor = TensorProto(dtype=_BY_ARRAY[little].number, tensor_shape=shape_proto(array.shape))
    if array.dtype.kind == "O":
        tensor.string_val.extend(array.reshape(-1).tolist())
    else:
        tensor.tensor_content = array.astype(little, copy=False).tobytes()
    return tensor
