"""Which rules an import has: none (the peers' importers' own), the generic ones, or a locale's."""

from collections.abc import Iterable
from pathlib import Path

from components.import_cv.read.release import Release
from components.import_cv.read.tsv import read_tsv
from components.import_cv.rules.generic import generic_refusals, generic_rules
from components.import_cv.rules.locales import PACKAGE, find_table, locale_rulebook
from components.import_cv.rules.rulebook import Rulebook
from components.import_cv.settings import LOCALE_RULES, NO_RULES
from speech.errors import InputError


def choose(rules: str, locale: str, symbols: Iterable[str], own_validator: bool) -> Rulebook | None:
    """The rulebook; None for the label rules of the peers' importers.

    `symbols` are those of a given alphabet: the rules leave them alone. With a validator of the user's own, which knows
    the locale, the generic rules come behind it. Raises InputError if the locale is not known, or its tables not there.
    """
    kept = frozenset(symbols) - {" "}
    if rules == NO_RULES:
        return None
    if rules == LOCALE_RULES and not own_validator:
        if not locale:
            raise InputError("--rules locale: the release does not say its locale: give --locale, such as --locale ka")
        table = find_table(locale)
        if table is not None:
            return locale_rulebook(table, kept)
        return _generic(locale, kept, f"{PACKAGE} does not know the locale {locale}: the generic rules alone")
    return _generic(locale, kept, "")


def _generic(locale: str, kept: frozenset[str], note: str) -> Rulebook:
    return Rulebook(generic_rules(locale, kept), generic_refusals(kept), note)


def locale_of(release: Release) -> str:
    """What the first row of a release's tables says, or "" if they do not say it."""
    for path in release.tsv_files.values():
        if found := _first_locale(path):
            return found
    return ""


def _first_locale(path: Path) -> str:
    for _, _, (_, locale) in read_tsv(path, ("path",), (("locale",),)):
        return locale.strip()
    return ""
