"""The memory-mapped package against a reader written from the format's description, and TensorFlow's own messages."""

import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from speech.errors import InputError
from speech.model_files import graph_tensors, graphdef, memmapped_file
from speech.model_files.graph_messages import GraphDef, MemmappedFileSystemDirectory
from speech.model_files.graphdef import FrozenGraph
from speech.model_files.memmapped_file import GRAPH_REGION, MEMMAPPED_PREFIX, MemmappedPackage

NUMBERS = np.random.default_rng(11)
VERSIONS = GraphDef.FromString(b"\x22\x03\x08\xb8\x03")  # versions { producer: 440 }


class Element(NamedTuple):
    """A directory entry as a reader of 2020 sees it: without a length."""

    offset: int
    name: str
    length: int


def varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[position] & 127) << shift
        position, shift = position + 1, shift + 7
        if data[position - 1] < 128:
            return value, position


def independent_directory(data: bytes) -> list[Element]:
    """The directory, taken apart byte by byte."""
    (position,) = struct.unpack("<Q", data[-8:])
    elements = []
    while position < len(data) - 8:
        assert data[position] == 0x0A
        length, position = varint(data, position + 1)
        end, fields = position + length, {1: 0, 2: b"", 3: 0}
        while position < end:
            key, position = varint(data, position)
            value: Any
            value, position = varint(data, position)
            if key & 7 == 2:
                value, position = data[position : position + value], position + value
            fields[key >> 3] = value
        elements.append(Element(fields[1], fields[2].decode(), fields[3]))
    return elements


def independent_regions(data: bytes) -> dict[str, bytes]:
    """Regions as TensorFlow 2.3 delimits them: backwards, each up to where the next begins."""
    (end,) = struct.unpack("<Q", data[-8:])
    regions = {}
    for element in reversed(independent_directory(data)):
        assert element.offset < end
        regions[element.name] = data[element.offset : end]
        end = element.offset
    return regions


def frozen(constants: dict[str, Any]) -> FrozenGraph:
    nodes = {name: graphdef.const_node(name, value) for name, value in constants.items()}
    return FrozenGraph(nodes, {}, VERSIONS, "test graph")


def floats(*shape: int) -> np.ndarray:
    return NUMBERS.standard_normal(shape, np.float32)


def every_dtype() -> dict[str, Any]:
    """A large and a small constant of each element type."""
    constants: dict[str, Any] = {}
    for dtype in graph_tensors.BY_NAME.values():
        if dtype.name == "string":
            continue
        for size, count in (("large", 12_000), ("small", 30)):
            raw = NUMBERS.integers(0, 2, (count, dtype.array.itemsize), np.uint8)
            constants[f"{dtype.name}/{size}"] = raw.view(dtype.array)[:, 0].reshape(-1, 6)
    constants["blob"] = b"\x01\x00" * 20_000
    return constants


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A frozen graph with constants of every type."""
    path = tmp_path / "output_graph.pb"
    graphdef.save(frozen(every_dtype()), path)
    return path


@pytest.fixture
def package(source: Path, tmp_path: Path) -> Path:
    path = tmp_path / "output_graph.pbmm"
    memmapped_file.convert(source, path)
    return path


def small_package(folder: Path) -> Path:
    graphdef.save(frozen({"a": floats(60, 50), "b": floats(3), "c": floats(70, 50)}), folder / "small.pb")
    memmapped_file.convert(folder / "small.pb", folder / "small.pbmm")
    return folder / "small.pbmm"


def test_an_independent_reader_finds_every_tensor(source: Path, package: Path) -> None:
    regions = independent_regions(package.read_bytes())
    graph = GraphDef.FromString(regions[GRAPH_REGION])
    plain = graphdef.read(source)
    mapped = {node.name: node for node in graph.node if node.op == "ImmutableConst"}
    assert [node.name for node in graph.node] == list(plain.nodes)
    assert len(regions) == len(mapped) + 1
    for name, node in mapped.items():
        value = plain.constant(name)
        region = regions[node.attr["memory_region_name"].s.decode()]
        assert region[: value.nbytes] == value.tobytes()
        assert not any(region[value.nbytes :])
        assert [dim.size for dim in node.attr["shape"].shape.dim] == list(value.shape)
        assert node.attr["dtype"].type == plain.tensor(name).dtype
        assert set(node.attr) == {"dtype", "shape", "memory_region_name"}


def test_tensorflow_reads_directory_and_graph(package: Path) -> None:
    from tensorflow.core.framework import graph_pb2
    from tensorflow.core.util import memmapped_file_system_pb2

    data = package.read_bytes()
    (offset,) = struct.unpack("<Q", data[-8:])
    directory = memmapped_file_system_pb2.MemmappedFileSystemDirectory.FromString(data[offset:-8])
    regions = MemmappedPackage.open(package).regions
    assert [(e.name, e.offset, e.length) for e in directory.element] == [
        (region.name, region.offset, region.length) for region in regions.values()
    ]
    assert [tuple(element) for element in independent_directory(data)] == [
        (region.offset, region.name, region.length) for region in regions.values()
    ]
    graph_region = regions[GRAPH_REGION]
    graph = graph_pb2.GraphDef.FromString(data[graph_region.offset : graph_region.offset + graph_region.length])
    assert graph.versions.producer == 440


def test_what_is_mapped_and_what_stays(package: Path) -> None:
    opened = MemmappedPackage.open(package)
    numeric = [name for name, dtype in graph_tensors.BY_NAME.items() if dtype.array.kind != "O" and name[0] != "q"]
    assert opened.mapped() == [f"{name}/large" for name in numeric]
    assert {"blob", "qint8/large", "quint16/large", "bool/small"} <= set(opened.graph.constants())
    assert all(opened.region_of(name).offset % 64 == 0 for name in opened.mapped())
    assert list(opened.regions)[-1] == GRAPH_REGION


def test_there_and_back_every_constant_is_identical(source: Path, package: Path, tmp_path: Path) -> None:
    conversion = memmapped_file.to_frozen(package, tmp_path / "back.pb")
    assert conversion.warnings == []
    assert conversion.nodes == len(MemmappedPackage.open(package).mapped())
    assert (tmp_path / "back.pb").read_bytes() == source.read_bytes()
    for path in (source, package, tmp_path / "back.pb"):
        graph = memmapped_file.open_graph(path)
        for name, value in every_dtype_of(source).items():
            found = graph.constant(name)
            assert (found.dtype, found.shape) == (value.dtype, value.shape)
            np.testing.assert_array_equal(found, value)


def every_dtype_of(source: Path) -> dict[str, Any]:
    graph = graphdef.read(source)
    return {name: graph.constant(name) for name in graph.constants()}


def test_the_threshold_counts_bytes(tmp_path: Path) -> None:
    constants = {"at": floats(2500), "below": floats(2499), "bools": np.ones(10_000, bool), "few": np.ones(9_999, bool)}
    graphdef.save(frozen(constants), tmp_path / "g.pb")
    memmapped_file.convert(tmp_path / "g.pb", tmp_path / "g.pbmm")
    assert MemmappedPackage.open(tmp_path / "g.pbmm").mapped() == ["at", "bools"]
    memmapped_file.convert(tmp_path / "g.pb", tmp_path / "g.pbmm", 9_996)
    assert MemmappedPackage.open(tmp_path / "g.pbmm").mapped() == ["at", "below", "bools", "few"]


def test_the_constant_that_clients_read_from_its_node_stays(tmp_path: Path) -> None:
    graphdef.save(frozen({"logits_shape": np.array([16, 1, 29], np.int32), "w": floats(2)}), tmp_path / "g.pb")
    memmapped_file.convert(tmp_path / "g.pb", tmp_path / "g.pbmm", 1)
    assert MemmappedPackage.open(tmp_path / "g.pbmm").mapped() == ["w"]


def test_region_names_are_the_official_ones(tmp_path: Path) -> None:
    names = ["layer_1/weights", "layer_1_weights", "layer-1/weights", "cell.0/kernel", "."]
    graphdef.save(frozen({name: floats(2500) for name in names}), tmp_path / "g.pb")
    memmapped_file.convert(tmp_path / "g.pb", tmp_path / "g.pbmm")
    package = MemmappedPackage.open(tmp_path / "g.pbmm")
    found = [package.region_of(name).name.removeprefix(MEMMAPPED_PREFIX) for name in names]
    assert found == ["layer_1_weights", "layer_1_weights_", "layer_1_weights__", "cell.0_kernel", "._"]


def test_constants_in_value_lists_are_mapped_too(tmp_path: Path) -> None:
    graph = frozen({"one": floats(0), "some": floats(0), "all": floats(0), "halves": floats(0), "zeros": floats(0)})
    fields: dict[str, tuple[int, dict[str, Any]]] = {
        "one": (1, {"float_val": [2.5]}),
        "some": (3, {"int_val": [1, 2, 3]}),
        "all": (9, {"int64_val": range(6000)}),
        "halves": (19, {"half_val": [0x3C00, 0x4000]}),
        "zeros": (2, {}),
    }
    for name, (dtype, lists) in fields.items():
        node = graph.nodes[name]
        node.attr["dtype"].type = dtype
        tensor = node.attr["value"].tensor
        tensor.Clear()
        tensor.dtype = dtype
        tensor.tensor_shape.dim.add(size=6000)
        for key, values in lists.items():
            getattr(tensor, key).extend(values)
    graphdef.save(graph, tmp_path / "g.pb")
    assert memmapped_file.convert(tmp_path / "g.pb", tmp_path / "g.pbmm").nodes == 5
    regions = independent_regions((tmp_path / "g.pbmm").read_bytes())
    expected = {
        "one": np.full(6000, 2.5, np.float32),
        "some": np.array([1, 2] + [3] * 5998, np.int32),
        "all": np.arange(6000),
        "halves": np.array([1] + [2] * 5999, np.float16),
        "zeros": np.zeros(6000),
    }
    for name, value in expected.items():
        assert regions[MEMMAPPED_PREFIX + name][: value.nbytes] == value.tobytes()


def test_one_value_for_many_chunks_is_written_whole(tmp_path: Path) -> None:
    graph = frozen({"one": np.float32([2.5])})
    graph.nodes["one"].attr["value"].tensor.tensor_shape.dim[0].size = 2_500_000
    tensor = graph.nodes["one"].attr["value"].tensor
    tensor.ClearField("tensor_content")
    tensor.float_val.append(2.5)
    graphdef.save(graph, tmp_path / "g.pb")
    memmapped_file.convert(tmp_path / "g.pb", tmp_path / "g.pbmm")
    value = MemmappedPackage.open(tmp_path / "g.pbmm").constant("one")
    assert value.shape == (2_500_000,)
    assert (value == 2.5).all()


def test_packages_without_lengths_are_read(tmp_path: Path) -> None:
    """As TensorFlow wrote them until 2.5: DeepSpeech's released .pbmm files are of that kind."""
    path = small_package(tmp_path)
    old = rewritten(path, lambda directory: [element.ClearField("length") for element in directory.element])
    (tmp_path / "old.pbmm").write_bytes(old)
    for name in ("a", "b", "c"):
        expected = MemmappedPackage.open(path).constant(name)
        np.testing.assert_array_equal(memmapped_file.open_graph(tmp_path / "old.pbmm").constant(name), expected)


def test_regions_are_views_of_the_file(package: Path) -> None:
    opened = MemmappedPackage.open(package)
    assert np.shares_memory(opened.constant("float32/large"), opened.frozen().constant("float32/large"))
    assert not opened.constant("float32/large").flags.writeable


def rewritten(path: Path, change: Callable[[Any], Any]) -> bytes:
    """The package with a changed directory."""
    data = path.read_bytes()
    (offset,) = struct.unpack("<Q", data[-8:])
    directory = MemmappedFileSystemDirectory.FromString(data[offset:-8])
    change(directory)
    return data[:offset] + directory.SerializeToString() + data[-8:]


def set_field(index: int, **fields: Any) -> Callable[[Any], Any]:
    return lambda directory: [setattr(directory.element[index], key, value) for key, value in fields.items()]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda directory: directory.Clear(), "its directory is empty"),
        (set_field(0, name="a"), "begins with memmapped_package://"),
        (set_field(0, name=f"{MEMMAPPED_PREFIX}other"), "wants the region 'memmapped_package://a', which is not"),
        (set_field(2, name=f"{MEMMAPPED_PREFIX}graph"), "no region memmapped_package://., which holds the graph"),
        (set_field(1, name=f"{MEMMAPPED_PREFIX}a"), "listed twice"),
        (set_field(0, length=2**60), "reach behind"),
        (set_field(0, offset=2**60), "reach behind"),
        (set_field(0, offset=16, length=0), "begins at byte 16, expected a multiple of 64"),
        (set_field(0, length=11_999), "takes 12000 bytes, its region has 11999"),
        (set_field(2, length=20), "the graph inside"),
        (lambda directory: directory.element.reverse(), "reach behind"),
    ],
)
def test_a_package_that_clients_would_mishear_is_refused(
    change: Callable[[Any], Any], expected: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pbmm"
    broken.write_bytes(rewritten(small_package(tmp_path), change))
    with pytest.raises(InputError, match=expected) as caught:
        MemmappedPackage.open(broken)
    assert str(broken) in str(caught.value)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda data: b"", "the file is empty"),
        (lambda data: data[:-1], "last 8 bytes|no valid directory|a directory of"),
        (lambda data: data[:-8] + struct.pack("<Q", 2**60), "point outside of the file"),
        (lambda data: bytes(4), "point outside of the file"),
        (lambda data: data[:-8] + b"\xff" * 30 + data[-8:], "no valid directory"),
        (lambda data: bytes(2**24 + 100), "a directory of 16,777,308 bytes"),
    ],
)
def test_no_package_is_refused(make: Callable[[bytes], bytes], expected: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pbmm"
    broken.write_bytes(make(small_package(tmp_path).read_bytes()))
    with pytest.raises(InputError, match=expected):
        MemmappedPackage.open(broken)


def unfrozen(graph: FrozenGraph) -> None:
    graph.nodes["v"] = type(graph.nodes["w"])(name="v", op="VariableV2")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (unfrozen, "not frozen: 'v' is a variable"),
        (lambda graph: graph.nodes.clear(), "no nodes"),
        (lambda graph: graph.node("w").attr["value"].tensor.tensor_shape.dim.add(size=2), "the file is damaged"),
        (lambda graph: graph.node("w").attr.clear(), "expected a Const node with a value"),
    ],
)
def test_what_cannot_be_converted_leaves_no_file(
    change: Callable[[FrozenGraph], Any], expected: str, tmp_path: Path
) -> None:
    graph = frozen({"w": floats(60, 50)})
    change(graph)
    graphdef.save(graph, tmp_path / "in.pb")
    with pytest.raises(InputError, match=expected):
        memmapped_file.convert(tmp_path / "in.pb", tmp_path / "out" / "out.pbmm")
    assert list(tmp_path.glob("out/*")) == []


def test_wrong_way_round_is_refused(source: Path, package: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="memory-mapped already"):
        memmapped_file.convert(package, tmp_path / "again.pbmm")
    with pytest.raises(InputError, match="memory-mapped graph"):
        graphdef.read(package)
    with pytest.raises(InputError, match="expected a memory-mapped graph"):
        memmapped_file.to_frozen(source, tmp_path / "again.pb")
    with pytest.raises(InputError, match="the same file"):
        memmapped_file.convert(source, source)
    with pytest.raises(InputError, match="--min_conversion_size_bytes 0 is not allowed"):
        memmapped_file.convert(source, tmp_path / "again.pbmm", 0)
    assert {path.name for path in tmp_path.iterdir()} == {source.name, package.name}


def test_warnings(tmp_path: Path) -> None:
    graph = frozen({"w": floats(3)})
    graph.rest = GraphDef()
    graphdef.save(graph, tmp_path / "g.pb")
    conversion = memmapped_file.convert(tmp_path / "g.pb", tmp_path / "out.graph")
    assert conversion.nodes == 0
    nothing, extension, versions = conversion.warnings
    assert "nothing is mapped" in nothing
    assert "lacks .pbmm" in extension
    assert "no version record" in versions
    np.testing.assert_array_equal(MemmappedPackage.open(tmp_path / "out.graph").constant("w"), graph.constant("w"))


def test_damage_gives_an_error_or_a_package_of_the_same_form(tmp_path: Path) -> None:
    """Random cuts, flips, insertions, lengths near the structure: InputError, or every tensor can be read."""
    path = small_package(tmp_path)
    data = path.read_bytes()
    begin = MemmappedPackage.open(path).regions[GRAPH_REGION].offset
    intact = memmapped_file.open_graph(path)
    numbers = random.Random(13)
    messages = []
    for case in range(500):
        file = tmp_path / f"{case}.pbmm"
        file.write_bytes(damaged(data, begin, numbers))
        try:
            opened = MemmappedPackage.open(file).frozen()
            for name in opened.constants():
                value = opened.constant(name)
                if name in intact.nodes and value.shape == (60, 50):
                    np.testing.assert_array_equal(value, intact.constant(name))
        except InputError as error:
            messages.append(str(error))
        file.unlink()
    assert 100 < len(messages) < 500
    assert not any("\n" in message for message in messages)


def damaged(data: bytes, begin: int, numbers: random.Random) -> bytes:
    """`data` with one kind of damage at or behind `begin`, where the structure is."""
    place = numbers.randrange(begin, len(data))
    kind = numbers.randrange(5)
    if kind == 0:
        return data[: numbers.randrange(1, len(data))]
    if kind == 1:
        return data[:place] + bytes([data[place] ^ 1 << numbers.randrange(8)]) + data[place + 1 :]
    if kind == 2:
        return data[:place] + numbers.randbytes(numbers.randrange(1, 9)) + data[place:]
    if kind == 3:
        return data[:place] + data[place + numbers.randrange(1, 40) :]
    return data[:-8] + struct.pack("<Q", numbers.choice([0, 63, begin, len(data), 2**63, numbers.randrange(2**64)]))


_LIMITED = """
import resource, sys
from speech.model_files import memmapped_file
from speech.errors import InputError
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
for path in sys.argv[1:]:
    try:
        graph = memmapped_file.open_graph(path)
        values = [graph.constant(name) for name in graph.constants()]
        print(len(values))
    except InputError:
        print("refused")
"""


def test_lengths_in_a_file_allocate_nothing(tmp_path: Path) -> None:
    """Hostile sizes, read in a process that has 1 GiB: none of them may reserve what it claims."""
    huge = frozen({"w": floats(1)})
    tensor = huge.nodes["w"].attr["value"].tensor
    tensor.Clear()
    tensor.dtype = 1
    tensor.float_val.append(1.0)
    tensor.tensor_shape.dim.add(size=2**60)
    graphdef.save(huge, tmp_path / "a.pb")
    tensor.tensor_shape.dim[0].size = 2**29 - 1  # 2 GiB from one value: allowed, and a view
    graphdef.save(huge, tmp_path / "b.pb")
    small = small_package(tmp_path)
    (tmp_path / "c.pbmm").write_bytes(rewritten(small, set_field(0, length=2**60)))
    (tmp_path / "d.pbmm").write_bytes(small.read_bytes()[:-8] + struct.pack("<Q", 2**63))
    (tmp_path / "e.pb").write_bytes(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(50))
    paths = [str(tmp_path / name) for name in ("a.pb", "b.pb", "c.pbmm", "d.pbmm", "e.pb")]
    command = [sys.executable, "-c", _LIMITED, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["refused", "1", "refused", "refused", "refused"]


_PEAK = """
import resource, sys
from speech.model_files import memmapped_file
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
memmapped_file.convert(sys.argv[1], sys.argv[2])
print(peak() - before)
memmapped_file.to_frozen(sys.argv[2], sys.argv[3])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kilobytes on Linux only")
def test_converting_streams(tmp_path: Path) -> None:
    """Memory grows by the mapped input, which the system may drop, and not by copies of it."""
    graphdef.save(frozen({"w": floats(4096, 2048), "v": floats(512, 512)}), tmp_path / "g.pb")
    files = [str(tmp_path / name) for name in ("g.pb", "g.pbmm", "back.pb")]
    done = subprocess.run([sys.executable, "-c", _PEAK, *files], capture_output=True, text=True, check=True)
    assert (tmp_path / "back.pb").read_bytes() == (tmp_path / "g.pb").read_bytes()
    size = (tmp_path / "g.pb").stat().st_size
    there, both = map(int, done.stdout.split())
    assert there < 1.3 * size
    assert both < 2.3 * size  # the first input may stay resident while the second one is read
