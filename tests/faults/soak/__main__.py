"""Days in minutes: `python -m tests.faults.soak` imports many clips, trains many steps, and watches what it costs.

The processes' memory, descriptors, threads and temporary files are looked at once a second. A table and a picture
(build/soak/soak.svg) say how they went on; ends with 1 if something grew, was left over, or is missing.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from speech.artifacts import Checkpoint, Corpus
from speech.model_files.bundle import Bundle
from tests.faults.soak.many_clips import write_release
from tests.faults.soak.process_tree import Sample, Watched, at_work, course, unfinished, watch
from tests.faults.soak.soak_chart import PANELS, chart
from tests.faults.warm import ROOT

FOUND = ROOT / "build" / "soak"
MOST_GROWTH = 0.05  # of the memory, over the whole work
NOISE_MB = 15.0
BATCH, DEV_CLIPS, EPOCHS = 8, 80, 6


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200_000, help="clips to import")
    parser.add_argument("--steps", type=int, default=3000, help="optimizer steps to train")
    parser.add_argument("--checkpoint_secs", type=int, default=5)
    parser.add_argument("--n_hidden", type=int, default=64)
    parser.add_argument("--every_s", type=float, default=1.0, help="time between two looks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=FOUND, help="where all of it is written; 18 kB a clip")
    return parser.parse_args(given)


def grown(samples: Sequence[Sample]) -> list[str]:
    """Which figures rose while the work was under way, other than by noise."""
    work = at_work(samples)
    if not work:
        return ["no sample of the work"]
    found = []
    memory = course(work, "memory_mb")
    allowed_mb = max(NOISE_MB, MOST_GROWTH * memory.first)
    if memory.growth > allowed_mb and memory.last - memory.first > allowed_mb:
        found.append(f"memory grew by {memory.growth:.0f} MB in {memory.minutes:.1f} minutes")
    for name in ("descriptors", "threads", "processes"):
        figure = course(work, name)
        if figure.last - figure.first > 1 and figure.growth > 1:
            found.append(f"{name} grew from {figure.first:g} to {figure.last:g}")
    return found


def left_over(ended: Watched, result: Path, scratch: Path) -> list[str]:
    """What a command did not take away."""
    found = [f"process {pid} outlives it" for pid in ended.survivors]
    found += [f"{path} is left" for path in sorted(scratch.rglob("*"))[:5]]
    files = (path for path in sorted(result.rglob("*")) if path.is_file())
    return found + [f"{path} is left" for path in files if unfinished(path.relative_to(result))]


def check_corpus(folder: Path, clips: int, damaged: int) -> list[str]:
    """Whether every clip is in the tables or was refused."""
    corpus = Corpus.open(folder)
    rows = sum(1 for name in ("train", "dev", "test") for _ in corpus.manifest(name))
    return [] if rows == clips - damaged else [f"{rows:,} clips in the corpus, expected {clips - damaged:,}"]


def check_training(folder: Path, steps: int) -> list[str]:
    """Whether the training made all its steps, and every bundle that is there has a name."""
    last = (folder / Checkpoint.LAST).read_text(encoding="utf-8").split('"')[1]
    made = int(Bundle.open(folder / last).tensor("global_step"))
    found = [] if made == steps else [f"{made:,} optimizer steps, expected {steps:,}"]
    named = "".join((folder / name).read_text(encoding="utf-8") for name in (Checkpoint.LAST, Checkpoint.BEST))
    stems = {path.stem for path in folder.glob("*.index")} | {path.stem for path in folder.glob("*.data-*")}
    return found + [f"no state file names {stem}" for stem in sorted(stems) if f'"{stem}"' not in named]


def rows(name: str, ended: Watched) -> Iterator[str]:
    """The table of one command."""
    work = at_work(ended.samples)
    yield f"{name}: {ended.seconds:,.0f} s, {len(ended.samples)} looks, {len(work)} of them at work"
    yield f"{'':26} {'first tenth':>12} {'last tenth':>12} {'most':>10} {'a minute':>10}"
    for field, label in {**PANELS, "processes": "processes"}.items():
        one = course(work, field)
        yield f"{label:26} {one.first:12,.1f} {one.last:12,.1f} {one.most:10,.1f} {one.slope_a_minute:+10.2f}"


def run_import(asked: argparse.Namespace) -> tuple[Watched, list[str]]:
    """Import the clips."""
    release, corpus, scratch = asked.folder / "release.tar.gz", asked.folder / "corpus", asked.folder / "scratch"
    damaged = write_release(release, asked.clips, asked.seed)
    command = [sys.executable, "-W", "ignore", "-m", "components.import_cv", str(release), "--corpus_dir", str(corpus)]
    ended = watch(command, corpus, scratch, asked.folder / "import.log", {"PYTHONPATH": str(ROOT)}, asked.every_s)
    release.unlink()
    if ended.code:
        return ended, [f"exit code {ended.code}: {ended.errors[-800:]}"]
    problems = grown(ended.samples) + left_over(ended, corpus, scratch)
    return ended, problems + check_corpus(corpus, asked.clips, damaged)


def run_training(asked: argparse.Namespace) -> tuple[Watched, list[str]]:
    """Train on the shortest of them."""
    checkpoint, scratch = asked.folder / "checkpoint", asked.folder / "scratch"
    command = [
        *(sys.executable, "-W", "ignore", "-m", "components.train", "--corpus", str(asked.folder / "corpus")),
        *("--checkpoint_dir", str(checkpoint), "--n_hidden", str(asked.n_hidden), "--recipe", "peers"),
        *("--train_batch_size", str(BATCH), "--limit_train", str(asked.steps // EPOCHS * BATCH)),
        *("--limit_dev", str(DEV_CLIPS), "--epochs", str(EPOCHS), "--checkpoint_secs", str(asked.checkpoint_secs)),
    ]
    variables = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = watch(command, checkpoint, scratch, asked.folder / "train.log", variables, asked.every_s)
    if ended.code:
        return ended, [f"exit code {ended.code}: {ended.errors[-800:]}"]
    problems = grown(ended.samples) + left_over(ended, checkpoint, scratch)
    return ended, problems + check_training(checkpoint, asked.steps // EPOCHS * EPOCHS)


def soak(asked: argparse.Namespace) -> list[str]:
    """Do both, print the table, write the picture; what is wrong."""
    shutil.rmtree(asked.folder, ignore_errors=True)
    names = {f"import of {asked.clips:,} clips": run_import, f"training of {asked.steps:,} steps": run_training}
    ended: dict[str, Watched] = {}
    problems = []
    for name, act in names.items():
        started = time.monotonic()
        ended[name], found = act(asked)
        problems += [f"{name}: {problem}" for problem in found]
        lines = rows(name, ended[name]) if at_work(ended[name].samples) else [f"{name}: no sample of the work"]
        print(*lines, f"in all {time.monotonic() - started:,.0f} s\n", sep="\n", flush=True)
        if ended[name].code:
            break
    (asked.folder / "soak.svg").write_text(chart({name: one.samples for name, one in ended.items()}), "utf-8")
    for name in ("corpus", "checkpoint"):
        shutil.rmtree(asked.folder / name, ignore_errors=True)
    return problems


def main() -> None:
    """Run, say what is wrong, and end with 1 if anything is."""
    problems = soak(arguments())
    print(*(problems or ["nothing grew, and nothing is left over"]), sep="\n")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
