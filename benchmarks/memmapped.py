"""What the memory-mapped converter costs, and what a memory-mapped graph saves a native client.

    python benchmarks/memmapped.py [--n_hidden 2048] [--repeats 5] [--client_python /path/to/python3.9]

Makes a frozen graph of random weights, of DeepSpeech's release size by default, and converts it there and back by the
command that users run, each time in a process of its own. `--client_python` is an interpreter with `deepspeech`
installed: it then loads both files in turn and transcribes three seconds of noise.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

_MAKE_GRAPH = """
import sys
import numpy as np
from speech.alphabet import Alphabet
from speech.model_files.variables import weight_shapes
from speech.geometry import Geometry
from speech.nn.graph import Metadata, streaming_graph
alphabet = Alphabet(tuple(" abcdefghijklmnopqrstuvwxyz'"))
geometry = Geometry(n_hidden=int(sys.argv[1]), n_labels=len(alphabet))
numbers = np.random.default_rng(1)
weights = {
    name: numbers.standard_normal(shape, np.float32) * np.float32(shape[0] ** -0.5)
    for name, shape in weight_shapes(geometry).items()
}
with open(sys.argv[2], "wb") as file:
    file.write(streaming_graph(weights, geometry, alphabet, 16, Metadata()).SerializeToString())
"""

_CLIENT = """
import json, sys, time
import numpy as np
import deepspeech
def megabytes(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
samples = (np.random.default_rng(1).standard_normal(48000) * 1000).astype(np.int16)
began = time.perf_counter()
model = deepspeech.Model(sys.argv[1])
load_s = time.perf_counter() - began
after_load, peak = megabytes("VmRSS"), megabytes("VmHWM")
text = model.stt(samples)
print(json.dumps({"load s": load_s, "after load MB": after_load, "peak of load MB": peak,
                  "peak with text MB": megabytes("VmHWM"), "text": text}))
"""


class ProcessCost(NamedTuple):
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def run(command: list[str]) -> ProcessCost:
    """Run `command` from the repository's root and measure it; exits if it fails."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=quiet)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        output.seek(0)
        text = output.read()
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command[:3])} ... failed: {text}")
    return ProcessCost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def median_costs(commands: dict[str, list[str]], repeats: int) -> dict[str, ProcessCost]:
    """Each command's median cost, the commands taken in turns."""
    costs: dict[str, list[ProcessCost]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            costs[name].append(run(command))
    return {
        name: ProcessCost(
            statistics.median(cost.wall_s for cost in taken),
            statistics.median(cost.cpu_s for cost in taken),
            statistics.median(cost.peak_mb for cost in taken),
            taken[-1].output,
        )
        for name, taken in costs.items()
    }


def report_conversion(folder: Path, graph: Path, mapped: Path, repeats: int) -> None:
    """Print the table of the conversions."""
    converter = [sys.executable, "-m", "components.export.memmapped"]
    back = folder / "back.pb"
    commands = {
        "--help (starting)": [*converter, "--help"],
        ".pb -> .pbmm": [*converter, f"--in_graph={graph}", f"--out_graph={mapped}"],
        ".pbmm -> .pb": [*converter, f"--in_graph={mapped}", f"--out_graph={back}", "--to_frozen"],
        "--inspect .pbmm": [*converter, f"--inspect={mapped}"],
    }
    size_mb = graph.stat().st_size / 2**20
    print(f"\nconverter, file of {size_mb:.1f} MiB, median of {repeats}")
    print(f"{'':20}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}{'peak / file':>13}")
    for name, cost in median_costs(commands, repeats).items():
        print(f"{name:20}{cost.wall_s:9.2f}{cost.cpu_s:9.2f}{cost.peak_mb:10.0f}{cost.peak_mb / size_mb:13.2f}")
    print(f"and back: {'the same size' if back.stat().st_size == graph.stat().st_size else 'ANOTHER SIZE'}")


def report_client(client_python: str, files: list[Path], repeats: int) -> None:
    """Print the table of a native client that loads each file."""
    taken: dict[Path, list[dict[str, float]]] = {file: [] for file in files}
    texts = set()
    for _ in range(repeats):
        for file in files:
            facts = json.loads(run([client_python, "-c", _CLIENT, str(file)]).output.splitlines()[-1])
            texts.add(facts.pop("text"))
            taken[file].append(facts)
    columns = list(taken[files[0]][0])
    print(f"\nclient deepspeech, median of {repeats}")
    print(f"{'':20}" + "".join(f"{column:>20}" for column in columns))
    for file, runs in taken.items():
        medians = (statistics.median(facts[column] for facts in runs) for column in columns)
        print(f"{file.name:20}" + "".join(f"{median:20.3f}" for median in medians))
    print(f"text of the two: {'the same' if len(texts) == 1 else 'DIFFERENT'}: {sorted(texts)}")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n_hidden", type=int, default=2048, help="width of the network")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each row, of which the median counts")
    parser.add_argument("--client_python", default="", help="Python with deepspeech 0.9.3; without it no client runs")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph, mapped = folder / "output_graph.pb", folder / "output_graph.pbmm"
        run([sys.executable, "-c", _MAKE_GRAPH, str(settings.n_hidden), str(graph)])
        report_conversion(folder, graph, mapped, settings.repeats)
        if settings.client_python:
            report_client(settings.client_python, [graph, mapped], settings.repeats)


if __name__ == "__main__":
    main()
