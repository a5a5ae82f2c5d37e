"""Making `.scorer` files: a KenLM binary, the default weights, and the vocabulary as an automaton."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.alphabet import Alphabet
from speech.decoding.dictionary import build_dictionary, serialize
from speech.decoding.language_model import read_layout
from speech.decoding.query import LanguageModelReader
from speech.decoding.scorer import (
    CODE_POINTS,
    HIGHEST_WEIGHT,
    MAGIC,
    RECORD,
    VERSION,
    WORDS,
    is_weight,
    read_record,
    require_word_ends,
)
from speech.errors import InputError
from speech.storage.files import atomic_path

SPECIAL_WORDS = frozenset({"<s>", "</s>", "<unk>"})


@dataclass(frozen=True)
class Vocabulary:
    """Words that an alphabet can spell, and those that it cannot."""

    words: tuple[str, ...]
    refused: tuple[str, ...]
    states: int
    arcs: int


def looks_like_code_points(words: Iterable[str]) -> bool:
    """Whether the units of a vocabulary are code points: every word is a single one."""
    return all(len(word) == 1 for word in words)


def write_scorer(
    language_model: str | Path,
    words: Iterable[str],
    alphabet: Alphabet,
    package: str | Path,
    default_alpha: float,
    default_beta: float,
    *,
    units: str = WORDS,
) -> Vocabulary:
    """Package a KenLM binary (built with `-v`) and a vocabulary for `alphabet`, atomically.

    Words with characters that the alphabet lacks are left out, as a transcript cannot hold them. In bytes mode the
    words are code points, whatever `units` says, and for CHARACTERS symbols of the alphabet. Raises InputError for a
    model that clients could not read, for words and an alphabet without a space, or if no word is left.
    """
    if alphabet.bytes_mode:
        units = CODE_POINTS
    elif units == WORDS:
        require_word_ends(alphabet, package)
    source = Path(language_model)
    if not source.is_file():
        raise InputError(f"{source}: no such language model: expected the binary that build_binary writes")
    size = source.stat().st_size
    data = np.memmap(source, np.uint8, "r") if size else np.empty(0, np.uint8)
    layout = read_layout(data, source)
    if size != layout.end:
        raise InputError(f"{source}: {size - layout.end} bytes behind the language model: is it a scorer already?")
    reader = LanguageModelReader(data, layout)
    spelled, refused = spell(words, alphabet, units)
    known = next((word for word in spelled if reader.index(word.encode("utf-8"))), None)
    if known is None:
        raise InputError(
            f"{source}: none of the {len(spelled)} words that the alphabet can spell is in the language model "
            f"({len(refused)} words cannot be spelled): is it the right vocabulary and alphabet?"
        )
    dictionary = build_dictionary(spelled.values())
    record = _record(units != WORDS, default_alpha, default_beta)
    with atomic_path(package) as temporary, temporary.open("wb") as file:
        with source.open("rb") as model:
            shutil.copyfileobj(model, file, 1 << 22)
        file.write(record)
        file.write(serialize(dictionary, size + len(record)))
    return Vocabulary(tuple(spelled), tuple(refused), len(dictionary), len(dictionary.labels))


def spell(words: Iterable[str], alphabet: Alphabet, units: str = WORDS) -> tuple[dict[str, Sequence[int]], list[str]]:
    """Each word's labels in the automaton (alphabet label + 1; words end with the space), and the words without any."""
    spelled: dict[str, Sequence[int]] = {}
    refused: list[str] = []
    labels = {symbol: label + 1 for symbol, label in alphabet.labels.items()}
    for word in words:
        if not word or word in SPECIAL_WORDS or word in spelled:
            continue
        if alphabet.bytes_mode:
            spelled[word] = word.encode("utf-8")
            continue
        spelling = [labels.get(character, 0) for character in word]
        if 0 in spelling or (units != WORDS and len(spelling) != 1):
            refused.append(word)
        else:
            spelled[word] = [*spelling, labels[" "]] if units == WORDS else spelling
    return spelled, refused


def set_default_weights(package: str | Path, alpha: float, beta: float) -> None:
    """Change the weights that clients use unless told otherwise, in place of the old ones, atomically."""
    path = Path(package)
    if not path.is_file():
        raise InputError(f"{path}: no such scorer: expected a .scorer file")
    data = np.memmap(path, np.uint8, "r")
    end = read_layout(data, path).end
    bytes_mode, _, _ = read_record(data, end, path)
    with atomic_path(path) as temporary:
        shutil.copyfile(path, temporary)
        with temporary.open("r+b") as file:
            file.seek(end)
            file.write(_record(bytes_mode, alpha, beta))


def _record(bytes_mode: bool, alpha: float, beta: float) -> bytes:
    if not (is_weight(alpha) and is_weight(beta)):
        raise InputError(
            f"default_alpha {alpha}, default_beta {beta}: expected numbers between -{HIGHEST_WEIGHT:g} and "
            f"{HIGHEST_WEIGHT:g}"
        )
    return RECORD.pack(MAGIC, VERSION, bytes_mode, float(np.float32(alpha)), float(np.float32(beta)))
