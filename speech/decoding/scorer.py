"""External scorers: DeepSpeech's and Coqui STT's `.scorer` files, read as they are.

A scorer is a KenLM binary, a short record (magic, version, bytes mode, default weights) and the vocabulary as an
automaton. It stores no alphabet: one that was built with another alphabet can only be told by what its labels spell.

Its units are words, which end at a space, or single code points: that is what its "bytes mode" says. Beside a model in
bytes output mode a code point is of up to four labels; beside one with an alphabet it is one label, and the clients
read such a scorer as well, if by accident: see `CLIENT_LABELS`.
"""

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speech.alphabet import Alphabet
from speech.decoding.dictionary import Dictionary, read_dictionary
from speech.decoding.language_model import LanguageModelLayout, read_layout
from speech.decoding.query import LanguageModelReader
from speech.errors import InputError

MAGIC = b"EIRT"  # the multi-character constant 'TRIE' of the clients, little-endian
VERSION = 6
RECORD = struct.Struct("<4siBdd")  # magic, version, bytes mode, alpha, beta
OUT_OF_VOCABULARY = -1000.0  # ln p of any n-gram with a word that the language model lacks
# Of alpha and beta. Weights that were ever of use are below 10; beyond this one, sums of scores overflow float32.
HIGHEST_WEIGHT = 1e6
WORDS, CODE_POINTS, CHARACTERS = UNITS = ("words", "code points", "characters")  # as the compiled decoder counts them
# Where the units are the labels of an alphabet, clients (ds_ctcdecoder 0.9.3, Coqui STT 1.4.0) still take a label for a
# UTF-8 byte when they ask whether a code point is complete: with labels from 127 on they leave characters unscored.
CLIENT_LABELS = 127
_SAMPLED_WORDS = 200


class Scorer:
    """A language model with its weights, and the vocabulary that a transcript is limited to.

    `alpha` weighs the language model, `beta` is added for each unit: `units` says of what; None stands for
    the default that the file records. Raises InputError unless the file is a complete scorer that fits `alphabet`.
    """

    def __init__(self, alpha: float | None, beta: float | None, path: str | Path, alphabet: Alphabet) -> None:
        self.path = Path(path)
        self.alphabet = alphabet
        if not self.path.is_file():
            raise InputError(f"{path}: no such scorer: expected a .scorer file")
        if self.path.stat().st_size == 0:
            raise InputError(f"{path}: the scorer is empty: copy or build it again")
        try:
            self.data: np.ndarray = np.memmap(self.path, np.uint8, "r")
        except OSError as error:
            raise InputError(f"{path}: not readable: {error.strerror}") from error
        self.layout: LanguageModelLayout = read_layout(self.data, path)
        of_code_points, self.default_alpha, self.default_beta = read_record(self.data, self.layout.end, path)
        self.bytes_mode = alphabet.bytes_mode
        self.units = WORDS if not of_code_points else CODE_POINTS if alphabet.bytes_mode else CHARACTERS
        self.reset_params(self.default_alpha if alpha is None else alpha, self.default_beta if beta is None else beta)
        if self.units == WORDS:
            if alphabet.bytes_mode:
                raise InputError(
                    f"{path}: this scorer is for an alphabet of characters, the model has bytes output mode: "
                    "build a scorer for this model"
                )
            require_word_ends(alphabet, path)
        self.dictionary: Dictionary = read_dictionary(self.data, self.layout.end + RECORD.size, path)
        self._check_labels()

    @property
    def order(self) -> int:
        """The longest n-gram of the language model."""
        return self.layout.order

    def reset_params(self, alpha: float, beta: float) -> None:
        """Change the weights; they are rounded to float32, as the clients round them."""
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not is_weight(value):
                raise InputError(
                    f"{self.path}: {name} is {value}: expected a number between -{HIGHEST_WEIGHT:g} and "
                    f"{HIGHEST_WEIGHT:g}; weights of use are between 0 and 10"
                )
        self.alpha = float(np.float32(alpha))
        self.beta = float(np.float32(beta))

    def is_utf8_mode(self) -> bool:
        """Whether its units are single code points (ds_ctcdecoder's name for it)."""
        return self.units != WORDS

    def get_log_cond_prob(self, words: Sequence[str], bos: bool = False, eos: bool = False) -> float:
        """ln p of the last word (or of the sentence's end) after the others; -1000 if any word is unknown."""
        reader = LanguageModelReader(self.data, self.layout)
        state = reader.begin_state() if bos else reader.null_state()
        score = 0.0
        for word in words:
            index = reader.index(word.encode("utf-8"))
            if index == 0:
                return OUT_OF_VOCABULARY
            score, state = reader.score(state, index)
        if eos:
            score, state = reader.score(state, reader.index(b"</s>"))
        return score / float(np.float32(0.4342944819))

    def _check_labels(self) -> None:
        """Refuse a vocabulary that this alphabet cannot spell, or spells to words that the language model lacks."""
        words = self.dictionary.words(_SAMPLED_WORDS)
        if self.units == CHARACTERS and any(len(word) != 1 for word in words):
            raise InputError(
                f"{self.path}: this scorer is for bytes output mode, the model has an alphabet of characters: "
                "build a scorer for this model"
            )
        highest = int(self.dictionary.labels.max())
        if highest > len(self.alphabet):
            raise InputError(
                f"{self.path}: the scorer uses {highest} or more labels, the alphabet has {len(self.alphabet)}: "
                "it was built with another alphabet"
            )
        if not words:
            raise InputError(f"{self.path}: damaged vocabulary: no word in it ends; build the scorer again")
        if self.units == WORDS:
            ending = self.alphabet.labels[" "] + 1
            if any(word[-1] != ending for word in words):
                raise InputError(
                    f"{self.path}: its words end with label {words[0][-1] - 1}, which is not this alphabet's space "
                    f"({ending - 1}): the scorer was built with another alphabet"
                )
        reader = LanguageModelReader(self.data, self.layout)
        if not any(reader.index(self._spell(word)) for word in words):
            shown = self._spell(words[0])[:40].decode("utf-8", "replace")
            raise InputError(
                f"{self.path}: none of its words, such as {shown!r}, is in its language model: "
                "the scorer was built with another alphabet"
            )

    def _spell(self, word: Sequence[int]) -> bytes:
        if self.bytes_mode:
            return bytes(word)
        spelling = word[:-1] if self.units == WORDS else word
        return "".join(self.alphabet.symbols[label - 1] for label in spelling).encode("utf-8")


def fits_clients(units: str, alphabet: Alphabet) -> bool:
    """Whether the peers' clients find with a scorer of such units what the decoder here finds."""
    return units != CHARACTERS or len(alphabet) <= CLIENT_LABELS


def is_weight(value: float) -> bool:
    """Whether alpha or beta can be `value`."""
    return math.isfinite(value) and abs(value) <= HIGHEST_WEIGHT


def require_word_ends(alphabet: Alphabet, where: str | Path) -> None:
    """Raises InputError for an alphabet in which no word of a scorer would ever end."""
    if not alphabet.has_space:
        raise InputError(
            f"{where}: the model's alphabet has no space, at which the words of a scorer end: build one of characters "
            "(`build_scorer --scorer_units characters`)"
        )


def read_record(data: np.ndarray, end: int, where: str | Path) -> tuple[bool, float, float]:
    """Bytes mode, alpha and beta, recorded behind the language model that ends at `end`; raises InputError."""
    if len(data) == end:
        raise InputError(
            f"{where}: a language model without a vocabulary: "
            "make a scorer of it with `python -m components.build_scorer --lm ... --vocab ... --package ...`"
        )
    record = data[end : end + RECORD.size].tobytes()
    if record[:4] != MAGIC[: len(record)]:
        raise InputError(f"{where}: not a scorer: no vocabulary behind the language model, at byte {end}")
    if len(record) < RECORD.size:
        raise InputError(f"{where}: truncated behind the language model: copy it again")
    _, version, bytes_mode, alpha, beta = RECORD.unpack(record)
    if version != VERSION:
        age = "older" if version < VERSION else "newer"
        raise InputError(
            f"{where}: a scorer of version {version}, expected {VERSION}: it was made for {age} clients; "
            "package its language model again"
        )
    if bytes_mode not in (0, 1) or not (is_weight(alpha) and is_weight(beta)):
        raise InputError(f"{where}: damaged behind the language model, at byte {end}: copy it again")
    return bool(bytes_mode), alpha, beta
