"""Damage files and look for anything but a refusal: `python -m tests.faults.fuzz PARSER COUNT SEED`.

The inputs are tried in a child process with limits of memory and time, which is started again behind one that crashes;
what crashes it, or raises another error than InputError, is kept in build/fuzz/PARSER. With `--guided`, Atheris
(`uv pip install atheris`) chooses the inputs by the lines that they reach, libFuzzer underneath. `scorer` is the
decoder in C++, compiled with the address and the undefined-behaviour sanitizer (tests/speech/decoding/fuzz_scorers.py).
"""

import argparse
import contextlib
import faulthandler
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from speech.errors import InputError
from tests.faults.fuzz_targets import FUZZ_TARGETS, FuzzTarget

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "build" / "fuzz"
A_CHILD = 500  # inputs
SECONDS = 20  # for one input
MEMORY_BYTES = 3 << 30
MOST_BYTES = 1 << 16  # of an input
NUMBERS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def mutated(seeds: list[bytes], numbers: np.random.Generator) -> bytes:
    """One of the whole files with some damage; headers at both ends are hit as often as all the rest."""
    data = bytearray(seeds[int(numbers.integers(len(seeds)))])
    for _ in range(int(numbers.choice([1, 1, 2, 3, 8, 30]))):
        if not data:
            break
        ends = ((0, 200), (0, len(data)), (len(data) - 300, len(data)))[int(numbers.integers(3))]
        at = int(numbers.integers(max(0, ends[0]), max(1, min(len(data), ends[1]))))
        kind, width = int(numbers.integers(8)), int(numbers.choice([1, 2, 4, 8]))
        if kind <= 1:
            data[at] ^= 1 << int(numbers.integers(8))
        elif kind == 2:
            data[at] = int(numbers.integers(256))
        elif kind == 3:
            value = int(numbers.choice(np.array(NUMBERS, np.uint64))) % (1 << 8 * width)
            data[at : at + width] = value.to_bytes(width, ("little", "big")[int(numbers.integers(2))])
        elif kind == 4:
            del data[at : at + int(numbers.integers(1, 40))]
        elif kind == 5:
            data[at:at] = data[at : at + int(numbers.integers(1, 40))]
        elif kind == 6:
            other = seeds[int(numbers.integers(len(seeds)))]
            data[at : at + 64] = other[at : at + 64]
        elif numbers.random() < 0.3:
            del data[at:]
    return bytes(data[:MOST_BYTES])


def try_one(target: FuzzTarget, data: bytes, folder: Path) -> str:
    """Use one input in an empty folder; what was raised besides InputError, as text."""
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    signal.alarm(SECONDS)
    try:
        target.use(data, folder)
    except InputError:
        return ""
    except BaseException:  # whatever it is
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    return ""


def fuzz(name: str, count: int, seed: int, found: Path = FOUND) -> tuple[int, list[Path]]:
    """Try `count` inputs; how many ran, and the files of those that ended badly."""
    target = FUZZ_TARGETS[name]
    bad: list[Path] = []
    ran = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder, now = Path(scratch, "work"), Path(scratch, "now")
        folder.mkdir()
        seeds = target.seeds(Path(scratch, "seeds"))
        for whole in seeds:
            assert not (error := try_one(target, whole, folder)), f"an undamaged file: {error}"
        while ran < count:
            first, last = ran, min(count, ran + A_CHILD)
            child = os.fork()
            if child == 0:
                _try_some(target, seeds, range(first, last), seed, folder, now)
            _, status = os.waitpid(child, 0)
            at, *text = now.read_text(encoding="utf-8").split("\n", 1)
            ran = int(at) + 1
            if status:
                data = mutated(seeds, np.random.default_rng((seed, int(at))))
                bad.append(_keep(name, data, text[0] if text else f"signal or exit status {status}", found))
    return ran, bad


def _try_some(target: FuzzTarget, seeds: list[bytes], numbers: range, seed: int, folder: Path, now: Path) -> None:
    """In a child: never returns. `now` says which input is at work, and what was raised."""
    code = 0
    try:
        faulthandler.enable(file=os.dup(2))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C say there what they think of each file
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        descriptor = os.open(now, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for number in numbers:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(number).encode(), 0)
            with contextlib.redirect_stdout(None):
                error = try_one(target, mutated(seeds, np.random.default_rng((seed, number))), folder)
            if error:
                os.pwrite(descriptor, f"{number}\n{error}".encode(), 0)
                code = 1
                break
    finally:
        os._exit(code)


def _keep(name: str, data: bytes, what: str, found: Path) -> Path:
    path = found / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"{path}: {what}", file=sys.stderr, flush=True)
    return path


def fuzz_guided(name: str, count: int, seed: int) -> None:
    """The same with Atheris, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["speech", "components"]):
        target = FUZZ_TARGETS[name]
        corpus = FOUND / name / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, whole in enumerate(target.seeds(FOUND / name / "seeds")):
            (corpus / f"seed-{number}").write_bytes(whole)
            with contextlib.suppress(InputError):
                target.use(whole, _scratch())  # imports what it uses, instrumented
    folder = _scratch()

    def one(data: bytes) -> None:
        with contextlib.suppress(InputError):
            target.use(data, folder)

    flags = [f"-atheris_runs={count}", f"-seed={seed}", f"-max_len={MOST_BYTES}", f"-artifact_prefix={FOUND / name}/"]
    atheris.Setup([sys.argv[0], str(corpus), *flags, "-rss_limit_mb=3000", f"-timeout={SECONDS}"], one)
    atheris.Fuzz()


def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="speechmill-fuzz-"))


def main() -> None:
    """Run, say what was found, and end with 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("parser", choices=[*FUZZ_TARGETS, "scorer"])
    parser.add_argument("count", type=int, nargs="?", default=50_000)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--guided", action="store_true", help="by Atheris, which has to be installed")
    asked = parser.parse_args()
    started = time.monotonic()
    if asked.parser == "scorer":
        program = [sys.executable, "-W", "ignore", "-m", "tests.speech.decoding.fuzz_scorers"]
        sys.exit(subprocess.run([*program, str(asked.count), str(asked.seed), "sanitized"], cwd=ROOT).returncode)
    if asked.guided:
        fuzz_guided(asked.parser, asked.count, asked.seed)
    ran, bad = fuzz(asked.parser, asked.count, asked.seed)
    seconds = time.monotonic() - started
    print(f"{asked.parser}: {ran} inputs, seed {asked.seed}, {len(bad)} ended badly, {seconds:.0f} s")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
