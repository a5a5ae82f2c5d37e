"""Damage scorers in many ways and use what still opens: `python -m tests.speech.decoding.fuzz_scorers COUNT SEED`.

A program of its own, because what it looks for is the death of the process. Prints how many scorers were refused and
how many were used; any exception but InputError ends it.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from speech.decoding import beam_search
from speech.decoding.portable import SearchSettings, decode
from speech.decoding.query import LanguageModelReader
from speech.decoding.scorer import MAGIC, Scorer
from speech.errors import InputError
from tests.fixtures.decoding import cases
from tests.fixtures.decoding.emissions import HARD, synthesize
from tests.fixtures.decoding.texts import make_sentences, make_words


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
        for number in range(count):
            name = list(sources)[number % len(sources)]
            path = Path(folder) / f"{number}.scorer"
            path.write_bytes(damage(contents[name], numbers))
            outcomes[use(path, name, numbers)] += 1
            path.unlink()
    print(*(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())), sep=", ")


if __name__ == "__main__":
    main()
