"""What the recipes of components.train come to: WER, CPU and wall seconds, by corpus and seed, beside Coqui STT 1.4.0.

    python benchmarks/training/recipes.py [--corpora es en] [--recipes peers from-scratch from-scratch@8]
                                 [--seeds 1 2 3] [--clips 1500] [--epochs 30] [--flags "--train_batch_size 32"]
                                 [--scorer] [--coqui]
    python benchmarks/training/recipes.py --corpora en-room --clips 300 --epochs 5 --recipes peers fine-tune \\
                                 --base CHECKPOINT
    python benchmarks/training/recipes.py --corpora ru --clips 300 --recipes peers transfer --base CHECKPOINT

n_hidden 256 unless there is a base. `NAME@EPOCHS` has epochs of its own. The corpora are generated
(spoken_corpus.py); a folder with train.csv, dev.csv, test.csv and alphabet.txt is taken as it is. The
checkpoint that a run holds for its best is tested by `components.evaluate`, greedily, and with `--scorer` also with a
scorer of the training transcripts (which needs KenLM's programs: components/build_scorer/build_kenlm.sh build/kenlm)
and its weights searched on dev (20 trials); Coqui STT's as well, with the peers'
flags and clips from short to long, as it has them. Every finished run is recorded in `--work`: the same command goes on
with those that are missing, and prints the table.
"""

import argparse
import json
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from spoken_corpus import LANGUAGES, ROOT, make_corpus
from train_accuracy import BATCH, COQUI_TIMEOUT_S, ENVIRONMENT, LEARNING_RATE, N_HIDDEN

from tests.peers.environments import find

HELD_OUT = (150, 400)  # clips of dev and test
COQUI, TRIALS = "coqui", 20


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", default=["es", "en"])
    parser.add_argument("--recipes", nargs="+", default=["peers", "from-scratch"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--clips", type=int, default=1500, help="for training")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--flags", default="", help="further flags of this trainer")
    parser.add_argument("--base", type=Path, help="checkpoint to start from")
    parser.add_argument("--coqui", action="store_true")
    parser.add_argument("--scorer", action="store_true")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmarks" / "recipes")
    given = parser.parse_args()
    results = []
    for corpus in (_corpus(given, name) for name in given.corpora):
        for recipe in [*given.recipes, *([COQUI] if given.coqui else [])]:
            results += [_run(given, corpus, recipe, seed) for seed in given.seeds]
    report(results)


def _corpus(given: argparse.Namespace, name: str) -> Path:
    if name not in LANGUAGES:
        return Path(name)
    return make_corpus(given.work / f"{name}-{given.clips}", name, given.clips + sum(HELD_OUT), HELD_OUT)


def _run(given: argparse.Namespace, corpus: Path, recipe: str, seed: int) -> dict[str, Any]:
    """One training and its tests, or what was recorded of it."""
    name, _, epochs = recipe.partition("@")
    count = int(epochs or given.epochs)
    label = f"{corpus.name}-{name}@{count}{''.join(given.flags.split())}-{seed}"
    folder = given.work / "runs" / (f"{label}-from-{given.base.name}" if given.base else label)
    if (folder / "result.json").is_file():
        return json.loads((folder / "result.json").read_text())
    print(f"== {folder.name}", flush=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    flags = _flags(given, corpus, folder / "checkpoint", seed, count)
    if name == COQUI:
        peers = [*flags, "--dev_batch_size", str(BATCH), "--train_batch_size", str(BATCH)]
        peers += ["--learning_rate", str(LEARNING_RATE)]
        find("coqui-training").drive("coqui_trainer", "train", *peers, timeout_s=COQUI_TIMEOUT_S)
    else:
        further = ["--recipe", name, *shlex.split(given.flags)]
        subprocess.run([sys.executable, "-m", "components.train", *flags, *further], **_here())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {"corpus": corpus.name, "recipe": name, "epochs": count, "seed": seed, "cpu_s": round(spent)}
    result |= {"wall_s": round(time.monotonic() - started), **_test(given, corpus, folder)}
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result), flush=True)
    return result


def _flags(given: argparse.Namespace, corpus: Path, checkpoint: Path, seed: int, epochs: int) -> list[str]:
    values: dict[str, Any] = {
        "train_files": corpus / "train.csv",
        "dev_files": corpus / "dev.csv",
        "alphabet_config_path": _alphabet(corpus),
        "epochs": epochs,
        "random_seed": seed,
    }
    if given.base:
        values |= {"load_checkpoint_dir": given.base, "save_checkpoint_dir": checkpoint, "drop_source_layers": "auto"}
    else:
        values |= {"checkpoint_dir": checkpoint, "n_hidden": N_HIDDEN}
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


def _alphabet(corpus: Path) -> Path:
    """The corpus' own; all of English has the same letters, so that a model of one corpus can be tuned to another."""
    if not corpus.name.startswith("en-"):
        return corpus / "alphabet.txt"
    path = corpus.parent / "english.txt"
    path.write_text("\n".join((" ", *"abcdefghijklmnopqrstuvwxyz")) + "\n", encoding="utf-8")
    return path


def _here() -> dict[str, Any]:
    return {"cwd": ROOT, "env": ENVIRONMENT, "check": True, "stdout": subprocess.DEVNULL}


def _test(given: argparse.Namespace, corpus: Path, folder: Path) -> dict[str, float]:
    """WER and CER without a scorer, and the WER with one."""
    command = [sys.executable, "-m", "components.evaluate", "--checkpoint_dir", str(folder / "checkpoint")]
    command += ["--load_evaluate", "best", "--test_files", str(corpus / "test.csv"), "--report_count", "0"]
    command += ["--bootstrap_samples", "0"]
    ways = {"greedy": ["--decoder", "greedy"]}
    if given.scorer:
        search = ["--n_trials", str(TRIALS), "--dev_files", str(corpus / "dev.csv")]
        ways["scorer"] = ["--scorer_path", str(_scorer(corpus)), *search]
    found = {}
    for name, flags in ways.items():
        place = folder / f"evaluation-{name}"
        subprocess.run([*command, *flags, "--evaluation", str(place)], **_here())
        found[name] = json.loads((place / "scores.json").read_text())
    rates = {"wer": found["greedy"]["wer"], "cer": found["greedy"]["cer"]}
    return rates | ({"scorer_wer": found["scorer"]["wer"]} if given.scorer else {})


def _scorer(corpus: Path) -> Path:
    made = corpus.parent / f"{corpus.name}-scorer"
    if not (made / "scorer.json").is_file():
        command = [sys.executable, "-m", "components.build_scorer", "--train_files", str(corpus / "train.csv")]
        subprocess.run([*command, "--alphabet", str(_alphabet(corpus)), "--output_dir", str(made)], **_here())
    return made


def report(results: list[dict[str, Any]]) -> None:
    """A row a corpus and recipe: the mean over the seeds, and each seed."""
    print("| corpus | recipe | epochs | test WER, greedy | each seed | with a scorer | CPU s | wall s |")
    print("|---|---|---|---|---|---|---|---|")
    rows: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for result in results:
        rows.setdefault((result["corpus"], result["recipe"], result["epochs"]), []).append(result)
    for (corpus, recipe, epochs), runs in rows.items():
        each = ", ".join(f"{run['wer']:.1%}" for run in runs)
        scorer = [run["scorer_wer"] for run in runs if "scorer_wer" in run]
        seconds = " | ".join(f"{mean(run[name] for run in runs):.0f}" for name in ("cpu_s", "wall_s"))
        wer = f"{mean(run['wer'] for run in runs):.1%}"
        print(f"| {corpus} | {recipe} | {epochs} | {wer} | {each} | {_mean(scorer)} | {seconds} |")


def _mean(rates: list[float]) -> str:
    return f"{mean(rates):.1%}" if rates else "-"


if __name__ == "__main__":
    main()
