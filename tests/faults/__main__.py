"""All faults, and a table of what became of them: `python -m tests.faults --seed 1 --kills 200 ...`.

Every kind has a count, 0 leaves it out. The same seed and counts ask for the same faults; at which instruction a kill
comes is up to the machine. Ends with 1 if anything was lost.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.faults import damage, kills, store_faults, surroundings
from tests.faults.ledger import Ledger
from tests.faults.warm import Steps
from tests.faults.work import Workshop

OTHERS = ("freeze", "openvino", "evaluate", "publish")
CLOCKS = ("import", "train", "publish", "freeze")
A_RUN = 5  # kills of a DAG before it may finish


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=200, help="of import and train, half each")
    parser.add_argument("--kills_others", type=int, default=40, help="of freeze, openvino, evaluate and publish")
    parser.add_argument("--kills_dag", type=int, default=50, help="of the whole pipeline on this machine")
    parser.add_argument("--store", type=int, default=2000, help="faults of an object store")
    parser.add_argument("--store_steps", type=int, default=40, help="of these under import, train and publish")
    parser.add_argument("--damaged", type=int, default=5000, help="files damaged between steps, and opened")
    parser.add_argument("--damaged_steps", type=int, default=90, help="the same, and the whole step run on them")
    parser.add_argument("--full_disks", type=int, default=60)
    parser.add_argument("--clocks", type=int, default=40)
    parser.add_argument("--steps", default="", help="steps that are disturbed, with commas between; empty: all")
    return parser.parse_args(given)


def run(asked: argparse.Namespace, folder: Path) -> Ledger:
    """Make the faults that the command line asks for."""
    ledger = Ledger()
    numbers = np.random.default_rng(asked.seed)

    def say(what: str) -> None:
        print(f"\n{time.strftime('%H:%M:%S')} {what}\n{ledger}", flush=True)

    clock = surroundings.clock_library(folder / "clock") if asked.clocks else None
    with contextlib.ExitStack() as stack:
        if asked.store or asked.store_steps:
            store, _ = stack.enter_context(store_faults.store_with_faults())
        if asked.store:
            ledger.merge(store_faults.disturb(store, folder / "store", asked.store, asked.seed))
            say("object store")
        if not any(count for name, count in vars(asked).items() if name not in ("seed", "steps", "store")):
            return ledger
        steps = stack.enter_context(Steps(folder / "warm", clock))
        workshop = Workshop(folder / "work", steps)
        chosen = tuple(filter(None, asked.steps.split(","))) or tuple(workshop.works())
        works = tuple(workshop.works())
        last = max(works.index(name) for name in chosen)
        workshop.make(*works[: last + 1])
        if asked.store_steps:
            store_faults.disturb_steps(store, workshop, asked.store_steps, numbers, ledger)
            say("object store under steps")
        shares = {
            "import": asked.kills // 2,
            "train": asked.kills // 2,
            **dict.fromkeys(OTHERS, asked.kills_others // 4),
        }
        for name, count in shares.items():
            if count and name in chosen:
                kills.kill_step(workshop, name, count, numbers, ledger)
                say(f"kills of {name}")
        for name in shares:
            if asked.full_disks // len(shares) and name in chosen:
                surroundings.fill_disk(workshop, name, asked.full_disks // len(shares), numbers, ledger)
                say(f"full disk under {name}")
        for name in CLOCKS:
            if asked.clocks // len(CLOCKS) and clock is not None and name in chosen:
                surroundings.move_clock(workshop, name, asked.clocks // len(CLOCKS), numbers, ledger)
                say(f"moved clock under {name}")
        if asked.damaged and "publish" in chosen:
            damage.disturb_doors(workshop, asked.damaged, numbers, ledger)
            say("damaged files")
        if asked.damaged_steps:
            damage.disturb(workshop, asked.damaged_steps, numbers, ledger, chosen)
            say("steps on damaged files")
        if asked.kills_dag:
            kills.kill_dag(workshop, asked.kills_dag, A_RUN, numbers, ledger)
    return ledger


def main() -> None:
    """Run, and print the table."""
    asked = arguments()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background command, and so all that it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="speechmill-faults-") as folder:
        ledger = run(asked, Path(folder))
    print(f"\nseed {asked.seed}\n{ledger}")
    sys.exit(1 if ledger.lost else 0)


if __name__ == "__main__":
    main()
