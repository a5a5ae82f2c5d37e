"""Which symbols the transcripts are written in, and an alphabet without those that a model could not learn."""

import unicodedata
from array import array
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

RARE_SHARE = 1 / 2000  # of the clips: a symbol in no more of them is rare
FOREIGN_SHARE = 0.01  # of the letters: a script with fewer is another language's
MOST_LOST_SHARE = 0.01  # of the clips, for all symbols that are dropped
MOST_HOLDERS = 500  # a symbol in more clips is not dropped
MANY_SYMBOLS = 500  # beyond which the bytes of UTF-8 are the smaller alphabet
ALWAYS = frozenset(" '")
JAPANESE = frozenset(["HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"])


@dataclass(frozen=True)
class Proposal:
    """An alphabet, why symbols are not in it, and what that costs."""

    symbols: tuple[str, ...]
    dropped: dict[str, str]  # symbol -> why
    clips: int
    clips_lost: int

    def describe(self, counts: "SymbolCounts") -> dict[str, Any]:
        """The proposal for the report, the most frequent symbols first."""
        ranked = sorted(counts.clips, key=lambda symbol: (-counts.clips[symbol], -counts.times[symbol], symbol))
        return {
            "symbols": list(self.symbols),
            "clips": self.clips,
            "clips_lost": self.clips_lost,
            "advise_utf8": len(self.symbols) > MANY_SYMBOLS,
            "table": [
                {
                    "symbol": symbol,
                    "code_point": f"U+{ord(symbol):04X}",
                    "name": unicodedata.name(symbol, ""),
                    "times": counts.times[symbol],
                    "clips": counts.clips[symbol],
                    "dropped": self.dropped.get(symbol, ""),
                }
                for symbol in ranked
            ],
        }


class SymbolCounts:
    """Counts symbols transcript by transcript."""

    def __init__(self) -> None:
        self.transcripts = 0
        self.times: Counter[str] = Counter()
        self.clips: Counter[str] = Counter()  # transcripts that have the symbol
        self._holders: dict[str, array] = {}  # of those in few clips: the transcripts' numbers
        self._frequent: set[str] = set()

    def add(self, transcript: str) -> None:
        """Count one more."""
        self.times.update(transcript)
        symbols = set(transcript)
        self.clips.update(symbols)
        for symbol in symbols - self._frequent:
            holders = self._holders.setdefault(symbol, array("I"))
            holders.append(self.transcripts)
            if len(holders) > MOST_HOLDERS:
                self._frequent.add(symbol)
                del self._holders[symbol]
        self.transcripts += 1

    def propose(self, letters: Set[str] = frozenset()) -> Proposal:
        """Drop what is rare or of another script, the rarest first, as long as few clips are lost.

        `letters` are the locale's own: they stay, however rare.
        """
        budget = max(1, int(MOST_LOST_SHARE * self.transcripts))
        scripts = self._scripts()
        lost: set[int] = set()
        dropped: dict[str, str] = {}
        for symbol in sorted(self._holders, key=lambda symbol: (len(self._holders[symbol]), symbol)):
            why = "" if symbol in ALWAYS or symbol in letters else self._why_not(symbol, scripts)
            if why and len(more := lost | set(self._holders[symbol])) <= budget:
                lost, dropped[symbol] = more, why
        return Proposal(tuple(sorted(self.clips.keys() - dropped.keys())), dropped, self.transcripts, len(lost))

    def _why_not(self, symbol: str, scripts: Set[str]) -> str:
        if unicodedata.category(symbol)[0] not in "LMN":
            return "no letter"
        if (script := script_of(symbol)) and script not in scripts:
            return f"{script.lower()}, another script"
        return "rare" if self.clips[symbol] <= RARE_SHARE * self.transcripts else ""

    def _scripts(self) -> Set[str]:
        """The scripts that the transcripts are written in."""
        letters: Counter[str] = Counter()
        for symbol, times in self.times.items():
            letters[script_of(symbol)] += times
        least = FOREIGN_SHARE * sum(times for script, times in letters.items() if script)
        return {script for script, times in letters.items() if times >= least}


def script_of(symbol: str) -> str:
    """The script of a letter by its Unicode name, such as GEORGIAN; "" for what several scripts share."""
    if unicodedata.category(symbol) not in ("Lu", "Ll", "Lt", "Lo", "Mc"):
        return ""
    script = unicodedata.name(symbol, "").split(" ")[0]
    return "CJK" if script in JAPANESE else "" if script in ("FEMININE", "MASCULINE", "MICRO") else script
