"""A name stands for one thing: whoever reads it somewhere, or looks for it, finds one place."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("speech", "components", "pipelines", "benchmarks", "examples")


def test_a_class_name_is_unique() -> None:
    places = defaultdict(list)
    for path in (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert len(places) > 200  # the classes were found
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


PAGES = [
    path for pattern in ("*.md", "docs/*.md", "components/**/*.md", "examples/**/*.md") for path in ROOT.glob(pattern)
]


@pytest.mark.parametrize("page", [str(path.relative_to(ROOT)) for path in PAGES])
def test_a_page_says_who_the_peers_are_where_it_first_names_them(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    paragraphs = re.split(r"\n\n|\n(?=[|-])", prose)  # rows and items, too
    first = next((paragraph for paragraph in paragraphs if re.search(r"\bpeers?\b", paragraph)), None)
    if first is not None:
        assert "DeepSpeech" in first
        assert "Coqui STT" in first
