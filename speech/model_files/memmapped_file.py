"""The memory-mapped graph (`.pbmm`) of DeepSpeech's and Coqui STT's native clients: read, write, and back to plain.

A package is a file of regions, in order: large tensors, each aligned to 64 bytes; the GraphDef; then, outside of any
region, a directory (where each region begins, its name and length) and the directory's offset as a little-endian u64.
The graph's large Const nodes are ImmutableConst nodes that name their region, so a client maps its weights instead of
reading them. Format: tensorflow/core/util/memmapped_file_system{,_writer}.cc, and for which constants are mapped and
what their regions are called tensorflow/contrib/util/convert_graphdef_memmapped_format_lib.cc of TensorFlow 1.x.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from speech.errors import InputError
from speech.model_files import graph_tensors, graphdef
from speech.model_files.graph_messages import MemmappedFileSystemDirectory, NodeDef
from speech.model_files.graphdef import MEMMAPPED_PREFIX, FrozenGraph
from speech.storage.files import atomic_path
from speech.wire import Bytes

ALIGNMENT_BYTES = 64
MIN_CONVERSION_SIZE_BYTES = 10_000
GRAPH_REGION = f"{MEMMAPPED_PREFIX}."
CLIENT_MARK = ".pbmm"  # clients take a file for memory-mapped if its path contains this

_UNMAPPED = {"logits_shape"}  # native clients read this one from its Const node, and abort where it has no value
_FOOTER_BYTES = 8
_MAX_DIRECTORY_BYTES = 2**24  # a hundred thousand regions
_CHUNK_ELEMENTS = 2**20


@dataclass(frozen=True)
class Region:
    """Where one region of a package lies in its file."""

    name: str
    offset: int
    length: int


@dataclass
class ConversionReport:
    """What a conversion did: nodes converted, bytes of their tensors, and what the user should look at."""

    nodes: int = 0
    tensor_bytes: int = 0
    warnings: list[str] = field(default_factory=list)


class MemmappedPackage:
    """An opened memory-mapped graph; its arrays lie over the file, which must stay as it is while they are in use."""

    def __init__(self, data: memoryview, regions: dict[str, Region], graph: FrozenGraph) -> None:
        self._data = data
        self.regions = regions
        self.graph = graph

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "MemmappedPackage":
        """Map `path` and check that clients can use it. Raises InputError if they cannot."""
        data = graphdef.map_file(path)
        regions = _read_directory(data, str(path))
        graph_region = regions.get(GRAPH_REGION)
        if graph_region is None:
            raise InputError(f"{path}: no region {GRAPH_REGION}, which holds the graph, among {len(regions)} regions")
        begin = graph_region.offset
        graph = graphdef.parse(data[begin : begin + graph_region.length], f"{path}: the graph inside")
        graphdef.check_frozen(graph)
        package = cls(data, regions, graph)
        for name in package.mapped():
            package.constant(name)
        return package

    def mapped(self) -> list[str]:
        """The names of the nodes whose tensors are regions, in the graph's order."""
        return [name for name, node in self.graph.nodes.items() if node.op == "ImmutableConst"]

    def region_of(self, name: str) -> Region:
        """The region of the mapped node `name`."""
        region_name = self.graph.attribute(name, "memory_region_name")
        text = region_name.decode("utf-8", "replace") if isinstance(region_name, bytes) else str(region_name)
        if text not in self.regions:
            raise InputError(f"{self.graph.source}: node {name} wants the region {text!r}, which is not in the package")
        return self.regions[text]

    def constant(self, name: str) -> npt.NDArray[Any]:
        """The value of a constant, mapped or not: a read-only array."""
        if self.graph.node(name).op != "ImmutableConst":
            return self.graph.constant(name)
        dtype, shape, content = self._mapped_tensor(name)
        return graph_tensors.from_bytes(content, dtype, shape, f"{self.graph.source}: constant {name}")

    def _mapped_tensor(self, name: str) -> tuple[graph_tensors.Dtype, tuple[int, ...], Bytes]:
        where = f"{self.graph.source}: constant {name}"
        dtype_name = self.graph.attribute(name, "dtype")
        dtype = graph_tensors.BY_NAME.get(dtype_name) if isinstance(dtype_name, str) else None
        if dtype is None or dtype.array.kind == "O":
            raise InputError(f"{where}: {dtype_name} cannot be mapped, expected numbers: the file is damaged")
        self.graph.attribute(name, "shape")
        shape = graph_tensors.shape_of(self.graph.node(name).attr["shape"].shape, where)
        region = self.region_of(name)
        length = math.prod(shape) * dtype.array.itemsize
        if region.offset % ALIGNMENT_BYTES:
            raise InputError(
                f"{where}: its region begins at byte {region.offset}, expected a multiple of {ALIGNMENT_BYTES}: "
                "native clients load such a file and then hear nothing; convert the plain graph again"
            )
        # Packages of TensorFlow before 2.6 give no lengths, and theirs include the padding behind the tensor.
        if not length <= region.length < length + ALIGNMENT_BYTES:
            raise InputError(
                f"{where}: {dtype.name} {list(shape)} takes {length} bytes, its region has {region.length}: damaged"
            )
        return dtype, shape, self._data[region.offset : region.offset + length]

    def frozen(self) -> FrozenGraph:
        """The plain frozen graph: every mapped node a Const again, its bytes still in this file."""
        nodes, contents = dict(self.graph.nodes), dict(self.graph.contents)
        for name in self.mapped():
            dtype, shape, contents[name] = self._mapped_tensor(name)
            node = NodeDef()
            node.CopyFrom(nodes[name])
            node.op = "Const"
            del node.attr["shape"], node.attr["memory_region_name"]
            tensor = node.attr["value"].tensor
            tensor.dtype = dtype.number
            tensor.tensor_shape.CopyFrom(graph_tensors.shape_proto(shape))
            nodes[name] = node
        return FrozenGraph(nodes, contents, self.graph.rest, self.graph.source)


def open_graph(path: str | os.PathLike[str]) -> FrozenGraph:
    """The frozen graph in `path`, plain (.pb) or memory-mapped (.pbmm): what it is, its last bytes tell."""
    if graphdef.is_memmapped(graphdef.map_file(path)):
        return MemmappedPackage.open(path).frozen()
    return graphdef.read(path)


def convert(
    in_graph: str | os.PathLike[str],
    out_graph: str | os.PathLike[str],
    min_conversion_size_bytes: int = MIN_CONVERSION_SIZE_BYTES,
) -> ConversionReport:
    """Make the memory-mapped graph `out_graph` of the frozen graph file `in_graph`.

    Maps constants of at least `min_conversion_size_bytes`, numbers and bools, however the graph holds them. Streams:
    memory is that of the mapped input. Raises InputError for anything but a frozen graph; then nothing is written.
    """
    if min_conversion_size_bytes < 1:
        raise InputError(f"--min_conversion_size_bytes {min_conversion_size_bytes} is not allowed: at least 1")
    _refuse_same_file(in_graph, out_graph)
    if graphdef.is_memmapped(graphdef.map_file(in_graph)):
        raise InputError(f"{in_graph}: it is memory-mapped already, expected a plain frozen graph (.pb)")
    graph = graphdef.read(in_graph)
    with atomic_path(out_graph) as temporary:
        with temporary.open("wb") as file:
            conversion = _Writer(file).write(graph, min_conversion_size_bytes)
        MemmappedPackage.open(temporary)  # what clients would refuse or mishear must not get its name
    _warn(conversion, graph, out_graph, min_conversion_size_bytes)
    return conversion


def to_frozen(in_graph: str | os.PathLike[str], out_graph: str | os.PathLike[str]) -> ConversionReport:
    """Make the plain frozen graph `out_graph` of the memory-mapped graph `in_graph`: every bit as it was."""
    _refuse_same_file(in_graph, out_graph)
    package = MemmappedPackage.open(in_graph)
    graph = package.frozen()
    graphdef.save(graph, out_graph)
    conversion = ConversionReport(nodes=len(package.mapped()))
    conversion.tensor_bytes = sum(len(graph.contents[name]) for name in package.mapped())
    if conversion.nodes == 0:
        conversion.warnings.append(f"{in_graph} has no mapped constants")
    if CLIENT_MARK in str(out_graph):
        conversion.warnings.append(f"clients take {out_graph} for memory-mapped, for the {CLIENT_MARK} in its path")
    return conversion


def _refuse_same_file(in_graph: str | os.PathLike[str], out_graph: str | os.PathLike[str]) -> None:
    if Path(out_graph).exists() and Path(in_graph).exists() and Path(in_graph).samefile(out_graph):
        raise InputError(f"{out_graph}: input and output are the same file: give the output another name")
    if Path(out_graph).is_dir():
        raise InputError(f"{out_graph}: it is a folder, expected a file name to write to")


def _warn(conversion: ConversionReport, graph: FrozenGraph, out_graph: str | os.PathLike[str], minimum: int) -> None:
    if conversion.nodes == 0:
        conversion.warnings.append(f"no constant of {graph.source} has {minimum:,} bytes or more: nothing is mapped")
    if CLIENT_MARK not in str(out_graph):
        conversion.warnings.append(
            f"clients take {out_graph} for a plain graph and fail to load it: its path lacks {CLIENT_MARK}"
        )
    if not graph.rest.HasField("versions"):
        conversion.warnings.append(f"{graph.source} has no version record at its end: it may be cut short")


class _Writer:
    """Writes one package to `file` from its beginning on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._directory = MemmappedFileSystemDirectory()
        self._names = {GRAPH_REGION.removeprefix(MEMMAPPED_PREFIX)}

    def write(self, graph: FrozenGraph, min_conversion_size_bytes: int) -> ConversionReport:
        conversion = ConversionReport()
        nodes, contents = dict(graph.nodes), dict(graph.contents)
        for name in graph.constants():
            dtype = graph_tensors.dtype_of(graph.tensor(name).dtype)
            if dtype is None or not dtype.mappable or name in _UNMAPPED:
                continue
            array = graph.constant(name)
            if array.nbytes >= min_conversion_size_bytes:
                nodes[name] = _mapped_node(graph.nodes[name], array.shape, self._add_tensor(name, array))
                contents.pop(name, None)
                conversion.nodes += 1
                conversion.tensor_bytes += array.nbytes
        begin = self._file.tell()
        FrozenGraph(nodes, contents, graph.rest, graph.source).write(self._file)
        self._list(GRAPH_REGION, begin)
        offset = self._file.tell()
        self._file.write(self._directory.SerializeToString())
        self._file.write(offset.to_bytes(_FOOTER_BYTES, "little"))
        return conversion

    def _add_tensor(self, node_name: str, array: npt.NDArray[Any]) -> str:
        """Append a tensor; returns the name of its region."""
        self._file.write(bytes(-self._file.tell() % ALIGNMENT_BYTES))
        begin = self._file.tell()
        for chunk in _chunks(array):
            self._file.write(chunk)
        region_name = MEMMAPPED_PREFIX + self._unique(re.sub("[^A-Za-z0-9_.]", "_", node_name))
        self._list(region_name, begin)
        return region_name

    def _unique(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def _list(self, region_name: str, begin: int) -> None:
        self._directory.element.add(offset=begin, name=region_name, length=self._file.tell() - begin)


def _chunks(array: npt.NDArray[Any]) -> Iterator[memoryview]:
    """The bytes of a tensor; one value that stands for all is not expanded in memory."""
    if array.flags.c_contiguous:
        yield array.reshape(-1).view(np.uint8).data
        return
    repeated = np.full(min(array.size, _CHUNK_ELEMENTS), array[(0,) * array.ndim])
    for begin in range(0, array.size, _CHUNK_ELEMENTS):
        yield repeated[: array.size - begin].view(np.uint8).data


def _mapped_node(node: Any, shape: tuple[int, ...], region_name: str) -> Any:
    """The ImmutableConst for a Const: other attrs go, as it understands only these three."""
    mapped = NodeDef()
    mapped.CopyFrom(node)
    mapped.ClearField("attr")
    mapped.op = "ImmutableConst"
    mapped.attr["dtype"].type = node.attr["value"].tensor.dtype
    mapped.attr["shape"].shape.CopyFrom(graph_tensors.shape_proto(shape))
    mapped.attr["memory_region_name"].s = region_name.encode()
    return mapped


def _read_directory(data: memoryview, path: str) -> dict[str, Region]:
    """The regions by name, in the file's order, as it must be: to older readers one ends where the next begins."""
    directory_offset = int.from_bytes(data[-_FOOTER_BYTES:], "little")
    end = len(data) - _FOOTER_BYTES
    expected = "expected a memory-mapped graph (.pbmm): the file is damaged, cut short or a plain graph"
    if end <= 0 or directory_offset > end:
        raise InputError(f"{path}: its last 8 bytes point outside of the file; {expected}")
    if end - directory_offset > _MAX_DIRECTORY_BYTES:
        raise InputError(f"{path}: a directory of {end - directory_offset:,} bytes; {expected}")
    try:
        elements = MemmappedFileSystemDirectory.FromString(bytes(data[directory_offset:end])).element
    except (DecodeError, ValueError) as error:  # ValueError: protobuf without its C library, on bad UTF-8
        raise InputError(f"{path}: no valid directory at byte {directory_offset} ({error}); {expected}") from error
    if not elements:
        raise InputError(f"{path}: its directory is empty; {expected}")
    regions: dict[str, Region] = {}
    ends = [*(element.offset for element in elements[1:]), directory_offset]
    for element, limit in zip(elements, ends, strict=True):
        regions[element.name] = _checked_region(element, limit, path, regions)
    return regions


def _checked_region(element: Any, limit: int, path: str, earlier: dict[str, Region]) -> Region:
    name = f"{path}: region {element.name!r}"
    if not element.name.startswith(MEMMAPPED_PREFIX):
        raise InputError(f"{name}: expected a name that begins with {MEMMAPPED_PREFIX}, or clients do not find it")
    if element.name in earlier:
        raise InputError(f"{name} is listed twice: the file is damaged")
    length = element.length or max(0, limit - element.offset)
    if element.offset >= limit or element.offset + length > limit:
        raise InputError(f"{name}: bytes {element.offset} to {element.offset + length} reach behind {limit}: damaged")
    return Region(element.name, element.offset, length)
