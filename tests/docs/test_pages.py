"""The pages for people: links and anchors lead somewhere, and commands are such as the programs take."""

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from speech import settings

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_COMMAND = re.compile(r"(?:\S*/)?(?:python3? -m (?P<module>(?:components|pipelines)\S*)|speechmill) ")


PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts)
]
FOR_PEOPLE = [path for path in PAGES if path.parent in (ROOT, ROOT / "docs")]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(anchor if anchor not in found else f"{anchor}-1")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    linked = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"} <= linked


def commands(page: Path) -> Iterator[str]:
    """The commands of the project in a page's blocks, and in the cells of its tables."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in BLOCK.findall(text) for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    for line in (*lines, *re.findall(r"\| `([^`]*)` \|", text)):
        command = line.removeprefix("$ ").strip()
        if OWN_COMMAND.match(command):
            yield command


COMMANDS = [(page.name, command) for page in FOR_PEOPLE for command in commands(page)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # runpy's, about a module that is loaded already
@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_are_such_as_the_programs_take(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed and no further: an unknown flag or a value that is not allowed would end with 2."""
    real = settings.parse
    parsed = []

    def parse_only(*arguments, **options) -> None:
        parsed.append(real(*arguments, **options))
        raise SystemExit(0)

    matched = OWN_COMMAND.match(command)
    assert matched
    module = matched["module"] or "pipelines"
    monkeypatch.setattr(settings, "parse", parse_only)
    monkeypatch.setattr(sys, "argv", [module, *shlex.split(command[matched.end() :], comments=True)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert not ended.value.code, f"{page}: {command}"
    assert parsed


def test_the_pages_have_commands_to_check() -> None:
    assert len(COMMANDS) >= 20


@pytest.mark.parametrize("page", FOR_PEOPLE, ids=lambda path: path.name)
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets
