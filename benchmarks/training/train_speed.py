"""Training beside Coqui STT 1.4.0 on TensorFlow 1.15.4: clips a second, and the share of what the machine can do.

    python -m benchmarks.training.train_speed [--quick] [--cases 256:32 2048:32 2048:64] [--repeats 3] [--steps 0]
    python -m benchmarks.training.train_speed --devices gpu          on a GPU: without the peer

Both train on the same CSV, with the same batch size, geometry, dropout and learning rate; a case is WIDTH:BATCH. They
take turns, each in a process of its own, ours once in float32 and once in mixed precision. Of each process the first
epoch is left out, which starts engines up; the others are timed with everything in them: reading, features, loss,
optimizer. The table has the median of the repeats.

Counting: of every frame of every clip, padding not counted, two operations for each weight of the six layers' matrices
forward, and twice as many backward (layer 1 once: nobody needs its inputs' gradient). Activations, loss and optimizer
count nothing. The peak is the fastest of some large matrix products in the same process, with the same threads and the
same precision, before and after the training. On a machine that other work shares, the share by CPU time is the
steadier one; on a GPU it means nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from speech.clips.audio import wav_header  # noqa: E402
from speech.clips.manifest import Clip, read_manifest, write_manifest  # noqa: E402
from speech.geometry import Geometry  # noqa: E402
from tests.peers.environments import Peer, PeerUnavailable, find  # noqa: E402

SAMPLE_RATE = 16_000
SECONDS = (2.85, 3.15)  # so that few clips make batches with as little padding as many clips do
CHARACTERS_A_SECOND = 12
LEARNING_RATE = 1e-4
LETTERS = "abcdefghijklmnopqrstuvwxyz' "
PEER, FLOAT32, MIXED = "Coqui STT 1.4.0", "float32", "mixed"

# In the peer's environment: `python -c PEER_PROGRAM flags...`. Its log says when an epoch begins and ends.
PEER_PROGRAM = """
import io, json, os, resource, sys, time
answer = os.dup(1)
os.dup2(2, 1)
def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime
epochs = []
class Clock(io.StringIO):
    def write(self, text):
        if "Finished training epoch" in text:
            epochs[-1] = [after - before for before, after in zip(epochs[-1], now())]
        elif "Training epoch" in text:
            epochs.append(now())
        return sys.stderr.write(text)
from coqui_stt_training import train
sys.stdout = Clock()
train.main()
with os.fdopen(answer, "w") as file:
    json.dump({"epochs": epochs}, file)
os._exit(0)
"""

# Ours, in a process of its own as well: `python -c OUR_PROGRAM JOB`, a JSON file with the settings.
OUR_PROGRAM = """
import json, resource, sys, time
from pathlib import Path
job = json.load(open(sys.argv[1]))
from components.train import loop, step
from components.train.settings import TrainSettings
from speech.nn import devices
import tensorflow as tf
def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime
epochs, waiting = [], []
train_epoch = loop.TrainingRun.train_epoch
def timed(self, interruption):
    before = now()
    train_epoch(self, interruption)
    epochs.append([after - start for start, after in zip(before, now())])
    waiting.append(self.waiting.share)
loop.TrainingRun.train_epoch = timed
def peak(dtype, rows):
    best = best_cpu = 0.0
    for shape in ((rows, 2048, 2048), (rows, 2048, 8192)):
        left, right = (tf.cast(tf.random.stateless_normal(size, [1, 2]), dtype) for size in (shape[:2], shape[1:]))
        tf.matmul(left, right)[0, 0].numpy()
        for _ in range(3):
            began, work = now(), 2 * shape[0] * shape[1] * shape[2]
            tf.matmul(left, right)[0, 0].numpy()
            wall, cpu = (after - start for start, after in zip(began, now()))
            best, best_cpu = max(best, work / wall), max(best_cpu, work / max(cpu, 1e-9))
    return best, best_cpu
settings = TrainSettings(**job["settings"])
here = devices.configure(settings.devices, 0, 0, False)
devices.configure = step.configure = lambda *_: here
compute, precision = devices.compute_on(here, settings.mixed_precision)
rows = 16384 if here.on_gpu else 4096
before = peak(compute.dtype, rows)
step.run(settings, [Path(job["csv"])], [], Path(job["folder"]))
after = peak(compute.dtype, rows)
answer = {"epochs": epochs, "waiting": waiting, "on": here.describe() + ", " + precision}
answer |= {"peak": max(before[0], after[0]) * here.n_local, "peak_a_cpu_s": max(before[1], after[1])}
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Case:
    """What is compared."""

    n_hidden: int
    batch: int
    steps: int  # an epoch

    @property
    def clips(self) -> int:
        """Clips an epoch."""
        return self.steps * self.batch


@dataclass(frozen=True)
class Measured:
    """One process: its epochs but the first."""

    clips_per_s: float
    clips_per_cpu_s: float
    waiting: float = 0.0  # share of the time
    peak: float = 0.0  # floating-point operations a second
    peak_a_cpu_s: float = 0.0  # and a CPU second
    on: str = ""


def make_corpus(folder: Path, clips: int) -> Path:
    """Noise with the loudness of syllables, and random letters."""
    generator, rows = np.random.default_rng(1), []
    folder.mkdir()
    (folder / "alphabet.txt").write_text("".join(f"{letter}\n" for letter in LETTERS), encoding="utf-8")
    for number in range(clips):
        seconds = generator.uniform(*SECONDS)
        time_s = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        noise = generator.standard_normal(len(time_s)) * (1 + np.sin(2 * np.pi * 4 * time_s)) * 2000
        data = wav_header(len(noise), SAMPLE_RATE) + noise.astype("<i2").tobytes()
        path = folder / f"{number}.wav"
        path.write_bytes(data)
        letters = generator.choice(list(LETTERS[:-2]), int(seconds * CHARACTERS_A_SECOND))
        text = " ".join("".join(letters[start : start + 5]) for start in range(0, len(letters), 5))
        rows.append(Clip(str(path), len(data), text))
    write_manifest(folder / "train.csv", rows)
    return folder / "train.csv"


def operations(case: Case, csv: Path) -> float:
    """Floating-point operations of an epoch's forward and backward passes."""
    geometry = Geometry(case.n_hidden, len(LETTERS))
    frames = sum(geometry.n_frames((clip.wav_filesize - 44) // 2) for clip in read_manifest(csv))
    hidden, inputs = case.n_hidden, geometry.window_frames * geometry.n_input
    hidden_weights = 3 * hidden**2 + 8 * hidden**2 + hidden * geometry.n_classes  # layers 2, 3, 5; LSTM; layer 6
    return 2.0 * frames * (2 * inputs * hidden + 3 * hidden_weights)


def run_ours(case: Case, csv: Path, scratch: Path, epochs: int, devices: str, mixed: bool) -> Measured:
    """Train in a process of our own environment."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    settings = {
        "n_hidden": case.n_hidden,
        "train_batch_size": case.batch,
        "epochs": epochs,
        "learning_rate": LEARNING_RATE,
        "mixed_precision": mixed,
        "devices": devices,
        "skip_batch_test": True,
        "show_progressbar": False,
    }
    job = folder / "job.json"
    job.write_text(json.dumps({"settings": settings, "csv": str(csv), "folder": str(folder / "checkpoint")}))
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", OUR_PROGRAM, str(job)]
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"our training failed:\n{done.stderr[-3000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    rates = of_epochs(case, answer["epochs"])
    return Measured(
        *rates, statistics.mean(answer["waiting"][1:]), answer["peak"], answer["peak_a_cpu_s"], answer["on"]
    )


def run_peer(case: Case, csv: Path, scratch: Path, epochs: int, peer: Peer) -> Measured:
    """Train in the peer's environment."""
    folder = tempfile.mkdtemp(dir=scratch)
    flags = {
        "train_files": csv,
        "alphabet_config_path": csv.parent / "alphabet.txt",
        "checkpoint_dir": folder,
        "n_hidden": case.n_hidden,
        "train_batch_size": case.batch,
        "epochs": epochs,
        "learning_rate": LEARNING_RATE,
        "skip_batch_test": "true",
        "show_progressbar": "false",
    }
    arguments = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    answer = json.loads(peer.run("python", "-c", PEER_PROGRAM, *arguments, timeout_s=7200))
    return Measured(*of_epochs(case, answer["epochs"]))


def of_epochs(case: Case, epochs: list[list[float]]) -> tuple[float, float]:
    """Clips a second of wall and of processor time, of all epochs but the first."""
    wall_s, cpu_s = (sum(epoch[k] for epoch in epochs[1:]) for k in (0, 1))
    clips = case.clips * (len(epochs) - 1)
    return clips / wall_s, clips / cpu_s


def report(case: Case, results: dict[str, list[Measured]], work: float) -> None:
    """The rows of a case."""

    def median(name: str, field: str) -> float:
        return statistics.median(getattr(run, field) for run in results[name])

    for name, measured in results.items():
        cells = [str(case.n_hidden), str(case.batch), name]
        cells += [f"{median(name, 'clips_per_cpu_s'):.2f}", f"{median(name, 'clips_per_s'):.2f}"]
        ratios = []
        for field in ("clips_per_cpu_s", "clips_per_s"):
            ratios.append(f"{median(name, field) / median(PEER, field):.2f}" if PEER in results else "")
        cells += ratios
        if name == PEER:
            cells += [f"{median(name, 'clips_per_s') * work / case.clips / 1e9:.0f}", "", "", "", ""]
        else:
            a_clip = work / case.clips
            shares = [run.clips_per_s * a_clip / run.peak for run in measured]
            cpu_shares = [run.clips_per_cpu_s * a_clip / run.peak_a_cpu_s for run in measured]
            cells += [f"{median(name, 'clips_per_s') * work / case.clips / 1e9:.0f}"]
            cells += [f"{median(name, 'peak') / 1e9:.0f}", f"{statistics.median(shares):.0%}"]
            cells += [f"{statistics.median(cpu_shares):.0%}"]
            cells += [f"{median(name, 'waiting'):.1%}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["256:32", "2048:32", "2048:64"], metavar="WIDTH:BATCH")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of each process; the first is left out")
    parser.add_argument("--steps", type=int, default=0, help="an epoch; 0: 8 up to a width of 512, then 2")
    parser.add_argument("--devices", default="cpu", help="as --devices of components.train; gpu: without the peer")
    parser.add_argument("--without_peer", action="store_true")
    parser.add_argument("--quick", action="store_true", help="256:32 alone, once, in a minute")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.cases, arguments.repeats, arguments.steps = ["256:32"], 1, 4
    return arguments


def main() -> None:
    """Print the table."""
    arguments = parse_arguments()
    peer = None
    if not arguments.without_peer and arguments.devices.startswith("cpu"):
        try:
            peer = find("coqui-training")
        except PeerUnavailable as reason:
            print(f"without the peer: {reason}")
    print("| n_hidden | batch | training | clips/CPU s | clips/s | x peer, CPU | x peer, wall | GFLOP/s | peak "
          "| share of peak | by CPU time | waited for clips |\n|" + "---|" * 12, flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for text in arguments.cases:
            n_hidden, batch = map(int, text.split(":"))
            case = Case(n_hidden, batch, arguments.steps or (8 if n_hidden <= 512 else 2))
            csv = make_corpus(scratch / f"corpus-{n_hidden}-{batch}", case.clips)
            results: dict[str, list[Measured]] = {}
            for _ in range(arguments.repeats):
                if peer:
                    results.setdefault(PEER, []).append(run_peer(case, csv, scratch, arguments.epochs, peer))
                for name in (FLOAT32, MIXED):
                    ours = run_ours(case, csv, scratch, arguments.epochs, arguments.devices, name == MIXED)
                    results.setdefault(name, []).append(ours)
            report(case, results, operations(case, csv))
    print("ours on " + "; ".join(sorted({run.on for name in (FLOAT32, MIXED) for run in results[name]})))


if __name__ == "__main__":
    main()
