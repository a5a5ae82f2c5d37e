"""The alphabet: which symbol each output label of a model stands for."""

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from speech.errors import InputError
from speech.storage.files import write_text

BYTES_MODE_MARKER = "# bytes output mode: labels are UTF-8 byte values minus one\n"
BYTES_MODE_LABELS = 255  # label = byte value - 1; the zero byte never occurs in text


@dataclass(frozen=True)
class Alphabet:
    """Symbols in label order; the CTC blank is the label behind the last symbol.

    In bytes output mode the symbols are the byte values 1...255 and any UTF-8 text can be written.
    """

    symbols: tuple[str, ...]
    bytes_mode: bool = False

    @classmethod
    def bytes_output_mode(cls) -> "Alphabet":
        """The alphabet of models that write UTF-8 bytes instead of characters."""
        return cls(tuple(chr(value) for value in range(1, BYTES_MODE_LABELS + 1)), bytes_mode=True)

    @classmethod
    def from_symbols(cls, symbols: Sequence[str], where: str) -> "Alphabet":
        """Check and wrap symbols; raises InputError for an empty or ambiguous alphabet."""
        if not symbols:
            raise InputError(f"{where}: the alphabet is empty: expected one symbol a line")
        seen: set[str] = set()
        for symbol in symbols:
            if symbol in seen:
                raise InputError(f"{where}: symbol {symbol!r} occurs twice: remove one of the lines")
            seen.add(symbol)
        return cls(tuple(symbols))

    @classmethod
    def from_text(cls, text: str, where: str = "alphabet") -> "Alphabet":
        """Parse DeepSpeech's format: one symbol a line, `#` starts a comment line, `\\#` is the symbol `#`.

        Empty lines are skipped; Unix, Windows and old Macintosh line ends are understood. The text that `to_text` has
        for bytes output mode stands for it.
        """
        if text == BYTES_MODE_MARKER:
            return cls.bytes_output_mode()
        lines = re.split("\r\n|\n|\r", text.removeprefix("\ufeff"))
        symbols = ["#" if line == "\\#" else line for line in lines if line and not line.startswith("#")]
        return cls.from_symbols(symbols, where)

    @classmethod
    def load(cls, path: str | Path) -> "Alphabet":
        """Read an alphabet file (UTF-8)."""
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such alphabet file: expected a text file with one symbol a line")
        try:
            return cls.from_text(path.read_bytes().decode("utf-8"), str(path))
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 at byte {error.start}: save the alphabet as UTF-8") from error

    @classmethod
    def collect(cls, transcripts: Iterable[str], where: str = "the transcripts") -> "Alphabet":
        """The alphabet of all characters of `transcripts`, in code point order, the space included."""
        characters: set[str] = {" "}
        for transcript in transcripts:
            characters.update(transcript)
        return cls.from_symbols(sorted(characters), where)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def has_space(self) -> bool:
        """Whether words can be told apart; without, a sentence is one word (Chinese, Thai, ...)."""
        return " " in self.symbols

    @property
    def blank(self) -> int:
        """The label of the CTC blank."""
        return len(self.symbols)

    @cached_property
    def labels(self) -> dict[str, int]:
        """Symbol -> label."""
        return {symbol: label for label, symbol in enumerate(self.symbols)}

    def missing(self, text: str) -> list[str]:
        """The characters of `text` that the alphabet lacks, each once, in order of appearance."""
        if self.bytes_mode:
            return ["\0"] if "\0" in text else []
        if self.labels.keys() >= set(text):
            return []
        return [character for character in dict.fromkeys(text) if character not in self.labels]

    def encode(self, text: str) -> np.ndarray:
        """Text -> int32 labels `[L]`; raises InputError naming the characters that the alphabet lacks."""
        if self.bytes_mode:
            return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32) - 1
        try:
            return np.fromiter((self.labels[character] for character in text), np.int32, len(text))
        except KeyError:
            raise InputError(
                f"transcript {text!r} has characters that the alphabet lacks: {' '.join(map(repr, self.missing(text)))}"
            ) from None

    def decode(self, labels: Iterable[int]) -> str:
        """Labels -> text; in bytes mode invalid UTF-8 becomes the replacement character."""
        if self.bytes_mode:
            return bytes(int(label) + 1 for label in labels).decode("utf-8", errors="replace")
        return "".join(self.symbols[label] for label in labels)

    def serialize(self) -> bytes:
        """The blob that native clients read from `metadata_alphabet`.

        Little-endian u16 count, then per symbol u16 label, u16 byte length, bytes (DeepSpeech's `Alphabet::Serialize`).
        """
        parts = [struct.pack("<H", len(self.symbols))]
        for label, symbol in enumerate(self.symbols):
            encoded = bytes([label + 1]) if self.bytes_mode else symbol.encode("utf-8")
            parts.append(struct.pack("<HH", label, len(encoded)) + encoded)
        return b"".join(parts)

    @classmethod
    def deserialize(cls, blob: bytes, where: str = "metadata_alphabet") -> "Alphabet":
        """Read the blob that `serialize` writes; raises InputError if it is not one."""
        try:
            (count,) = struct.unpack_from("<H", blob)
            position, entries = 2, {}
            for _ in range(count):
                label, length = struct.unpack_from("<HH", blob, position)
                entries[label] = blob[position + 4 : position + 4 + length]
                position += 4 + length
            if position != len(blob) or sorted(entries) != list(range(count)):
                raise ValueError
            if count == BYTES_MODE_LABELS and all(entries[label] == bytes([label + 1]) for label in entries):
                return cls.bytes_output_mode()
            return cls(tuple(entries[label].decode("utf-8") for label in range(count)))
        except (struct.error, ValueError) as error:
            raise InputError(f"{where}: not an alphabet blob ({len(blob)} bytes)") from error

    def to_text(self) -> str:
        """The alphabet file's content; in bytes mode a comment line says so."""
        if self.bytes_mode:
            return BYTES_MODE_MARKER
        return "".join(("\\#" if symbol == "#" else symbol) + "\n" for symbol in self.symbols)

    def save(self, path: str | Path) -> None:
        """Write the alphabet file atomically."""
        write_text(path, self.to_text())
