"""How fast and how exact the OpenVINO IRs are, beside what else runs the same frozen graph.

    python benchmarks/openvino.py [--n_hidden 2048 | --model build/demo/model] [--repeats 30] [--threads 0]

Takes an exported model, or random weights of DeepSpeech's release size, and converts it by every way there is: this
project's step, `openvino.convert_model`, `mo` of OpenVINO 2023.3 and 2024.6, the ONNX export. Every candidate runs in a
process of its own, in the environment of its version (tests/peers makes them); they take turns, so that what else the
machine does hits all alike. A chunk is 16 frames (0.32 s); ten seconds go at once where a model takes any number of
frames, else in chunks. Times are wall-clock medians, with the quickest run in brackets; the processor's time, which a
busy machine disturbs less, is its median over all threads. Differences are those of the probabilities to TensorFlow's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]  # this file is called like the package
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

from components.convert_openvino import step  # noqa: E402
from components.convert_openvino.settings import OpenVinoSettings  # noqa: E402
from speech import model_files  # noqa: E402
from speech.alphabet import Alphabet  # noqa: E402
from speech.clips.audio import ClipReader  # noqa: E402
from speech.clips.manifest import read_manifest  # noqa: E402
from speech.features.mfcc import mfcc  # noqa: E402
from speech.features.streaming import context_windows  # noqa: E402
from speech.geometry import Geometry  # noqa: E402
from speech.model_files.variables import initial_weights  # noqa: E402
from speech.storage.files import write_bytes  # noqa: E402
from tests.peers import environments  # noqa: E402

WORKER = Path(__file__).with_name("openvino_worker.py")
CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
CHUNK_FRAMES, LONG_FRAMES, FRAME_S = 16, 500, 0.02
TASKS = ("chunk", "long")


@dataclass
class Candidate:
    """A model in a runtime, and what was measured of it."""

    name: str
    runtime: str
    python: str
    model: Path
    precision: str = ""  # that the runtime computes in; empty: its own choice
    files: tuple[str, ...] = ()
    seconds: dict[str, list[list[float]]] = field(default_factory=lambda: {task: [] for task in TASKS})
    results: dict[str, np.ndarray] = field(default_factory=dict)
    load_s: float = 0.0

    def megabytes(self) -> float:
        """Size on disk, the weights beside an IR included."""
        paths = [self.model, *([self.model.with_suffix(".bin")] if self.model.suffix == ".xml" else [])]
        return sum(path.stat().st_size for path in paths) / 1e6


def random_model(folder: Path, n_hidden: int) -> Path:
    """A frozen graph with weights as training begins with, the output layer enlarged so that labels differ."""
    from speech.nn.graph import Metadata, streaming_graph

    alphabet = Alphabet(tuple(" abcdefghijklmnopqrstuvwxyz'"))
    geometry = Geometry(n_hidden=n_hidden, n_labels=len(alphabet))
    weights = initial_weights(geometry, 1)
    weights["layer_6/weights"] *= 8
    graph = streaming_graph(weights, geometry, alphabet, CHUNK_FRAMES, Metadata())
    write_bytes(folder / "output_graph.pb", graph.SerializeToString())
    return folder / "output_graph.pb"


def write_inputs(path: Path, geometry: Geometry, csv: str) -> None:
    """Windows of ten seconds: clips of a CSV one behind the other, else noise that swells and fades."""
    needed = geometry.window_samples + (LONG_FRAMES - 1) * geometry.step_samples
    if csv:
        manifest = read_manifest(csv)
        reader = ClipReader(manifest, geometry.audio_sample_rate)
        samples = np.concatenate([reader.samples(clip) for clip in manifest])
        samples = np.resize(samples, needed)
    else:
        noise = np.random.default_rng(1).normal(0, 3000, needed)
        samples = (noise * (1 + np.sin(np.arange(needed) / 2000)) / 2).astype(np.int16)
    windows = context_windows(mfcc(samples, geometry), geometry)[np.newaxis].astype(np.float32)
    zeros = np.zeros((1, geometry.n_hidden), np.float32)
    np.savez(path, chunk=windows[:, :CHUNK_FRAMES], long=windows, c=zeros, h=zeros)


def candidates(graph: Path, folder: Path, only: str) -> Iterator[Candidate]:
    """Everything that runs the graph, converted first."""
    yield Candidate("TensorFlow, f32", "tensorflow", sys.executable, graph)
    yield from ours(graph, folder)
    if only == "ours":
        return
    theirs = convert_model(graph, folder / "convert_model")
    yield Candidate("convert_model, f32", "openvino", sys.executable, theirs, "f32")
    yield Candidate("convert_model", "openvino", sys.executable, theirs)
    for year in ("2023", "2024"):
        try:
            optimizer = environments.find(f"mo-{year}")
        except environments.PeerUnavailable as reason:
            print(f"note: no mo {year}: {reason}", file=sys.stderr)
            continue
        ir = model_optimizer(optimizer, graph, folder / f"mo-{year}")
        yield Candidate(f"mo {year}, f32", "openvino", str(optimizer.python), ir, "f32")
        yield Candidate(f"mo {year}", "openvino", str(optimizer.python), ir)
    try:
        onnx = environments.find("onnxruntime")
        yield Candidate("onnxruntime, f32", "onnxruntime", str(onnx.python), export_onnx(graph, folder / "model.onnx"))
    except environments.PeerUnavailable as reason:
        print(f"note: no onnxruntime: {reason}", file=sys.stderr)


def ours(graph: Path, folder: Path) -> Iterator[Candidate]:
    """The step's IRs."""
    irs = {
        (precision, n_steps): step.run(
            OpenVinoSettings(precision=precision, n_steps=n_steps), str(graph), folder / f"{precision}-{n_steps}"
        ).xml
        for precision, n_steps in (("f32", 0), ("f16", 0), ("f16", 16), ("int8", 0), ("int8", 16))
    }
    yield Candidate("ours f32, f32", "openvino", sys.executable, irs["f32", 0], "f32")
    yield Candidate("ours f16, f32", "openvino", sys.executable, irs["f16", 0], "f32")
    yield Candidate("ours f16", "openvino", sys.executable, irs["f16", 0])
    yield Candidate("ours f16, 16 frames fixed", "openvino", sys.executable, irs["f16", 16])
    yield Candidate("ours int8, f32", "openvino", sys.executable, irs["int8", 0], "f32")
    yield Candidate("ours int8", "openvino", sys.executable, irs["int8", 0])
    yield Candidate("ours int8, 16 frames fixed", "openvino", sys.executable, irs["int8", 16])


def convert_model(graph: Path, folder: Path) -> Path:
    """What OpenVINO's current converter makes of the graph."""
    import openvino as ov

    hidden = model_files.open(graph).geometry.n_hidden
    network = ov.convert_model(
        graph,
        input=[
            ("input_node:0", [1, CHUNK_FRAMES, 19, 26]),
            ("previous_state_c:0", [1, hidden]),
            ("previous_state_h:0", [1, hidden]),
            ("input_lengths:0", [1]),
        ],
        output=["logits:0", "new_state_c:0", "new_state_h:0"],
    )
    folder.mkdir()
    ov.save_model(network, folder / "output_graph.xml")
    return folder / "output_graph.xml"


def model_optimizer(peer: environments.Peer, graph: Path, folder: Path) -> Path:
    """What `mo` makes of the graph, by the guide's command."""
    hidden = model_files.open(graph).geometry.n_hidden
    states = ",".join(f"previous_state_{part}[1,{hidden}]" for part in "hc")
    inputs = f"input_lengths->[{CHUNK_FRAMES}],input_node[1,{CHUNK_FRAMES},19,26],{states}"
    outputs = f"{CELL}/GatherNd_1,{CELL}/GatherNd,logits"
    peer.run("mo", "--input_model", graph, "--input", inputs, "--output", outputs, "--output_dir", folder)
    return folder / "output_graph.xml"


def export_onnx(graph: Path, path: Path) -> Path:
    """The project's ONNX export."""
    from components.export import onnx

    source = model_files.open(graph)
    onnx.write(path, source.weights, source.geometry, {})
    return path


@contextmanager
def worker(candidate: Candidate, inputs: Path, outputs: Path, threads: int) -> Iterator["subprocess.Popen[str]"]:
    """The candidate's process, loaded and warm; the results are read when it is done."""
    arguments = (candidate.runtime, candidate.model, inputs, outputs, candidate.precision, threads)
    process = subprocess.Popen(
        [candidate.python, str(WORKER), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready = process.stdout.readline()
        if not ready:
            raise SystemExit(f"{candidate.name}: the worker ended before it was ready")
        candidate.load_s = json.loads(ready)["load_s"]
        yield process
        process.stdin.close()
        process.wait(timeout=60)
        with np.load(outputs) as file:
            candidate.results = {name: file[name] for name in file.files}
    finally:
        process.kill()
        process.wait()


def measure(candidates: list[Candidate], folder: Path, repeats: int, threads: int) -> None:
    """Let the candidates take turns."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(worker(candidate, folder / "inputs.npz", folder / f"{number}.npz", threads))
            for number, candidate in enumerate(candidates)
        ]
        for task, count in (("chunk", repeats), ("long", max(3, repeats // 5))):
            for _ in range(count):
                for candidate, process in zip(candidates, workers, strict=True):
                    assert process.stdin is not None
                    assert process.stdout is not None
                    print(task, file=process.stdin, flush=True)
                    candidate.seconds[task].append(json.loads(process.stdout.readline()))


def report(candidates: list[Candidate]) -> str:
    """The Markdown table."""
    columns = ["", "MB", "load s", "chunk ms", "x", "chunk CPU ms", "10 s: ms", "x", "real-time factor"]
    columns += ["max diff", "same label"]
    rows = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    reference = candidates[0].results["long"]
    base = next((candidate for candidate in candidates if candidate.name == "convert_model, f32"), candidates[0])
    for candidate in candidates:
        cells = [candidate.name, f"{candidate.megabytes():.0f}", f"{candidate.load_s:.1f}"]
        for task in TASKS:
            wall = [seconds[0] * 1000 for seconds in candidate.seconds[task]]
            base_ms = statistics.median(seconds[0] * 1000 for seconds in base.seconds[task])
            middle = statistics.median(wall)
            cells += [f"{middle:.1f} ({min(wall):.1f})", f"{base_ms / middle:.1f}"]
            if task == "chunk":
                cells.append(f"{statistics.median(seconds[1] * 1000 for seconds in candidate.seconds[task]):.1f}")
        cells.append(f"{middle / 1000 / (LONG_FRAMES * FRAME_S):.3f}")
        result = candidate.results["long"]
        same = (result.argmax(axis=1) == reference.argmax(axis=1)).mean()
        cells += [f"{np.abs(result - reference).max():.1e}", f"{same:.2%}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, f"\nx: how many times as fast as {base.name}, by the medians."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n_hidden", type=int, default=2048, help="width of the model of random weights")
    parser.add_argument("--model", default="", help="folder of an exported model, or a frozen graph")
    parser.add_argument("--csv", default="", help="CSV of clips to feed; without it, noise")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=0, help="threads of each runtime; 0: its default")
    parser.add_argument("--only", default="", choices=("", "ours"), help="leave the other converters out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = Path(options.model)
        exported = model / "output_graph.pb" if model.is_dir() else model
        graph = exported if options.model else random_model(folder, options.n_hidden)
        write_inputs(folder / "inputs.npz", model_files.open(graph).geometry, options.csv)
        measured = list(candidates(graph, folder, options.only))
        measure(measured, folder, options.repeats, options.threads)
        print(report(measured))


if __name__ == "__main__":
    main()
