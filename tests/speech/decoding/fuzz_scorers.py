"""Damage scorers in many ways and use what still opens: `python -m tests.speech.decoding.fuzz_scorers COUNT SEED`.

A program of its own, because what it looks for is the death of the process. Prints how many scorers were refused and
how many were used; any exception but InputError ends it. With `sanitized` behind the seed, the decoder is compiled
with the address and the undefined-behaviour sanitizer, so that a wrong index ends it at once. Every other scorer that
opens is given weights, boosts and emissions that the checks in Python would refuse: compiled code is safe by itself.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speech.decoding import beam_search, native
from speech.decoding.portable import SearchSettings, decode
from speech.decoding.query import LanguageModelReader
from speech.decoding.scorer import MAGIC, Scorer
from speech.errors import InputError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.emissions import HARD, synthesize
from tests.fixtures.decoding.texts import make_sentences, make_words

EXTREMES = (float("nan"), float("inf"), -float("inf"), -1e38, 1e38, -3.4e38, 3.4e38, -1e300, 1e-45, 0.0, -1.0, 1.5)
SANITIZERS = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all", "-g")


@dataclass(frozen=True)
class _Built:
    """A library that is compiled already."""

    path: Path

    @contextlib.contextmanager
    def for_this_process(self) -> Iterator[Path]:
        yield self.path


def sanitize(folder: Path) -> None:
    """Use a decoder with sanitizers; starts this program again with their library in front of all others."""
    compiler = native.LIBRARY.command(folder)[0]
    run_time = subprocess.check_output([compiler, "-print-file-name=libasan.so"], text=True).strip()
    if os.environ.get("LD_PRELOAD") != run_time:
        # Python and numpy keep memory until the end, and threads of Python's own have no sanitizer in them.
        options = {"LD_PRELOAD": run_time, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **options})
    del os.environ["LD_PRELOAD"]  # the compiler is no part of this
    built = replace(native.LIBRARY, flags=SANITIZERS).build(folder)
    native.LIBRARY = _Built(built)  # type: ignore[assignment]


def damage(content: bytes, numbers: np.random.Generator) -> bytes:
    """One of: bits flipped, values overwritten, bytes removed or added, the end cut off."""
    data = bytearray(content)
    record = content.index(MAGIC)
    # Headers are small and matter most: hit them as often as all the rest.
    regions = [(0, 150), (150, record), (record, record + 140), (record + 140, len(data))]
    low, high = regions[int(numbers.integers(0, len(regions)))]
    for _ in range(int(numbers.choice([1, 1, 2, 5, 40]))):
        at = int(numbers.integers(low, min(high, len(data))))
        kind = int(numbers.integers(0, 6))
        if kind == 0:
            data[at] ^= 1 << int(numbers.integers(0, 8))
        elif kind == 1:
            data[at] = int(numbers.integers(0, 256))
        elif kind == 2:
            width = int(numbers.choice([2, 4, 8, 64]))
            data[at : at + width] = bytes([int(numbers.choice([0, 255, 127]))]) * len(data[at : at + width])
        elif kind == 3:
            value = int(numbers.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, len(data)]))
            data[at : at + 8] = value.to_bytes(8, "little")[: len(data[at : at + 8])]
        elif kind == 4 and len(data) > high:
            del data[at : at + int(numbers.integers(1, 9))]
        elif kind == 5 and numbers.random() < 0.3:
            del data[int(numbers.integers(1, len(data))) :]
            break
    return bytes(data)


def use(path: Path, name: str, numbers: np.random.Generator) -> str:
    """Open a scorer and decode with it, compiled and in Python."""
    alphabet = cases.BYTES_ALPHABET if name == "bytes" else cases.ALPHABET
    try:
        scorer = Scorer(None, None, path, alphabet)
    except InputError as error:
        if "\n" in str(error) or str(path) not in str(error):
            raise ValueError(f"not one line that names the file: {error}") from error
        return "refused"
    text = "".join(cases.CASES["bytes"].transcripts()[0]) if name == "bytes" else " ".join(_sentence(numbers))
    emissions = synthesize(alphabet.encode(text).tolist(), len(alphabet) + 1, HARD, int(numbers.integers(0, 1000)))
    beam_search.ctc_beam_search_decoder(emissions, alphabet, 30, scorer=scorer, num_results=3)
    if numbers.random() < 0.5:
        decode_extremes(scorer, emissions, numbers)
    reader = LanguageModelReader(scorer.data, scorer.layout)
    compiled = beam_search.native_scorer(scorer)
    words = _sentence(numbers)
    scores, indices = compiled.log10_probabilities(words, True)
    state = reader.begin_state()
    for index, score in zip(indices, scores, strict=True):
        expected, state = reader.score(state, int(index))
        assert np.float32(expected) == score or np.isnan(score), (words, expected, score)
    decode(emissions[:12], alphabet, SearchSettings(4, 1.0, 300, 1), scorer, {})
    return "used"


def decode_extremes(scorer: Scorer, emissions: np.ndarray, numbers: np.random.Generator) -> None:
    """Decode past the checks of the weights, the boosts and the emissions."""
    weights = scorer.alpha, scorer.beta
    scorer.alpha, scorer.beta = (float(numbers.choice(EXTREMES)) for _ in weights)
    words = [word.encode() for word in _sentence(numbers)]
    boosts = {word: float(numbers.choice(EXTREMES)) for word in words if numbers.random() < 0.3}
    odd = emissions.copy()
    odd[numbers.random(odd.shape) < numbers.choice([0.0, 0.0, 0.01])] = numbers.choice(EXTREMES).astype(odd.dtype)
    cutoff = float(numbers.choice([1.0, 0.99]))
    settings = SearchSettings(int(numbers.choice([1, 3, 30, 500])), cutoff, int(numbers.choice([1, 40])), 3)
    with np.errstate(all="ignore"):
        beam_search._decode([odd, odd[:7]], scorer.alphabet, settings, scorer, boosts, 1)
    scorer.alpha, scorer.beta = weights


def _sentence(numbers: np.random.Generator) -> list[str]:
    return make_sentences(make_words(cases.SMALL_COUNT, 2), 1, (2, 5), int(numbers.integers(0, 1000)))[0]


def main() -> None:
    """Count what happens."""
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    numbers = np.random.default_rng(seed)
    sources = {**cases.SMALL, "bytes": cases.BYTES}
    contents = {name: path.read_bytes() for name, path in sources.items()}
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[3:] == ["sanitized"]:
            sanitize(Path(folder))
        for number in range(count):
            name = list(sources)[number % len(sources)]
            path = Path(folder) / f"{number}.scorer"
            path.write_bytes(damage(contents[name], numbers))
            outcomes[use(path, name, numbers)] += 1
            path.unlink()
    print(*(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())), sep=", ")


if __name__ == "__main__":
    main()
