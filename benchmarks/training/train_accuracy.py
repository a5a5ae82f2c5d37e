"""Test WER of models trained here and by Coqui STT 1.4.0: same CSVs, geometry, batch, learning rate and epochs.

    python benchmarks/training/train_accuracy.py [--clips 3000] [--epochs 40] [--seeds 1 2 3]
                                        [--only ours|coqui] [--small]
                                        [--flags "--automatic_mixed_precision true"]
                                        [--coqui_flags "--shuffle_batches true"]

n_hidden 256, batch 32, learning rate 0.001; what is not named has each trainer's own default (Coqui STT takes the clips
from short to long in every epoch unless --shuffle_batches is true). The best-dev checkpoints of both are tested by
`components.evaluate` with greedy decoding and no scorer, so that only the weights differ; their dev losses are computed
by one code as well. Coqui STT runs in an environment of its own (tests/peers). Every finished run is recorded in
`--work`: the same command goes on with those that are missing, and prints the table. `--small` is a trial of the
machinery: 240 clips, 3 epochs, two seeds.
"""

import argparse
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from spoken_corpus import ROOT, make_corpus

from tests.peers.environments import find

N_HIDDEN, BATCH, LEARNING_RATE = 256, 32, 0.001
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
COQUI_TIMEOUT_S = 24 * 3600


def main() -> None:
    """Make the corpus, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", choices=("ours", "coqui"))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--flags", default="", help="further flags of this trainer")
    parser.add_argument("--coqui_flags", default="", help="further flags of Coqui STT's trainer")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmarks" / "train_accuracy")
    options = parser.parse_args()
    if options.small:
        options.clips, options.epochs, options.seeds = 240, 3, options.seeds[:2]
    corpus = make_corpus(options.work / f"en-{options.clips}", "en", options.clips)
    runs = options.work / f"runs-{options.clips}-{options.epochs}"
    trainers = {"ours": train_here, "coqui": train_with_coqui}
    for seed in options.seeds:
        for name, train in trainers.items():
            further = options.coqui_flags if name == "coqui" else options.flags
            label = f"{name}{''.join(further.split())}-{seed}"
            folder = runs / label
            if options.only not in (None, name) or (folder / "result.json").is_file():
                continue
            print(f"== {label}", flush=True)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.monotonic()
            train(options, corpus, folder / "checkpoint", seed)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            result = {"trainer": label.rsplit("-", 1)[0], "seed": seed, **test(corpus, folder)}
            result |= {"cpu_s": round(cpu_s, 1), "wall_s": round(time.monotonic() - started, 1)}
            (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
            print(json.dumps(result), flush=True)
    report([json.loads(path.read_text()) for path in sorted(runs.glob("*/result.json"))])


def flags(options: argparse.Namespace, corpus: Path, checkpoint: Path, seed: int) -> list[str]:
    """What both trainers are told."""
    values = {
        "train_files": corpus / "train.csv",
        "dev_files": corpus / "dev.csv",
        "alphabet_config_path": corpus / "alphabet.txt",
        "checkpoint_dir": checkpoint,
        "n_hidden": N_HIDDEN,
        "train_batch_size": BATCH,
        "dev_batch_size": BATCH,
        "learning_rate": LEARNING_RATE,
        "epochs": options.epochs,
        "random_seed": seed,
    }
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


def train_here(options: argparse.Namespace, corpus: Path, checkpoint: Path, seed: int) -> None:
    """A run that was stopped goes on."""
    command = [sys.executable, "-m", "components.train", *flags(options, corpus, checkpoint, seed)]
    command += shlex.split(options.flags)
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True)


def train_with_coqui(options: argparse.Namespace, corpus: Path, checkpoint: Path, seed: int) -> None:
    """A run that was stopped starts again: Coqui STT counts epochs from its start."""
    shutil.rmtree(checkpoint, ignore_errors=True)
    arguments = [*flags(options, corpus, checkpoint, seed), *shlex.split(options.coqui_flags)]
    answer = find("coqui-training").drive("coqui_trainer", "train", *arguments, timeout_s=COQUI_TIMEOUT_S)
    (checkpoint / "epochs.json").write_text(json.dumps(answer["epochs"]))
    if len(answer["epochs"]) != options.epochs:
        raise SystemExit(f"Coqui STT trained {len(answer['epochs'])} epochs, not {options.epochs}")


def test(corpus: Path, folder: Path) -> dict[str, Any]:
    """WER, CER and loss of the best-dev checkpoint on the test set, and its dev loss."""
    scores = {}
    for name in ("test", "dev"):
        evaluation = folder / f"evaluation-{name}"
        command = [sys.executable, "-m", "components.evaluate", "--checkpoint_dir", str(folder / "checkpoint")]
        command += ["--load_evaluate", "best", "--test_files", str(corpus / f"{name}.csv"), "--decoder", "greedy"]
        command += ["--evaluation", str(evaluation), "--report_count", "0", "--bootstrap_samples", "0"]
        subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
        scores[name] = json.loads((evaluation / "scores.json").read_text())
    return {
        "wer": scores["test"]["wer"],
        "cer": scores["test"]["cer"],
        "test_loss": scores["test"]["loss"],
        "dev_loss": scores["dev"]["loss"],
    }


def report(results: list[dict[str, Any]]) -> None:
    """A row a run, and mean and deviation of each trainer."""
    print("| trainer | seed | best dev loss | test WER | test CER | CPU |")
    print("|---|---|---|---|---|---|")
    for result in results:
        numbers = (
            f"{result['dev_loss']:.3f} | {result['wer']:.2%} | {result['cer']:.2%} | {result['cpu_s'] / 60:.1f} min"
        )
        print(f"| {result['trainer']} | {result['seed']} | {numbers} |")
    for trainer in sorted({result["trainer"] for result in results}):
        rates = [result["wer"] for result in results if result["trainer"] == trainer]
        spread = f" ± {stdev(rates):.2%} (standard deviation)" if len(rates) > 1 else ""
        print(f"\n{trainer}: test WER {mean(rates):.2%}{spread}, {len(rates)} seeds", end="")
    print()


if __name__ == "__main__":
    main()
