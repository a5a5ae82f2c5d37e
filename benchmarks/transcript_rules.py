"""What the transcript rules do to the alphabet of a language, and what they cost.

    python -m benchmarks.transcript_rules --po DJANGO/conf/locale [--locales uk ka ...]

The sentences are the translated messages of gettext catalogues (`LOCALE/LC_MESSAGES/django.po`, such as those that
Django brings for a hundred languages): public text with quotation marks, dashes and foreign words, split at line ends,
placeholders taken out. For each locale: sentences, the symbols that the rules leave, and the proposal;
clips lost to the rules and to the proposal; CPU microseconds a sentence.
"""

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.import_cv.plan.alphabet_proposal import SymbolCounts
from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.reasons import Reason
from components.import_cv.rules.choice import choose
from components.import_cv.settings import RULES

LOCALES = ("uk", "el", "ka", "hy-AM", "he", "ar", "fa", "hi", "ta", "th", "ko", "ja", "zh-CN", "tr", "fr", "vi")
FOLDERS = {"hy-AM": "hy", "zh-CN": "zh_Hans"}
PASSES = 5
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{[^}]*\}|<[^>]*>")
TEXT = re.compile(r'^msgstr(?:\[\d\])? "(.*)"$|^"(.*)"$')


def sentences(path: Path) -> Iterator[str]:
    """The translations of a catalogue."""
    text, inside = "", False
    for line in path.read_text(encoding="utf-8").splitlines():
        found = TEXT.match(line)
        if line.startswith("msgstr") and found:
            text, inside = found[1], True
        elif inside and found:
            text += found[2] or ""
        else:
            yield from _parts(text)
            text, inside = "", False
    yield from _parts(text)


def _parts(text: str) -> Iterator[str]:
    if "Content-Type" in text:
        return
    for part in text.replace('\\"', '"').split("\\n"):
        if (cleaned := PLACEHOLDER.sub("", part).strip()) and len(cleaned) > 1:
            yield cleaned


def seconds(rules: LabelRules, texts: Sequence[str]) -> float:
    """CPU time of one pass."""
    started = time.process_time()
    for text in texts:
        rules(text)
    return time.process_time() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--po", type=Path, required=True, help="folder of LOCALE/LC_MESSAGES/django.po")
    parser.add_argument("--locales", nargs="*", default=LOCALES)
    given = parser.parse_args()
    print(f"{'':8} {'':6} " + " ".join(f"{rules + ': symbols, proposed, lost, us':>38}" for rules in RULES))
    for name in given.locales:
        texts = list(sentences(given.po / FOLDERS.get(name, name) / "LC_MESSAGES" / "django.po"))
        cells = []
        for kind in RULES:
            rulebook = choose(kind, name, (), own_validator=False)
            rules, counts, lost = LabelRules(rulebook=rulebook), SymbolCounts(), 0
            made = [rules(text) for text in texts]  # the first pass fills the tables of characters
            spent = min(seconds(rules, texts) for _ in range(PASSES))
            for reason, text in made:
                if reason is Reason.ACCEPTED:
                    counts.add(text)
                else:
                    lost += 1
            proposal = counts.propose(rulebook.letters if rulebook is not None else frozenset())
            known = "" if kind != "locale" or (rulebook is not None and rulebook.letters) else "*"
            cells.append(
                f"{len(counts.clips):>12} {len(proposal.symbols):>8} {lost:>6}+{proposal.clips_lost:<3} "
                f"{1e6 * spent / len(texts):>6.1f}{known:1}"
            )
        print(f"{name:8} {len(texts):6} {' '.join(cells)}")
    print("* commonvoice-utils does not know the locale: the generic rules")


if __name__ == "__main__":
    main()
