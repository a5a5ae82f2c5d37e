"""The converter's command line: report, exit codes, one-line refusals, what it loads."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.export import memmapped as command
from speech.model_files import graphdef, memmapped_file
from speech.model_files.graph_messages import GraphDef
from speech.model_files.graphdef import FrozenGraph

ROOT = Path(command.__file__).parents[2]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A frozen graph with two constants large enough to map, and a small one."""
    constants: dict[str, Any] = {
        "layer_1/weights": np.ones((494, 64), np.float32),
        "layer_2/weights": np.zeros((64, 64), np.float32),
        "metadata_alphabet": b"\x01\x00\x00\x00\x01\x00a",
    }
    nodes = {name: graphdef.const_node(name, value) for name, value in constants.items()}
    path = tmp_path / "output_graph.pb"
    graphdef.save(FrozenGraph(nodes, {}, GraphDef(versions={"producer": 440}), "test graph"), path)
    return path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    return int(stopped.value.code or 0)


def test_conversion_and_the_way_back(graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapped, back = tmp_path / "output_graph.pbmm", tmp_path / "back.pb"
    assert run(f"--in_graph={graph}", f"--out_graph={mapped}") == 0
    assert capsys.readouterr() == (f"Converted 2 nodes\n{mapped}: 142,848 bytes of tensors memory-mapped\n", "")
    assert memmapped_file.MemmappedPackage.open(mapped).mapped() == ["layer_1/weights", "layer_2/weights"]
    assert run("--in_graph", str(mapped), "--out_graph", str(back), "--to_frozen") == 0
    assert capsys.readouterr().out.startswith("Converted 2 nodes\n")
    assert back.read_bytes() == graph.read_bytes()


def test_the_official_flag_of_the_threshold(graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapped = tmp_path / "output_graph.pbmm"
    assert run(f"--in_graph={graph}", f"--out_graph={mapped}", "--min_conversion_tensor_size=20000") == 0
    assert capsys.readouterr().out.startswith("Converted 1 nodes\n")


def test_nothing_to_convert_is_code_3_with_a_warning(
    graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapped = tmp_path / "plain.graph"
    assert run(f"--in_graph={graph}", f"--out_graph={mapped}", "--min_conversion_size_bytes=1000000") == 3
    output = capsys.readouterr()
    assert output.out.startswith("Converted 0 nodes\n")
    assert "warning: no constant of" in output.err
    assert f"warning: clients take {mapped} for a plain graph" in output.err
    assert memmapped_file.MemmappedPackage.open(mapped).mapped() == []


def test_inspect_shows_regions_and_constants(graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapped = tmp_path / "output_graph.pbmm"
    memmapped_file.convert(graph, mapped)
    assert run("--inspect", str(mapped)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{mapped}: memory-mapped, 3 regions, 3 nodes, {mapped.stat().st_size:,} bytes"
    assert lines[1].split() == ["offset", "bytes", "dtype", "shape", "node"]
    rows = [line.split() for line in lines[2:]]
    weights = "layer_1/weights (memmapped_package://layer_1_weights)"
    assert rows[0] == ["0", "126,464", "float32", "[494,", "64]", *weights.split()]
    assert rows[1][:5] == ["126,464", "16,384", "float32", "[64,", "64]"]
    assert (rows[2][0], rows[2][2:]) == ("142,848", ["graph", "memmapped_package://."])
    assert rows[3] == ["in", "graph", "7", "string", "[]", "metadata_alphabet"]
    assert run("--inspect", str(graph)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{graph}: frozen, 3 nodes, {graph.stat().st_size:,} bytes"
    assert [line.split()[-1] for line in lines[2:]] == ["layer_1/weights", "layer_2/weights", "metadata_alphabet"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--in_graph is missing"),
        (["--in_graph=GRAPH"], "--out_graph is missing"),
        (["--in_graph=GRAPH", "--out_graph=GRAPH"], "are the same file"),
        (["--in_graph=missing.pb", "--out_graph=OUT"], "missing.pb: No such file"),
        (["--in_graph=GRAPH", "--out_graph=OUT", "--to_frozen"], "expected a memory-mapped graph"),
        (["--in_graph=GRAPH", "--out_graph=OUT", "--min_conversion_size_bytes=0"], "at least 1"),
        (["--in_graph=GRAPH", "--out_graph=OUT", "--min_conversion_size_bytes=many"], "invalid int value: 'many'"),
        (["--in_graph=GRAPH", "--out_graph=GRAPH/x.pbmm"], "cannot be written"),
        (["--in_graph=GRAPH", "--out_graph=OUT", "--to_frozen", "--min_conversion_size_bytes=9"], "has no meaning"),
        (["--inspect=GRAPH", "--out_graph=OUT"], "leave out --out_graph"),
        (["--in_graf=GRAPH"], "unrecognized arguments: --in_graf"),
        (["--inspect=missing.pbmm"], "missing.pbmm: No such file"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(
    arguments: list[str],
    expected: str,
    graph: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out.pbmm"
    filled = [argument.replace("GRAPH", str(graph)).replace("OUT", str(out)) for argument in arguments]
    assert run(*filled) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("error: ")
    assert expected in output.err
    assert list(tmp_path.iterdir()) == [graph]


_NUMPY_AND_PROTOBUF_ALONE = """
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"numpy", "google", "speech", "components"} | set(sys.stdlib_module_names):
            raise ModuleNotFoundError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
sys.argv[0] = "components.export.memmapped"
try:
    runpy.run_module("components.export.memmapped", run_name="__main__")
finally:
    print(sorted({"numpy", "tensorflow", "google.protobuf"} & set(sys.modules)))
"""


def test_numpy_and_protobuf_are_all_it_needs(graph: Path, tmp_path: Path) -> None:
    """With every other package refused, TensorFlow first; --help does without those two as well."""
    arguments = [f"--in_graph={graph}", f"--out_graph={tmp_path / 'g.pbmm'}"]
    for given, loaded in ((arguments, "['google.protobuf', 'numpy']"), (["--help"], "[]")):
        start = [sys.executable, "-c", _NUMPY_AND_PROTOBUF_ALONE, *given]
        done = subprocess.run(start, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == loaded
    assert memmapped_file.MemmappedPackage.open(tmp_path / "g.pbmm").mapped()
