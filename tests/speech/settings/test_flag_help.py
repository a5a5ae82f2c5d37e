"""The page of `--help` and the tables: groups in order, every fact once, no wider than the terminal."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from speech.settings import parse, setting
from speech.settings.flag_help import groups, page, table


@dataclass(frozen=True)
class Base:
    """Settings of a step."""

    width: int = setting(32, "analysis window", unit="ms", group="Model")
    early: bool = setting(False, "stop early", group="Optimisation")
    shuffle: bool = setting(True, "draw batches")
    prune: str = setting("0|0|1", "counts, with `|` between; 100% of them")
    limit: int | None = setting(None, "use the first ones", unit="clips", group="Data")


@dataclass(frozen=True)
class WithPaths(Base):
    """The settings and the paths of a command."""

    files: tuple[str, ...] = setting((), "what to read", group="Data", positional=True, metavar="FILE")
    load: str = setting("auto", "what to load", choices=("auto", "last"))
    engine: str = setting("first", "which", choices=("first", "second-to-none", "the third of them all"))
    sets: tuple[str, ...] = setting(("train", "dev"), "which sets")


def shown(columns: int, monkeypatch: pytest.MonkeyPatch, settings_class: type = WithPaths, **texts: str) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    return page(settings_class, **{"prog": "tool", "description": "A tool.", **texts})


def test_groups_are_sticky_and_those_of_the_command_come_first() -> None:
    names = {group: [field.name for field in fields] for group, fields in groups(WithPaths).items()}
    assert list(names) == ["Data", "Model", "Optimisation"]
    assert names["Data"] == ["files", "load", "engine", "sets", "limit"]
    assert names["Optimisation"] == ["early", "shuffle", "prune"]


def test_a_class_orders_its_groups_and_forgets_none() -> None:
    @dataclass(frozen=True)
    class Ordered(WithPaths):
        GROUPS: ClassVar[tuple[str, ...]] = ("Model", "Data", "Unused", "Optimisation")

    @dataclass(frozen=True)
    class Forgetful(WithPaths):
        GROUPS: ClassVar[tuple[str, ...]] = ("Model", "Data")

    assert list(groups(Ordered)) == ["Model", "Data", "Optimisation"]
    with pytest.raises(LookupError, match="Forgetful.GROUPS does not name Optimisation"):
        groups(Forgetful)


def test_a_setting_said_anew_stands_once_and_with_the_later_words() -> None:
    @dataclass(frozen=True)
    class Anew(Base):
        width: int = setting(0, "as the model has it", group="Data")

    assert next(field.metadata["help"] for field in groups(Anew)["Data"]) == "as the model has it"
    assert "Model" not in groups(Anew)


def test_defaults_units_choices_and_values(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(100, monkeypatch)
    assert "which [one of first, second-to-none, the third of them all, default: first]" in " ".join(text.split())
    lines = text.splitlines()
    assert lines[0] == "usage: tool FILE ... [FLAG ...]"
    for line in (
        "  FILE ...                  what to read",
        "  --load {auto,last}        what to load [default: auto]",
        "  --sets TEXT ...           which sets [default: train dev]",
        "  --limit N                 use the first ones [in clips]",
        "  --width N                 analysis window [default: 32 ms]",
        "  --early                   stop early [default: off]",
        "  --shuffle                 draw batches [default: on]",
        "  --prune TEXT              counts, with `|` between; 100% of them [default: 0|0|1]",
    ):
        assert line in lines


@pytest.mark.parametrize("columns", [20, 44, 80, 100, 400])
def test_no_line_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(columns, monkeypatch, description="What it does, in words. " * 9)
    assert max(map(len, text.splitlines())) <= min(max(columns, 42), 100)
    assert " ".join(text.split()).count("[default: 32 ms]") == 1


def test_usage_and_what_old_command_lines_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = page(
        Base, prog="tool", description="A tool.", usage="--a A\n--b B", retired={"cudnn": ""}, aliases={"w": "width"}
    )
    assert text.startswith("usage: tool --a A [FLAG ...]\n       tool --b B [FLAG ...]\n\nA tool.\n\n")
    assert text.endswith("Other names: --w for --width.\n\nTaken from older command lines, without effect: --cudnn.\n")


def test_help_ends_the_process_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(WithPaths, ["a.csv", "--load", "last", "--help"], prog="tool", description="A tool.")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: tool FILE ... [FLAG ...]\n\nA tool.\n\nData\n")


def test_a_table_for_each_group() -> None:
    assert table(WithPaths).splitlines()[:5] == [
        "**Data**",
        "",
        "| flag | default | unit | meaning |",
        "|---|---|---|---|",
        "| `--files` |  |  | what to read |",
    ]
    lines = table(WithPaths, flag="", heading="## {}").splitlines()
    assert [line for line in lines if line.startswith("## ")] == ["## Data", "## Model", "## Optimisation"]
    assert "| `shuffle` | `true` |  | draw batches |" in lines
    assert "| `prune` | `0\\|0\\|1` |  | counts, with `\\|` between; 100% of them |" in lines
    assert "| `load` | `auto` |  | what to load (auto, last) |" in lines
