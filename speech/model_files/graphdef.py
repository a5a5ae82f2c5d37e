"""Frozen TensorFlow graphs without TensorFlow: read, check, take constants out, write.

A frozen graph is one serialized GraphDef. Its file is memory-mapped and its weights stay there: the nodes are parsed
without them, and each constant is a read-only array over the file. Nothing here runs a graph.
"""

import difflib
import mmap
import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt
from google.protobuf.message import DecodeError

from speech import wire
from speech.errors import InputError
from speech.model_files import graph_tensors
from speech.model_files.graph_messages import AttrValue, GraphDef, NodeDef
from speech.storage.files import atomic_path
from speech.wire import Bytes

MEMMAPPED_PREFIX = "memmapped_package://"
VARIABLE_OPS = frozenset(
    {"Variable", "VariableV2", "AutoReloadVariable", "VarHandleOp", "ReadVariableOp", "TemporaryVariable"}
)

_NODE = 1  # GraphDef.node
_CONTENT_PATH = (5, 2, 8, 4)  # NodeDef.attr -> its map entry's value -> AttrValue.tensor -> TensorProto.tensor_content
_MIN_OUTLINED_BYTES = 512
_MAX_NODES = 1_000_000  # a speech model has hundreds; a file of zero-length nodes would otherwise take all memory
_MAX_GRAPH_BYTES = 2**31 - 1  # of one protobuf message
_FOREIGN_FORMATS = (  # (offset, magic, what it is)
    (4, b"TFL3", "a TFLite model"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x08\x01\x12", "a SavedModel: freeze it first"),
)


class FrozenGraph:
    """The nodes of a graph by name, in file order; large constants' bytes lie beside them, in `contents`.

    `nodes[name]` is a NodeDef message whose attrs can be read (see `attribute`); take the values of constants by
    `constant`. `rest` is the GraphDef without its nodes: library, versions, what is unknown here.
    """

    def __init__(self, nodes: dict[str, Any], contents: Mapping[str, Bytes], rest: Any, source: str) -> None:
        self.nodes = nodes
        self.contents = contents
        self.rest = rest
        self.source = source

    def node(self, name: str) -> Any:
        """The node called `name`. Raises InputError that suggests the nearest name."""
        if name in self.nodes:
            return self.nodes[name]
        nearest = difflib.get_close_matches(name, self.nodes, n=1, cutoff=0.3)
        hint = f"; the nearest is {nearest[0]}" if nearest else ""
        raise InputError(f"{self.source}: no node {name} among its {len(self.nodes)}{hint}")

    def constants(self) -> list[str]:
        """The names of all Const nodes, in file order."""
        return [name for name, node in self.nodes.items() if node.op == "Const"]

    def constant(self, name: str) -> npt.NDArray[Any]:
        """The value of the Const node `name`: a read-only array, over the file where the file holds it as it is."""
        where = f"{self.source}: constant {name}"
        return graph_tensors.decode(self.tensor(name), self.contents.get(name), where)

    def tensor(self, name: str) -> Any:
        """The TensorProto of the Const node `name`, less what lies in `contents`."""
        node = self.node(name)
        where = f"{self.source}: constant {name}"
        if node.op != "Const" or "value" not in node.attr or node.attr["value"].WhichOneof("value") != "tensor":
            raise InputError(f"{where}: expected a Const node with a value, found {node.op}")
        tensor = node.attr["value"].tensor
        if "dtype" in node.attr and node.attr["dtype"].type != tensor.dtype:
            declared, held = (graph_tensors.dtype_name(number) for number in (node.attr["dtype"].type, tensor.dtype))
            raise InputError(f"{where}: declared {declared}, but its value is {held}: the file is damaged")
        return tensor

    def attribute(self, name: str, key: str) -> Any:
        """The value of node `name`'s attr `key` as Python has it: bytes, int, float, bool, a dtype's name, a list.

        A shape is a list of sizes with -1 for unknown ones, or None if even the rank is unknown.
        """
        node = self.node(name)
        if key not in node.attr:
            raise InputError(f"{self.source}: node {name} ({node.op}) has no attr {key}: it has {sorted(node.attr)}")
        return _plain(node.attr[key], f"{self.source}: attr {key} of node {name}")

    def size(self) -> int:
        """The bytes that `write` writes."""
        return sum(map(len, self._pieces()))

    def write(self, file: BinaryIO) -> None:
        """Write the serialized GraphDef, streaming the large constants from where they are."""
        for piece in self._pieces():
            file.write(piece)

    def _pieces(self) -> Iterator[Bytes]:
        for name, node in self.nodes.items():
            content = self.contents.get(name)
            pieces = [_serialized(node)] if content is None else _with_content(node, content)
            yield from wire.delimited(_NODE, pieces)
        yield _serialized(self.rest)


def save(graph: FrozenGraph, path: str | os.PathLike[str]) -> None:
    """Write a frozen graph file, atomically. Raises InputError if it would be larger than protobuf allows."""
    size = graph.size()
    if size > _MAX_GRAPH_BYTES:
        raise InputError(f"{path}: the graph takes {size:,} bytes, a plain graph holds 2 GiB: keep it memory-mapped")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        graph.write(file)


def read(path: str | os.PathLike[str]) -> FrozenGraph:
    """Read a frozen graph file, weights unread. The file must stay as it is while arrays from it are in use.

    Raises InputError if it is missing, empty, memory-mapped, not a GraphDef, cut short, or not frozen.
    """
    data = map_file(path)
    if is_memmapped(data):
        raise InputError(
            f"{path}: it is a memory-mapped graph (.pbmm), expected a plain frozen one: "
            "`python -m components.export.memmapped --to_frozen` makes one of it"
        )
    graph = parse(data, str(path))
    check_frozen(graph)
    if any(node.op == "ImmutableConst" for node in graph.nodes.values()):
        raise InputError(f"{path}: its weights are in a memory-mapped package that is not here, expected a plain graph")
    return graph


def map_file(path: str | os.PathLike[str]) -> memoryview:
    """The bytes of a file, memory-mapped. Raises InputError if it is missing or empty."""
    try:
        with Path(path).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise InputError(f"{path}: the file is empty, expected a TensorFlow graph")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected a TensorFlow graph file") from error


def is_memmapped(data: Bytes) -> bool:
    """Whether the data ends like a memory-mapped package: the offset of a directory whose first name has the prefix."""
    if len(data) <= 8:
        return False
    offset = int.from_bytes(data[-8:], "little")
    return MEMMAPPED_PREFIX.encode() in bytes(data[offset : offset + 64])


def parse(data: Bytes, source: str) -> FrozenGraph:
    """Parse a serialized GraphDef; `source` is what errors call it. Large constants stay in `data`."""
    nodes: dict[str, Any] = {}
    contents: dict[str, Bytes] = {}
    rest: list[Bytes] = []
    outlined = _Outlined()
    position = 0
    try:
        while position < len(data):
            field = wire.read_field(data, position, len(data))
            if (field.number, field.kind) == (_NODE, wire.DELIMITED):
                _add_node(NodeDef.FromString(outlined.cut(data, field.payload, field.end)), outlined, nodes, contents)
            else:
                rest.append(data[position : field.end])
            position = field.end
        return FrozenGraph(nodes, contents, GraphDef.FromString(b"".join(rest)), source)
    except (ValueError, DecodeError) as error:
        what = _foreign_format(data) or f"no valid graph from byte {position} of {len(data)} on ({error})"
        raise InputError(
            f"{source}: {what}; expected a serialized TensorFlow GraphDef: the file is damaged, cut short or no graph"
        ) from error


def check_frozen(graph: FrozenGraph) -> None:
    """Raise InputError unless the graph has nodes, all that they take as inputs, and no variables."""
    if not graph.nodes:
        raise InputError(f"{graph.source}: the graph has no nodes, expected a frozen graph")
    bodies = (function.node_def for function in graph.rest.library.function)
    variable = next((node for node in chain(graph.nodes.values(), *bodies) if node.op in VARIABLE_OPS), None)
    if variable is not None:
        raise InputError(
            f"{graph.source}: the graph is not frozen: {variable.name!r} is a variable ({variable.op}); "
            "python -m components.export makes a frozen graph of a checkpoint"
        )
    for node in graph.nodes.values():
        for name in node.input:
            if name.removeprefix("^").split(":")[0] not in graph.nodes:
                raise InputError(
                    f"{graph.source}: node {node.name} takes {name!r}, which is missing: the file is cut short"
                )


def _foreign_format(data: Bytes) -> str:
    for offset, magic, what in _FOREIGN_FORMATS:
        if data[offset : offset + len(magic)] == magic:
            return f"it is {what}"
    beginning = bytes(data[:64])
    return "it is a text file" if beginning.isascii() and beginning.decode().replace("\n", " ").isprintable() else ""


class _Outlined:
    """Large `tensor_content`s cut out of serialized nodes; in each one's place stands a token, found after parsing."""

    def __init__(self) -> None:
        self._token = os.urandom(16)  # no file can contain it by accident or on purpose
        self._contents: list[Bytes] = []

    def cut(self, data: Bytes, start: int, end: int) -> bytes:
        """The message in `data[start:end]` with tokens for its large contents."""
        if end - start < _MIN_OUTLINED_BYTES:
            return bytes(data[start:end])
        return b"".join(self._pieces(data, start, end, _CONTENT_PATH))

    def _pieces(self, data: Bytes, start: int, end: int, path: tuple[int, ...]) -> list[Bytes]:
        pieces: list[Bytes] = []
        position = kept = start
        while position < end:
            field = wire.read_field(data, position, end)
            large = field.end - field.payload >= _MIN_OUTLINED_BYTES
            if large and (field.number, field.kind) == (path[0], wire.DELIMITED):
                if len(path) > 1:
                    inner = self._pieces(data, field.payload, field.end, path[1:])
                else:
                    inner = [self._token + len(self._contents).to_bytes(8, "little")]
                    self._contents.append(data[field.payload : field.end])
                pieces += [data[kept:position], *wire.delimited(field.number, inner)]
                kept = field.end
            position = field.end
        return [*pieces, data[kept:end]]

    def find(self, content: bytes) -> Bytes | None:
        """What `content` is the token of, None if it is data."""
        if len(content) != 24 or not content.startswith(self._token):
            return None
        return self._contents[int.from_bytes(content[16:], "little")]


def _add_node(node: Any, outlined: _Outlined, nodes: dict[str, Any], contents: dict[str, Bytes]) -> None:
    if not (node.name and node.op and node.name.isprintable() and node.op.isprintable()):
        raise ValueError("a node without a name or an operation")
    if node.name in nodes:
        raise ValueError(f"two nodes are called {node.name!r}")
    if len(nodes) == _MAX_NODES:
        raise ValueError(f"more than {_MAX_NODES} nodes")
    nodes[node.name] = node
    for key, value in node.attr.items():
        content = outlined.find(value.tensor.tensor_content) if value.WhichOneof("value") == "tensor" else None
        if content is None:
            continue
        if (node.op, key) == ("Const", "value"):
            value.tensor.ClearField("tensor_content")
            contents[node.name] = content
        else:
            value.tensor.tensor_content = bytes(content)


def _serialized(message: Any) -> bytes:
    return message.SerializeToString(deterministic=True)


def _with_content(node: Any, content: Bytes) -> list[Bytes]:
    """The pieces of a serialized Const node, `content` uncopied among them as its value's `tensor_content`."""
    value = AttrValue()
    value.CopyFrom(node.attr["value"])
    tensor = _serialized(value.tensor)
    value.ClearField("tensor")  # unknown fields stay
    other_fields = NodeDef()
    other_fields.CopyFrom(node)
    del other_fields.attr["value"]
    attr, entry_value, value_tensor, tensor_content = _CONTENT_PATH
    pieces = [tensor, *wire.delimited(tensor_content, [content])]
    pieces = [_serialized(value), *wire.delimited(value_tensor, pieces)]
    entry = [*wire.delimited(1, [b"value"]), *wire.delimited(entry_value, pieces)]
    return [_serialized(other_fields), *wire.delimited(attr, entry)]


def _plain(value: Any, where: str) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    content = getattr(value, kind)
    if kind == "list":
        return [_single(field.name, item, where) for field, items in content.ListFields() for item in items]
    return _single(kind, content, where)


def _single(kind: str, content: Any, where: str) -> Any:
    if kind == "type":
        return graph_tensors.dtype_name(content)
    if kind == "shape":
        return None if content.unknown_rank else [dim.size for dim in content.dim]
    if kind == "tensor":
        return graph_tensors.decode(content, None, where)
    return content


def const_node(name: str, value: npt.NDArray[Any] | bytes) -> Any:
    """A Const node that holds `value`."""
    tensor = graph_tensors.encode(value)
    node = NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)
    return node
