"""What checkpoints in the background cost a training: H=2048, saved every two minutes to an object store.

    AWS_ENDPOINT_URL=http://127.0.0.1:9000 AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... \
        python -m benchmarks.training.checkpoint_uploads --mirror s3://bucket/prefix [--n_hidden 2048] [--phase_s 240]

First what a checkpoint costs by itself: for how long a step would stand still (for the copy in memory), and processor
time to write and to upload it. Then phases of training with and without checkpoints take turns; the table has, by
phase, steps, wall and processor time a step (of all threads), and for how long the steps stood still. On a machine that
other work shares, writing and uploading come last, and the first lines are the steadier ones.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from components.train.saving.saver import Saver  # noqa: E402
from components.train.saving.store import CheckpointStore  # noqa: E402
from speech.geometry import Geometry  # noqa: E402
from speech.model_files.variables import initial_weights  # noqa: E402
from speech.nn.batches import Batch  # noqa: E402
from speech.nn.dropout import DropoutRates  # noqa: E402
from speech.nn.snapshots import Snapshot  # noqa: E402
from speech.nn.training import Adam, Trainer  # noqa: E402

FRAMES, LABELS = 150, 36  # of a clip of 3 s


def batch(geometry: Geometry, clips: int) -> Batch:
    """Noise in the shape of clips."""
    random = np.random.default_rng(1)
    features = random.normal(size=(clips, FRAMES, geometry.n_input)).astype(np.float32)
    labels = random.integers(0, geometry.n_labels, (clips, LABELS), dtype=np.int32)
    lengths = np.full(clips, FRAMES, np.int32), np.full(clips, LABELS, np.int32)
    return Batch(0, np.arange(clips), features, lengths[0], labels, lengths[1])


def phase(trainer: Trainer, training_batch: Batch, saver: Saver | None, seconds: float, every_s: float) -> list[float]:
    """Steps, wall s and processor s a step, and s that the steps stood still."""
    wall, used, stood, steps = time.monotonic(), time.process_time(), 0.0, 0
    next_save = wall + every_s / 2
    while time.monotonic() - wall < seconds:
        trainer.train(training_batch)
        steps += 1
        if saver and time.monotonic() >= next_save and saver.ready:
            before = time.monotonic()
            saver.save({"epoch": 0})
            stood += time.monotonic() - before
            next_save += every_s
    return [steps, (time.monotonic() - wall) / steps, (time.process_time() - used) / steps, stood]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", required=True)
    parser.add_argument("--n_hidden", type=int, default=2048)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--phase_s", type=float, default=240.0)
    parser.add_argument("--every_s", type=float, default=120.0)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    geometry = Geometry(n_hidden=options.n_hidden, n_labels=28)
    start = Snapshot(geometry, initial_weights(geometry, 1))
    trainer = Trainer(start, Adam(), DropoutRates(0.05, 0.05, 0.05, 0.05), 1e-4, 1)
    some = batch(geometry, options.clips)
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(Path(folder), 2, options.mirror, patience_s=600)
        with store.uploading(0.0), Saver(store, trainer) as saver:
            trainer.train(some)
            saver.save({"epoch": 0})  # the first one takes the memory that the others use again
            saver.wait()
            store.flush()
            size = sum(path.stat().st_size for path in Path(folder).glob("train-*"))
            print(
                f"n_hidden {options.n_hidden}, {size / 1e9:.2f} GB a checkpoint, one every {options.every_s:g} s",
                flush=True,
            )
            for _ in range(3):
                wall, used = time.monotonic(), time.process_time()
                saver.save({"epoch": 0})
                stood = time.monotonic() - wall
                saver.wait()
                written = time.process_time() - used
                store.flush()
                wall, used = time.monotonic() - wall, time.process_time() - used
                print(
                    f"alone: stood still {stood:.2f} s, written with {written:.2f} processor s, uploaded with "
                    f"{used - written:.2f}; {wall:.1f} s in all",
                    flush=True,
                )
            print("| checkpoints | steps | wall s a step | processor s a step | stood still s |\n|---|---|---|---|---|")
            for _ in range(options.repeats):
                for name, how in (("none", None), ("uploaded", saver)):
                    steps, wall, used, stood = phase(trainer, some, how, options.phase_s, options.every_s)
                    print(f"| {name} | {steps:g} | {wall:.3f} | {used:.3f} | {stood:.2f} |", flush=True)
                saver.wait()
                store.flush()


if __name__ == "__main__":
    main()
