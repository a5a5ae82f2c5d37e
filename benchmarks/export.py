"""What an export costs: seconds and peak memory of the command and of its steps, at DeepSpeech's release size.

    python benchmarks/export.py [--n_hidden 2048] [--repeats 3]

Makes a checkpoint of random weights, as training leaves it, and exports it by the command that users run and step by
step, each time in a process of its own. The self-checks are part of what is measured.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from memmapped import median_costs, run

_MAKE_CHECKPOINT = """
import sys
from pathlib import Path
import numpy as np
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Checkpoint
from speech.geometry import Geometry
from speech.nn import snapshots
from speech.model_files.variables import MOMENTS, initial_weights
folder = Path(sys.argv[2])
alphabet = Alphabet(tuple(" abcdefghijklmnopqrstuvwxyz'"))
geometry = Geometry(n_hidden=int(sys.argv[1]), n_labels=len(alphabet))
weights = initial_weights(geometry, 1)
moments = {f"{name}/{moment}": np.zeros_like(value) for name, value in weights.items() for moment in MOMENTS}
snapshots.save(folder, "best_dev-1", snapshots.Snapshot(geometry, weights, moments, 1, 0.001, 0.9, 0.999))
snapshots.write_state(folder, Checkpoint.BEST, ["best_dev-1"])
alphabet.save(folder / ALPHABET)
"""
_STEP = """
import sys
from pathlib import Path
from components.export import step
from components.export.settings import ExportSettings
checkpoint, model, folder = map(Path, sys.argv[1:])
{call}
"""
_CALLS = {
    "freeze": "step.freeze(ExportSettings(), checkpoint, folder)",
    "convert_mmap": "step.convert_mmap(model, folder)",
    "convert_tflite, int8": "step.convert_tflite(model, folder, quantize=True)",
    "convert_tflite, float32": "step.convert_tflite(model, folder, quantize=False)",
}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n_hidden", type=int, default=2048, help="width of the network")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each row, of which the median counts")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint, model = folder / "checkpoint", folder / "model"
        run([sys.executable, "-c", _MAKE_CHECKPOINT, str(settings.n_hidden), str(checkpoint)])
        export = [sys.executable, "-m", "components.export", "--checkpoint_dir", str(checkpoint)]
        run([*export, "--export_dir", str(model)])
        commands = {"the command: all three": [*export, "--export_dir", str(folder / "again")]}
        for step, call in _CALLS.items():
            arguments = [str(checkpoint), str(model), str(folder / step.replace(", ", "-"))]
            commands[step] = [sys.executable, "-c", _STEP.format(call=call), *arguments]
        costs = median_costs(commands, settings.repeats)
        sizes = {path.name: path.stat().st_size / 2**20 for path in model.iterdir() if path.stat().st_size > 2**16}
        shutil.rmtree(folder)
    print(f"n_hidden {settings.n_hidden}, median of {settings.repeats}, self-checks included")
    print(f"{'':26}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}")
    for row, cost in costs.items():
        print(f"{row:26}{cost.wall_s:9.1f}{cost.cpu_s:9.1f}{cost.peak_mb:10.0f}")
    print("files, MiB: " + ", ".join(f"{name} {size:.1f}" for name, size in sorted(sizes.items())))


if __name__ == "__main__":
    main()
