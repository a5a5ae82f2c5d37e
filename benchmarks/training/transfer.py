"""Does transfer learning pay? An English checkpoint taken to Russian (another alphabet), against a start from scratch.

    python benchmarks/training/transfer.py [--base CHECKPOINT] [--clips 300] [--epochs 30] [--plot FILE.png]

Both runs have the same data, epochs, seed and settings; the geometry is the checkpoint's. Without `--base` the English
model is trained first (2000 clips of 100 words, n_hidden 192, 25 epochs). Prints the epochs that each needs to several
dev losses, and draws the two curves. What was done before in `--work` is not done again, and a run that was stopped
goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from spoken_corpus import ROOT, make_corpus


def main() -> None:
    """Make the corpus, train twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmarks" / "transfer")
    parser.add_argument("--plot", type=Path, help="where the curves go, as PNG")
    options = parser.parse_args()
    base = options.base or english(options)
    if not (base / "best_dev_checkpoint").is_file():
        raise SystemExit(f"{base}: no checkpoint with a best_dev_checkpoint")
    work = options.work / f"{options.clips}-{options.epochs}-{options.seed}-from-{base.name}"
    corpus = make_corpus(options.work / f"ru-{options.clips}", "ru", options.clips)
    n_hidden = json.loads((base / "model.json").read_text())["geometry"]["n_hidden"]
    common = ("--epochs", str(options.epochs), "--random_seed", str(options.seed))
    runs = {
        "from scratch": train(corpus, work / "scratch", *common, "--n_hidden", str(n_hidden)),
        "from English": train(corpus, work / "transfer", *common, "--load_checkpoint_dir", str(base)),
    }
    report(runs)
    if options.plot:
        plot(runs, options.plot)


def english(options: argparse.Namespace) -> Path:
    """The checkpoint to start from."""
    corpus = make_corpus(options.work / "en-2000", "en", 2000)
    train(corpus, options.work / "english", "--epochs", "25", "--n_hidden", "192")
    return options.work / "english"


def train(corpus: Path, save: Path, *more: str) -> list[float]:
    """The dev loss of every epoch."""
    flags = ["--train_files", str(corpus / "train.csv"), "--dev_files", str(corpus / "dev.csv")]
    flags += ["--save_checkpoint_dir", str(save), "--train_batch_size", "16", "--skip_batch_test", *more]
    if not (save / "history.json").is_file():
        command = [sys.executable, "-m", "components.train", *flags]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, check=True)
    return [epoch["dev_loss"] for epoch in json.loads((save / "history.json").read_text())["epochs"]]


def epochs_to(losses: list[float], target: float) -> int | None:
    """The first epoch (from 1) whose dev loss is no higher."""
    return next((number for number, loss in enumerate(losses, 1) if loss <= target), None)


def report(runs: dict[str, list[float]]) -> None:
    """Epochs to the dev loss that each run has after a quarter, half and all of its epochs from scratch."""
    scratch = runs["from scratch"]
    targets = [min(scratch[:count]) for count in (len(scratch) // 4, len(scratch) // 2, len(scratch))]
    print(f"| epochs to a dev loss of | {' | '.join(f'{target:.2f}' for target in targets)} | best dev loss |")
    print(f"|---|{'---|' * (len(targets) + 1)}")
    for name, losses in runs.items():
        needed = (epochs_to(losses, target) or f"more than {len(losses)}" for target in targets)
        print(f"| {name} | {' | '.join(map(str, needed))} | {min(losses):.2f} |")


def plot(runs: dict[str, list[float]], path: Path) -> None:
    """The dev loss over the epochs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2), dpi=100, layout="constrained")
    for name, losses in runs.items():
        axes.plot(range(1, len(losses) + 1), losses, marker=".", label=name)
    axes.set(xlabel="epoch", ylabel="dev loss (CTC, nats a clip)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Software": ""})


if __name__ == "__main__":
    main()
