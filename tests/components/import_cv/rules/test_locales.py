"""A locale's own rules: the package's table format, and what they give together with the generic ones."""

import importlib.util
from pathlib import Path

import pytest

from components.import_cv.plan.reasons import Reason
from components.import_cv.rules import locales
from components.import_cv.rules.choice import choose
from components.import_cv.rules.locales import LocaleTable, find_table, locale_rulebook
from speech.errors import InputError

needs_tables = pytest.mark.skipif(
    importlib.util.find_spec(locales.MODULE) is None, reason="commonvoice-utils is not installed"
)
TABLE = """# a locale that nobody speaks
LOWER\t_\t_
NFKC\t_\t_
REPL\t!\t_
REPL\tـ\t_
DEL\t~\t_
NORM\té\te
NORM\t'\tʼ
SKIP\tq\t_
ALLOW\ta\t_
ALLOW\te\t_
ALLOW\tʼ\t_
ALLOW\tch\t_
"""


@pytest.fixture
def table(tmp_path: Path) -> LocaleTable:
    (tmp_path / "xx").mkdir()
    path = tmp_path / "xx" / "validate.tsv"
    path.write_text(TABLE, encoding="utf-8")
    return LocaleTable.read(path)


def test_a_table_is_read(table: LocaleTable) -> None:
    assert (table.locale, table.lower, table.form) == ("xx", True, "NFKC")
    assert table.allowed == set(" aeʼch")
    assert table.refused == {"q"}
    assert dict(table.marks) == {"!": " ", "ـ": "", "~": "", "\u00ad": ""}  # what stands inside words parts none


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("É a!a ch~", "e a a ch"),
        ("a’e — “a”", "aʼe a"),  # the generic rules know that the locale has one apostrophe
        ("aــa", "aa"),
        ("aqa", Reason.OUTSIDE_LOCALE),
        ("abba", Reason.OUTSIDE_LOCALE),
        ("a 7", Reason.DIGITS),
        ("!", Reason.EMPTIED),
    ],
)
def test_locale_rules(table: LocaleTable, sentence: str, expected: str | Reason) -> None:
    reason, text = locale_rulebook(table)(sentence)
    assert (reason if isinstance(expected, Reason) else text) == expected


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locales, "MODULE", "no_such_package_of_tables")
    with pytest.raises(InputError, match="--rules locale needs the tables of commonvoice-utils"):
        find_table("ka")


def test_an_unknown_locale_is_asked_for() -> None:
    with pytest.raises(InputError, match="give --locale"):
        choose("locale", "", (), own_validator=False)


@needs_tables
def test_a_locale_that_the_package_lacks_gets_the_generic_rules() -> None:
    rulebook = choose("locale", "nqo", (), own_validator=False)
    assert rulebook is not None
    assert "does not know the locale nqo" in rulebook.describe()["note"]


@needs_tables
@pytest.mark.parametrize(
    ("locale", "sentence", "expected"),
    [
        ("uk", "Зв’язок і п'ять", "звʼязок і пʼять"),
        ("uz", "Oʻzbekiston o‘z ma’no", "oʻzbekiston oʻz maʼno"),
        ("fa", "كتاب می\u200cخواهم.", "کتاب می\u200cخواهم"),
        ("de", "Die neue „Straße“!", "die neue straße"),  # the package's own rule makes it "neü"
        ("hy-AM", "Ի՞նչ է սա։", "ինչ է սա"),
        ("sv", "Hallå, världen!", "hallå världen"),  # sv-SE is not sv: the generic rules
        ("fr-CA", "L’été", "l'été"),
        ("tr", "IĞDIR", "ığdır"),
    ],
)
def test_locales_of_the_package(locale: str, sentence: str, expected: str) -> None:
    rulebook = choose("locale", locale, (), own_validator=False)
    assert rulebook is not None
    assert rulebook(sentence) == (Reason.ACCEPTED, expected)
