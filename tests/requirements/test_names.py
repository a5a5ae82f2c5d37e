"""A name stands for one thing: whoever reads it somewhere, or looks for it, finds one place."""

import ast
from collections import defaultdict
from pathlib import Path

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
