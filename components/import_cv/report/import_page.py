"""The import report as a page that needs nothing but itself."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.import_cv.plan.reasons import Reason
from speech.charts import histogram, shares, with_policy

TEMPLATE = "report.html.j2"
MOST_VALUES = 20  # of gender, age or accent
MOST_CHARACTERS = 400  # that transcripts are written in
MOST_OUTSIDE = 200
DIMENSIONS = (("speaker", "speakers"), ("gender", "gender"), ("age", "age"), ("accent", "accents"))
MOST_SHARES = 12  # of a bar
UNSEEN = ("Cf", "Cc", "Co", "Zl", "Zp")


def to_html(description: Mapping[str, Any]) -> str:
    """The page for the content of the JSON report."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    filters: dict[str, Any] = {
        "number": lambda value: f"{value:,}",
        "hours": hours,
        "words": words,
        "visible": visible,
        "marked": marked,
    }
    environment.filters |= filters
    counts = description["characters"]["transcripts"]
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[:MOST_CHARACTERS]
    outside = list(description["characters"]["outside_alphabet"].items())
    page = environment.get_template(TEMPLATE).render(
        report=description,
        meanings={reason.key: reason.meaning for reason in Reason},
        histogram=lambda found, unit: Markup(histogram(found["counts"], found["bin"], unit, found.get("first", 0))),
        coverage=[(title, Markup(chart)) for title, chart in _coverage(description["sets"])],
        groups=[(name, _group(description["sets"], name)) for name in ("gender", "age", "accent")],
        left_out=any(counted["held_out"] for counted in description["sets"].values()),
        origins=_origins(description["sets"]),
        characters=[(character, counts[character]) for character in frequent],
        more_characters=len(counts) - len(frequent),
        outside=[(character, found, unicode_name(character)) for character, found in outside[:MOST_OUTSIDE]],
        more_outside=len(outside) - len(outside[:MOST_OUTSIDE]),
        dropped=[row for row in description["alphabet"]["proposal"]["table"] if row["dropped"]],
        unused=[symbol for symbol in description["alphabet"]["symbols"] if symbol not in counts],
    )
    return with_policy(page)


def _origins(sets: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Set, table and its counts, for sets that more than the table of their name went into, or that left some out."""
    return [
        (name, table, found)
        for name, counted in sets.items()
        if counted["held_out"] or any(table != name for table in counted["tables"])
        for table, found in counted["tables"].items()
    ]


def hours(value: float) -> str:
    """`0.01` -> `36 s`, `0.1234` -> `7 min`, `12.34` -> `12.3 h`."""
    if value < 1 / 60:
        return f"{value * 3600:.0f} s"
    return f"{value * 60:.0f} min" if value < 1 else f"{value:,.1f} h"


def words(key: str) -> str:
    """`not_audio` -> `not audio`."""
    return key.replace("_", " ")


def visible(character: str) -> str:
    """A character so that one sees it: spaces by name; on a circle marks, those of Thai and Indic scripts without a
    combining class too, and Thai and Lao am, which begin with one.
    """
    if character.isspace() or not character.isprintable():
        return unicode_name(character).lower()
    first = unicodedata.normalize("NFKD", character)[0]
    return f"\u25cc{character}" if unicodedata.category(first)[0] == "M" else character


def marked(text: str) -> str:
    """A text in which what has no width can be seen."""
    return "".join(f"\u27e8{ord(one):04X}\u27e9" if unicodedata.category(one) in UNSEEN else one for one in text)


def unicode_name(character: str) -> str:
    """The name of a character, or its code point."""
    return unicodedata.name(character, f"U+{ord(character):04X}")


def _coverage(sets: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Who speaks, as a chart a dimension with a bar a set; what is not known stays empty."""
    charts = []
    for dimension, title in DIMENSIONS:
        rows = [
            (name, {one["value"]: one["clips"] / counted["clips"] for one in _named(counted["by"][dimension])})
            for name, counted in sets.items()
            if counted["clips"]
        ]
        charts.append((title, shares(rows, f"Clips by {dimension}")))
    return charts


def _named(shares_of: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in shares_of["largest"][:MOST_SHARES] if one["value"]]


def _group(sets: Mapping[str, Any], dimension: str) -> list[tuple[str, list[int]]]:
    """The most frequent values of a dimension, each with its clips by set."""
    found: dict[str, list[int]] = {}
    for number, counted in enumerate(sets.values()):
        for entry in counted["by"][dimension]["largest"]:
            found.setdefault(entry["value"], [0] * len(sets))[number] = entry["clips"]
    ranked: Sequence[tuple[str, list[int]]] = sorted(found.items(), key=lambda item: (-max(item[1]), item[0]))
    return list(ranked[:MOST_VALUES])
