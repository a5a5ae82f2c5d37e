"""What it costs a training to be followed: curves to an object store and a record in a tracking server.

    python -m benchmarks.training.following [--rounds 5] [--epochs 5] [--tracking_uri http://127.0.0.1:5000]

The same training in processes of its own, in turns: followed by nobody; with curves in an object store (a stand-in on
this machine, on another core) and the record in the tracking server that is named; and with both of them dead, which
is two addresses where nobody listens. Each process is pinned to one core, so that its threads take their time from the
training. Of each the first epoch is left out, which starts engines and clients up; what they take is a column of its
own, as it does not grow with the training. CPU time is the steadier measure on a machine that others use, too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from speech.alphabet import Alphabet  # noqa: E402
from speech.clips.audio import wav_header  # noqa: E402
from speech.clips.manifest import Clip, write_manifest  # noqa: E402

NOBODY = "127.0.0.1:9"
MODES = ("alone", "followed", "dead")
SAMPLE_RATE, SECONDS = 16_000, 3.0

PROGRAM = """
import json, os, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
from pathlib import Path
from components.train import loop, step
from components.train.settings import TrainSettings
given = json.loads(sys.argv[1])
times = []
report = loop.TrainingRun.report
def timed(self, *arguments):
    report(self, *arguments)
    times.append((time.perf_counter(), time.process_time()))
loop.TrainingRun.report = timed
settings = TrainSettings(**given["settings"])
data = Path(given["data"])
started = time.process_time()
step.run(settings, [data / "train.csv"], [data / "dev.csv"], Path(given["save"]))
ended = time.process_time() - started
(wall, cpu), (first_wall, first_cpu) = times[-1], times[0]
print("RESULT " + json.dumps([wall - first_wall, cpu - first_cpu, ended - (cpu - first_cpu)]))
"""


def make_corpus(folder: Path, clips: int) -> None:
    """Noise of one length: what is learned does not matter here."""
    generator = np.random.default_rng(1)
    for name, count in (("train", clips), ("dev", 8)):
        listed = []
        for number in range(count):
            samples = generator.normal(0, 1000, int(SECONDS * SAMPLE_RATE)).astype(np.int16)
            path = folder / f"{name}-{number}.wav"
            path.write_bytes(wav_header(len(samples), SAMPLE_RATE) + samples.tobytes())
            text = "".join(generator.choice(list("abcdefgh "), 30)).strip()
            listed.append(Clip(path.name, path.stat().st_size, " ".join(text.split())))
        write_manifest(folder / f"{name}.csv", listed)
    Alphabet(tuple(" abcdefgh")).save(folder / "alphabet.txt")


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """The address of an S3 server with the bucket `curves`."""
    log = (folder / "store.log").open("w")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "5599"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        import boto3

        address = "http://127.0.0.1:5599"
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        for _ in range(60):
            time.sleep(1)
            try:
                boto3.client("s3", endpoint_url=address, **keys).create_bucket(Bucket="curves")
                break
            except Exception as error:
                last = error
        else:
            raise last
        yield address
    finally:
        process.terminate()
        process.wait()
        log.close()


def train(mode: str, number: int, arguments: argparse.Namespace, scratch: Path, store: str) -> tuple[list[float], str]:
    """Seconds of wall and of CPU behind the first epoch, and of CPU for all else; and the notes in the log."""
    settings = {
        "n_hidden": arguments.n_hidden,
        "epochs": arguments.epochs,
        "train_batch_size": arguments.batch,
        "show_progressbar": False,
        "skip_batch_test": True,
    }
    if mode != "alone":
        settings["summary_dir"] = f"s3://curves/{number}"
        settings["tracking_uri"] = f"http://{NOBODY}" if mode == "dead" else arguments.tracking_uri
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "AWS_ENDPOINT_URL": f"http://{NOBODY}" if mode == "dead" else store,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    given = json.dumps({"settings": settings, "data": str(scratch), "save": str(scratch / f"{mode}-{number}")})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, given, str(arguments.core)], env=environment, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(done.stderr)
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ") and "training clips" not in line]
    return json.loads(lines[0].removeprefix("RESULT ")), "\n".join(notes)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--n_hidden", type=int, default=256)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--tracking_uri", default="", help="MLflow server; empty: curves alone")
    arguments = parser.parse_args()
    found: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as folder, object_store(Path(folder)) as store:
        make_corpus(Path(folder), arguments.clips)
        for number in range(arguments.rounds):
            for mode in MODES[number % 3 :] + MODES[: number % 3]:
                times, notes = train(mode, number, arguments, Path(folder), store)
                found[mode].append(times)
                print(f"round {number + 1}, {mode}: {times[0]:.2f} s, CPU {times[1]:.2f} s, else {times[2]:.1f} s CPU")
                print(notes, file=sys.stderr, flush=True)
    alone = [statistics.median(times) for times in zip(*found["alone"], strict=True)]
    print("\n| | wall | CPU | start and end, CPU |\n|---|---|---|---|")
    for mode in MODES:
        wall, cpu, rest = (statistics.median(times) for times in zip(*found[mode], strict=True))
        shares = f"{wall / alone[0] - 1:+.2%} | {cpu / alone[1] - 1:+.2%} | {rest - alone[2]:+.1f} s"
        print(f"| {mode} | {wall:.2f} s, {shares} |")


if __name__ == "__main__":
    main()
