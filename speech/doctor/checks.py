"""One thing that was looked at: what was found, and what to do about it."""

import dataclasses
import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

OK, NOTE, PROBLEM = "ok", "note", "problem"
_INDENT = 30
_WIDTH = 120


@dataclass(frozen=True)
class Check:
    """A subject, its state (ok, note: works with less, problem: something asked for cannot work), and what to do."""

    subject: str
    state: str
    found: str
    advice: str = ""


def has_problem(checks: Iterable[Check]) -> bool:
    """Whether something stands in the way, so that the exit code is 1."""
    return any(check.state == PROBLEM for check in checks)


def page(checks: Iterable[Check]) -> str:
    """The checks for a person, a paragraph each, and how many problems there are."""
    checks = list(checks)
    count = sum(check.state == PROBLEM for check in checks)
    end = {0: "No problem.", 1: "1 problem."}.get(count, f"{count} problems.")
    return "\n".join([*map(_paragraph, checks), end])


def _paragraph(check: Check) -> str:
    head = f"{check.state:9}{check.subject:{_INDENT - 10}} "
    lines = textwrap.wrap(check.found, _WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False)
    if check.advice:
        advice = textwrap.wrap(check.advice, _WIDTH - _INDENT - 3, break_long_words=False, break_on_hyphens=False)
        lines += [("-> " if number == 0 else "   ") + line for number, line in enumerate(advice)]
    return head + f"\n{' ' * _INDENT}".join(lines)


def as_json(checks: Iterable[Check]) -> str:
    """The same for a program: `problem`, and a list of `checks` with `subject`, `state`, `found` and `advice`."""
    checks = list(checks)
    found = {"problem": has_problem(checks), "checks": [dataclasses.asdict(check) for check in checks]}
    return json.dumps(found, ensure_ascii=False, indent=2)
