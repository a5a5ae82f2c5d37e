"""What people read of a settings dataclass: the page that `--help` prints, and the tables of the documentation.

Both show the settings in groups, by what they are for. `setting(..., group="Data")` begins a group; the settings behind
it in the same class belong to it until the next one begins.
"""

import dataclasses
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

WIDEST, NARROWEST = 98, 40  # columns of a page, whatever the terminal has
TEXT_COLUMN = 28  # where the texts stand on a page that is wide enough for two columns
TWO_COLUMNS = 70
LONGEST_CHOICES = 36  # columns: longer lists of choices stand in the text
SHORT_FACTS = 30  # columns; what is no longer stands on one line
UNBROKEN = "\N{NO-BREAK SPACE}"
OTHER = "Flags"  # the heading of settings that no group holds
VALUE_NAMES = {"_dir": "FOLDER", "_uri": "URI", "_path": "FILE", "_file": "FILE", "_files": "FILE"}
HOW_TO_SAY_IT = (
    "A switch is on by its name alone and off by --noNAME; --NAME true and --NAME false say the same. "
    "--flagfile FILE puts the flags of a file, one a line, in its place; what stands behind it wins."
)

USAGE = ("usage: ", *["       "] * 9)

Field = dataclasses.Field[Any]


def groups(settings_class: type) -> dict[str, list[Field]]:
    """The settings of a class by group: those of the class itself first, then those of its bases.

    A class whose groups shall have another order names them all in `GROUPS`. Raises LookupError if it forgets one.
    """
    by_name = {field.name: field for field in dataclasses.fields(settings_class)}
    by_group: dict[str, list[Field]] = {}
    for cls in settings_class.__mro__:
        group = OTHER
        for name in vars(cls).get("__annotations__", {}):
            if name not in by_name:  # said by a class before, or no setting
                continue
            field = by_name.pop(name)
            group = field.metadata["group"] or group
            by_group.setdefault(group, []).append(field)
    order = getattr(settings_class, "GROUPS", tuple(by_group))
    if missing := set(by_group) - set(order):
        raise LookupError(f"{settings_class.__name__}.GROUPS does not name {', '.join(sorted(missing))}")
    return {group: by_group[group] for group in order if group in by_group}


def page(
    settings_class: type,
    *,
    prog: str,
    description: str,
    usage: str = "",
    retired: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> str:
    """The text of `--help`, as wide as the terminal, and 98 columns at most.

    `usage` is what a command line needs besides flags of one's choice, a line for each way to call the command. The
    lines of a description stay lines.
    """
    width = min(max(shutil.get_terminal_size().columns - 2, NARROWEST), WIDEST)
    positionals = [_value(field) for field in dataclasses.fields(settings_class) if field.metadata["positional"]]
    usages = [
        " ".join(filter(None, [prog, line, "[FLAG ...]"])) for line in (usage or " ".join(positionals)).split("\n")
    ]
    blocks = ["\n".join(_wrapped(line, width, start, 11) for line, start in zip(usages, USAGE, strict=False))]
    blocks += ["\n".join(_wrapped(line, width) for line in description.strip().splitlines())]
    for group, fields in groups(settings_class).items():
        blocks.append("\n".join([group, *(_entry(field, width) for field in fields)]))
    blocks.append(_wrapped(HOW_TO_SAY_IT, width))
    if aliases:
        synonyms = ", ".join(f"--{name} for --{flag}" for name, flag in sorted(aliases.items()))
        blocks.append(_wrapped(f"Other names: {synonyms}.", width))
    if retired:
        names = ", ".join(f"--{name}" for name in sorted(retired))
        blocks.append(_wrapped(f"Taken from older command lines, without effect: {names}.", width))
    return "\n\n".join(blocks) + "\n"


def _entry(field: Field, width: int) -> str:
    """A setting: its name and value in one column, its text in the other, or below where that is too narrow."""
    name = _value(field) if field.metadata["positional"] else f"--{field.name} {_value(field)}".rstrip()
    facts = ", ".join(_facts(field))
    if len(facts) <= SHORT_FACTS:
        facts = facts.replace(" ", UNBROKEN)
    text = f"{field.metadata['help']} [{facts}]" if facts else field.metadata["help"]
    column = TEXT_COLUMN if width >= TWO_COLUMNS else 6
    if len(name) + 4 > column:
        shown = f"  {name}\n{_wrapped(text, width, ' ' * column)}"
    else:
        shown = _wrapped(text, width, f"  {name}".ljust(column), column)
    return shown.replace(UNBROKEN, " ")


def _wrapped(text: str, width: int, first: str = "", indent: int | None = None) -> str:
    later = " " * (len(first) if indent is None else indent)
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False, break_long_words=False
    )


def _value(field: Field) -> str:
    """What stands for the value on the command line; empty for a switch."""
    options = field.metadata["custom_args"]
    kinds = {kind for kind in (field.type, *get_args(field.type)) if isinstance(kind, type)}
    several = isinstance(field.default, tuple)
    if bool in kinds:
        return ""
    if options.get("metavar"):
        name = options["metavar"]
    elif _choices_fit(field):
        name = f"{{{','.join(_choices(field))}}}"
    elif kinds & {int, float}:
        name = "N" if int in kinds else "X"
    else:
        name = next((name for ending, name in VALUE_NAMES.items() if field.name.endswith(ending)), "TEXT")
    return f"{name} ..." if several else name


def _choices(field: Field) -> list[str]:
    return [str(choice) or "''" for choice in field.metadata["custom_args"].get("choices") or ()]


def _choices_fit(field: Field) -> bool:
    return 0 < len(",".join(_choices(field))) <= LONGEST_CHOICES


def _facts(field: Field) -> Iterator[str]:
    """Choices that are too many for the value's place, then the default with its unit."""
    unit, default = field.metadata["unit"], _default(field)
    if _choices(field) and not _choices_fit(field):
        yield f"one of {', '.join(_choices(field))}"
    if default:
        yield f"default: {default} {unit}".rstrip()
    elif unit:
        yield f"in {unit}"


def _default(field: Field) -> str:
    """A default as a person would write it; empty if the setting has none."""
    if isinstance(field.default, bool):
        return "on" if field.default else "off"
    if isinstance(field.default, tuple):
        return " ".join(map(str, field.default))
    return "" if field.default is None else str(field.default)


def table(settings_class: type, flag: str = "--", heading: str = "**{}**") -> str:
    """The Markdown tables of a settings dataclass, one a group, for the documentation."""
    return "\n\n".join(
        f"{heading.format(group)}\n\n{_rows(fields, flag)}" for group, fields in groups(settings_class).items()
    )


def _rows(fields: Sequence[Field], flag: str) -> str:
    rows = [f"| {'flag' if flag else 'parameter'} | default | unit | meaning |", "|---|---|---|---|"]
    for field in fields:
        default = str(field.default).lower() if isinstance(field.default, bool) else _default(field)
        choices = ", ".join(map(str, field.metadata["custom_args"].get("choices") or ()))
        cells = (
            f"`{flag}{field.name}`",
            f"`{default}`" if default else "",
            field.metadata["unit"],
            field.metadata["help"] + (f" ({choices})" if choices else ""),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
