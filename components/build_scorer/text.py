"""From text to what lmplz reads: a sentence a line, words (in bytes mode: code points) between spaces, and counted."""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from speech.decoding.packaging import SPECIAL_WORDS
from speech.errors import InputError


@dataclass(frozen=True)
class PreparedText:
    """The text on disk, and how often each of its words occurs."""

    path: Path
    counts: Counter[str]

    def vocabulary(self, top_k: int) -> list[str]:
        """The most frequent words, most frequent first; equally frequent ones in the order of the text."""
        return [word for word, _ in self.counts.most_common(top_k)]

    @property
    def words(self) -> int:
        """Running words."""
        return sum(self.counts.values())


def read_lines(path: str | Path) -> Iterator[str]:
    """The lines of a UTF-8 text file, plain or gzip-compressed, one at a time."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such text: expected a file with one sentence a line (.txt or .txt.gz)")
    read = 0
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for line in file:
                yield line.decode("utf-8")
                read += 1
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, line {read + 1}: not UTF-8 at byte {error.start} of the line") from error
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise InputError(f"{path}: damaged gzip file behind line {read}: {error}") from error


def prepare(lines: Iterable[str], path: Path, *, keep_case: bool) -> PreparedText:
    """Write `lines` to `path` as lmplz wants them; raises InputError if there is no text at all."""
    counts: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            words = (line if keep_case else line.lower()).replace("\0", " ").split()
            if not SPECIAL_WORDS.isdisjoint(words):
                words = [word for word in words if word not in SPECIAL_WORDS]
            if words:
                counts.update(words)
                file.write(" ".join(words) + "\n")
    if not counts:
        raise InputError("no text to build a language model from: expected sentences, one a line")
    return PreparedText(path, counts)


def split_code_points(text: PreparedText, path: Path, space: str) -> PreparedText:
    """The same sentences with every code point a word of its own, and `space` in place of the spaces between words;
    an empty one leaves them out.
    """
    counts: Counter[str] = Counter()
    with text.path.open(encoding="utf-8", newline="\n") as source, path.open("w", encoding="utf-8") as file:
        for line in source:
            units = [space if character == " " else character for character in line.rstrip("\n")]
            units = units if space else [unit for unit in units if unit]
            counts.update(units)
            file.write(" ".join(units) + "\n")
    text.path.unlink()
    return PreparedText(path, counts)
