"""The rules of a locale, from the tables of the package commonvoice-utils, which whoever wants them installs.

Its tables alone are read, none of its code (AGPL) is run. A table is `data/LOCALE/validate.tsv` in the package: a line
says LOWER, NFKC or NFKD, or names a character to REPLace (`_` is a space), NORMalize, DELete, ALLOW or SKIP (refuse).
"""

import importlib.util
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.import_cv.plan.reasons import Reason
from components.import_cv.rules.generic import generic_refusals, generic_rules, inside_words, lower_case
from components.import_cv.rules.rulebook import Refusal, Rule, Rulebook
from speech.errors import InputError

PACKAGE, MODULE = "commonvoice-utils", "cvutils"
# German "ue" is "ü" in names alone: the table would turn "neue" into "neü"
WRONG = frozenset([("de", "ue"), ("de", "oe"), ("de", "ae")])
Form = Literal["NFKC", "NFKD"]
FORMS: dict[str, Form] = {"NFKC": "NFKC", "NFKD": "NFKD"}
SOFT_HYPHEN = "\u00ad"


@dataclass(frozen=True)
class LocaleTable:
    """One locale's table."""

    locale: str
    lower: bool
    form: Form | None  # of Unicode
    letters: Sequence[tuple[str, str]]  # written -> as the locale spells it
    marks: Sequence[tuple[str, str]]  # written -> nothing or a space
    refused: frozenset[str]
    allowed: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> "LocaleTable":
        """Parse `LOCALE/validate.tsv`."""
        locale, lower = path.parent.name, False
        form: Form | None = None
        letters: list[tuple[str, str]] = []
        marks: list[tuple[str, str]] = []
        refused, allowed = set(), {" "}
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, written, spelled, *_ = [*line.split("\t"), "", ""]
            written = written.strip()
            if kind == "LOWER":
                lower = True
            elif kind in FORMS:
                form = FORMS[kind]
            elif kind == "SKIP":
                refused.add(written)
            elif kind == "ALLOW":
                allowed.update(written if written != "_" else " ", unicodedata.normalize(form or "NFC", written))
            elif kind in ("REPL", "NORM", "DEL") and written and (locale, written) not in WRONG:
                is_mark = spelled == "_" and kind != "NORM"
                into = "" if kind == "DEL" or inside_words(written) else " "
                into = into if is_mark else spelled.strip()
                (marks if is_mark else letters).append((written, into))
        marks.append((SOFT_HYPHEN, ""))
        return cls(locale, lower, form, letters, marks, frozenset(refused - {""}), frozenset(allowed - {"_"}))


def find_table(locale: str) -> LocaleTable | None:
    """The table of a locale, or of its language; None if the package has neither.

    Raises InputError if the package is not installed.
    """
    package = importlib.util.find_spec(MODULE)
    if package is None or not package.submodule_search_locations:
        raise InputError(
            f"--rules locale needs the tables of {PACKAGE}: install it (`pip install 'speechmill[locales]'`), or take "
            "--rules generic"
        )
    data = Path(package.submodule_search_locations[0]) / "data"
    for name in dict.fromkeys((locale, locale.split("-")[0])):
        if name and (data / name / "validate.tsv").is_file():
            return LocaleTable.read(data / name / "validate.tsv")
    return None


def locale_rulebook(table: LocaleTable, more: frozenset[str] = frozenset()) -> Rulebook:
    """The locale's rules, the generic ones for what these leave, and what the locale does not allow; `more` it does."""
    allowed = table.allowed | more
    generic = generic_rules(table.locale, allowed)
    if table.form == "NFKD":
        generic = [rule for rule in generic if rule.name != "composition"]
    rules = [*_own_rules(table), *generic]
    refusals = [
        *generic_refusals(allowed),
        Refusal(Reason.OUTSIDE_LOCALE, lambda one: one in table.refused or one not in allowed),
    ]
    note = f"{PACKAGE}'s rules of {table.locale}, and the generic ones for what these leave"
    return Rulebook(rules, refusals, note, table.allowed)


def _own_rules(table: LocaleTable) -> list[Rule]:
    rules = []
    if (form := table.form) is not None:
        rules.append(_form_rule(form))
    if table.lower:
        small = lower_case(table.locale)
        rules.insert(
            0, Rule("locale case", "small letters, as the locale has them", lambda one: one != small(one), small)
        )
    for name, meaning, pairs in (
        ("locale letters", "letters as the locale spells them", table.letters),
        ("locale marks", "marks that the locale drops or takes for a space", table.marks),
    ):
        first = frozenset(written[0] for written, _ in pairs)
        rules.append(Rule(name, meaning, first.__contains__, _replaced(pairs)))
    return rules


def _form_rule(form: Form) -> Rule:
    return Rule(
        "locale form",
        f"the locale's form of Unicode ({form})",
        lambda one: not unicodedata.is_normalized(form, one) or unicodedata.combining(one) > 0,
        lambda text: unicodedata.normalize(form, text),
    )


def _replaced(pairs: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        for written, spelled in pairs:
            if written in text:
                text = text.replace(written, spelled)
        return text

    return apply
