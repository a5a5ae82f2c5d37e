"""The way from manifests to batches: clips a second, how long the device waits, and what a large corpus costs.

    python -m benchmarks.training.input_pipeline [--clips 256] [--step_ms 0 50] [--rows 2000000]

First the pipeline alone, with nothing, the features cached, and all augmentations (the example of Coqui STT's guide):
clips a second of processor time and of wall time. Then with a device that takes `--step_ms` a batch and leaves the
processors alone, as a GPU does: the share of the time that it waits for clips. Last a manifest of `--rows`: start-up
time and peak memory of a process that reads it and plans an epoch, and the time to plan another.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.training.augmentation import guide, write_noise  # noqa: E402
from benchmarks.training.train_speed import LETTERS, make_corpus  # noqa: E402
from speech.alphabet import Alphabet  # noqa: E402
from speech.augmentation import Augmenter  # noqa: E402
from speech.clips.manifest import Clip, read_manifest, write_manifest  # noqa: E402
from speech.features.feature_cache import FeatureCache  # noqa: E402
from speech.geometry import Geometry  # noqa: E402
from speech.nn.batches import ClipSet, EpochAugmentation, stream  # noqa: E402
from speech.nn.plans import BatchSize, padding, plan_shuffled  # noqa: E402

BATCH = 32

# `python -c START_PROGRAM CSV`: what a training run does before its first batch, without the model.
START_PROGRAM = """
import resource, sys, time
from pathlib import Path
from components.train import step
from components.train.settings import TrainSettings
from speech.alphabet import Alphabet
from speech.geometry import Geometry
from speech.clips.manifest import read_manifest
from speech.nn.batches import ClipSet
from speech.nn.plans import BatchSize, plan_shuffled
alphabet = Alphabet(tuple(sys.argv[2]))
began, began_cpu = time.perf_counter(), time.process_time()
def mark(name):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    print(f"| {name} | {wall:.1f} | {cpu:.1f} | {peak:.2f} |", flush=True)
mark("imports (memory alone)")
manifest = read_manifest(Path(sys.argv[1]))
mark("+ read the manifest")
step._run_key(TrainSettings(), [manifest], [], alphabet)
mark("+ fingerprint of the data")
clips = ClipSet([manifest], alphabet, Geometry(2048, len(alphabet)))
mark("+ choose the clips")
plan_shuffled(clips.n_frames, BatchSize(64), 1, 1)
mark("+ plan an epoch")
plan_shuffled(clips.n_frames, BatchSize(frames=20000), 1, 2)
mark("+ plan another, by frames")
"""


def throughput(
    clips: ClipSet, batches: Sequence[np.ndarray], augmenter: Augmenter, cache: FeatureCache | None, step_ms: float
) -> tuple[float, float, float]:
    """Clips a CPU second, clips a second, share of the time spent waiting."""
    augmentation = EpochAugmentation(augmenter, 0, 1)
    wall, cpu, waited, clips_read = time.perf_counter(), time.process_time(), 0.0, 0
    asked = wall
    for batch in stream(clips, batches, augmentation=augmentation, cache=cache):
        waited += time.perf_counter() - asked
        clips_read += len(batch.clips)
        time.sleep(step_ms / 1000)
        asked = time.perf_counter()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return clips_read / cpu, clips_read / wall, waited / wall


def write_large_manifest(path: Path, rows: int) -> None:
    """Rows like those of an imported corpus: 40,000 speakers, a shard for 10,000 clips."""
    generator = np.random.default_rng(1)
    words = ["".join(generator.choice(list(LETTERS[:-2]), length)) for length in generator.integers(2, 10, 5000)]
    speakers = [generator.bytes(64).hex() for _ in range(40_000)]

    (path.parent / "shards").mkdir()

    def clips():
        offset = 0
        for number, seconds in enumerate(generator.uniform(2, 9, rows)):
            size = 44 + 2 * int(seconds * 16_000)
            picked = generator.integers(0, len(words), int(seconds * 1.8) + 1)
            yield Clip(
                f"clips/common_voice_en_{20_000_000 + number}.wav",
                size,
                " ".join(words[k] for k in picked),
                round(seconds, 4),
                speakers[int(picked[0]) * 8 % len(speakers)],
                f"shards/clips-{number // 10_000:05d}.tar",
                offset,
            )
            offset += size + 1024
            if number % 10_000 == 9_999 or number == rows - 1:
                with (path.parent / "shards" / f"clips-{number // 10_000:05d}.tar").open("wb") as shard:
                    shard.truncate(offset)  # as long as it should be, and empty

    write_manifest(path, clips())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--step_ms", type=float, nargs="+", default=[50.0, 200.0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="0: no large manifest")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        alphabet = Alphabet(tuple(LETTERS))
        clips = ClipSet([read_manifest(make_corpus(folder / "corpus", arguments.clips))], alphabet, Geometry(8, 28))
        batches = plan_shuffled(clips.n_frames, BatchSize(BATCH), 1, 1)
        noise = folder / "noise"
        noise.mkdir()
        write_noise(noise)
        cache = FeatureCache(str(folder / "cache"), "0", 26)
        cases = {
            "features": (Augmenter(), None),
            "features from the cache": (Augmenter(), cache),
            "all augmentations": (Augmenter(guide(noise)), None),
        }
        print(f"{arguments.clips} clips of 3 s, batches of {BATCH}, {padding(clips.n_frames, batches):.1%} padding")
        steps = "".join(f" waits at {step:g} ms a batch |" for step in arguments.step_ms)
        print(f"| | clips/CPU s | clips/s |{steps}\n|" + "---|" * (3 + len(arguments.step_ms)))
        for name, (augmenter, kept) in cases.items():
            throughput(clips, batches, augmenter, kept, 0)  # fills the cache
            a_core, in_all, _ = throughput(clips, batches, augmenter, kept, 0)
            waits = [throughput(clips, batches, augmenter, kept, step)[2] for step in arguments.step_ms]
            print(f"| {name} | {a_core:.0f} | {in_all:.0f} |" + "".join(f" {wait:.1%} |" for wait in waits), flush=True)
        cache.close()
        if arguments.rows:
            write_large_manifest(folder / "large.csv", arguments.rows)
            print(f"\n| {arguments.rows:,} rows | s | CPU s | peak GB |\n|---|---|---|---|", flush=True)
            variables = {**os.environ, "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-c", START_PROGRAM, str(folder / "large.csv"), LETTERS]
            subprocess.run(command, env=variables, check=True)


if __name__ == "__main__":
    main()
