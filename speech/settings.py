"""From a settings dataclass to command-line flags, help and parameter tables.

A step's settings are one frozen dataclass whose fields are made by `setting`. simple-parsing turns it into an argparse
parser; what the peers' command lines need on top is here: `a,b` and `a b` lists, repeated flags, bare booleans,
`--noflag`, retired flags that say why they do nothing, unknown flags that name the nearest one.
"""

import argparse
import dataclasses
import difflib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from simple_parsing import ArgumentParser
from simple_parsing.helpers.fields import field as parsed_field

from speech.errors import InputError, one_line_errors

S = TypeVar("S")
BOOLEANS = ("true", "false", "yes", "no", "y", "n", "t", "f", "1", "0")


def split_outside_brackets(text: str) -> list[str]:
    """Split at commas, except inside `[...]`: `pitch[p=0.1,pitch=1],volume` -> two items."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append(text[start:position])
            start = position + 1
    return [item for item in (*items, text[start:]) if item]


class _Collect(argparse.Action):
    """Lists as DeepSpeech (`a,b`, or the flag repeated) and Coqui STT (`a b`) write them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given = vars(namespace).setdefault("_given", set())
        before = getattr(namespace, self.dest) if self.dest in given else ()
        given.add(self.dest)
        setattr(namespace, self.dest, (*before, *(item for value in values for item in split_outside_brackets(value))))


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    choices: Sequence[Any] | None = None,
    group: str = "",
    positional: bool = False,
    metavar: str = "",
) -> Any:
    """A field of a settings dataclass: default, help text, unit (`s`, `ms`, `Hz`, ...) and allowed values.

    A tuple default makes a list flag. `group` is the heading in the parameter table, `metavar` the value's name in the
    help.
    """
    text = f"{help} [{unit}]" if unit else help
    options: dict[str, Any] = {"help": text.replace("%", "%%")}
    if choices is not None:
        options["choices"] = list(choices)
    if metavar:
        options["metavar"] = metavar
    if isinstance(default, tuple):
        options |= {"type": str, "nargs": "*", "action": _Collect}
    made = parsed_field(default=default, positional=positional, **options)
    made.metadata = {**made.metadata, "help": help, "unit": unit, "group": group}
    return made


def setting_error(flag: str, value: object, allowed: str) -> InputError:
    """The error of a `__post_init__` check: the flag's name, its value and what is allowed."""
    return InputError(f"--{flag} {value!r} is not allowed: {allowed}")


def parse(
    settings_class: type[S],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    retired: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> S:
    """Parse `argv` into `settings_class`.

    `retired` maps flags that no longer do anything to the one line that says why; `aliases` maps another spelling to
    the flag. Raises InputError for an unknown flag (with the nearest known one) or a refused value.
    """
    retired, aliases = retired or {}, aliases or {}
    fields = {field.name: field for field in dataclasses.fields(settings_class)}  # type: ignore[arg-type]
    known = [*fields, *retired, *aliases]
    arguments = _drop_retired(_normalise(list(argv), fields, known, aliases), retired)
    parser = ArgumentParser(prog=prog, description=description, allow_abbrev=False, add_config_path_arg=False)
    parser.add_arguments(settings_class, dest="settings")
    parser.error = _raise_input_error  # type: ignore[method-assign]
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise InputError(_unknown_flag(unknown[0], known, prog))
    return parsed.settings


def _raise_input_error(message: str) -> Any:
    raise InputError(message.replace("argument ", "", 1))


def _unknown_flag(flag: str, known: Sequence[str], prog: str) -> str:
    nearest = difflib.get_close_matches(flag.lstrip("-").split("=")[0], known, n=1, cutoff=0.5)
    hint = f"did you mean --{nearest[0]}?" if nearest else f"`{prog} --help` lists the flags"
    return f"unknown {'flag' if flag.startswith('-') else 'argument'} {flag}: {hint}"


def _normalise(
    argv: list[str], fields: Mapping[str, dataclasses.Field[Any]], known: Sequence[str], aliases: Mapping[str, str]
) -> list[str]:
    """`--some-flag` -> `--some_flag`, `--noflag` -> `--flag=false`, aliases -> flags, `--helpfull` -> `--help`.

    A bare boolean in front of a positional argument gets its value, so that it does not take the argument for one. So
    does a text whose value looks like flags: `--train_flags "--layer_norm --checkpoint_secs 300"`.
    """
    arguments: list[str] = []
    remaining = iter(zip(argv, [*argv[1:], ""], strict=False))
    for argument, following in remaining:
        if argument == "--":
            arguments.append(argument)
            continue
        if not argument.startswith("--"):
            arguments.append(argument)
            continue
        name, equals, value = argument[2:].partition("=")
        name = name.replace("-", "_")
        if name == "helpfull":
            name = "help"
        if name not in known and name.startswith("no") and name[2:] in known and not equals:
            name, equals, value = name[2:], "=", "false"
        name = aliases.get(name, name)
        is_boolean = name in fields and fields[name].type in (bool, bool | None)
        if is_boolean and not equals and following.lower() not in BOOLEANS:
            equals, value = "=", "true"
        is_text = name in fields and isinstance(fields[name].default, str)
        if is_text and not equals and following.startswith("--") and " " in following:
            equals, value = "=", following
            next(remaining)
        arguments.append(f"--{name}{equals}{value}")
    return arguments


def _drop_retired(arguments: list[str], retired: Mapping[str, str]) -> list[str]:
    kept, skipping = [], False
    for argument in arguments:
        if argument.startswith("--"):
            name, equals, _ = argument[2:].partition("=")
            skipping = name in retired and not equals
            if name in retired:
                print(f"note: --{name} does nothing here: {retired[name]}", file=sys.stderr)
                continue
        elif skipping:
            skipping = False
            continue
        kept.append(argument)
    return kept


def with_extra_flags(settings: S, extra_flags: str, where: str) -> S:
    """`settings` with what a command-line string such as `--layer_norm --checkpoint_secs 300` sets on top."""
    if not extra_flags.strip():
        return settings
    parsed = parse(type(settings), [*flags(settings), *shlex.split(extra_flags)], prog=where, description="")
    return parsed


def flags(settings: object) -> list[str]:
    """The command line that gives these settings: what differs from the defaults, as `--name=value` items."""
    given = []
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if value == field.default:
            continue
        if isinstance(value, tuple):
            given += [f"--{field.name}", *map(str, value)]
        else:
            given.append(f"--{field.name}={value}")
    return given


def table(settings_class: type) -> str:
    """The Markdown table of a settings dataclass, for the READMEs."""
    rows = ["| flag | default | unit | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(settings_class):
        default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        shown = "" if default in ("", None) else f"`{default}`".replace("|", "\\|")
        choices = field.metadata["custom_args"].get("choices")
        help_text = field.metadata["help"] + (f" ({', '.join(map(str, choices))})" if choices else "")
        rows.append(
            f"| `--{field.name}` | {shown} | {field.metadata['unit']} | {help_text.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(rows)


def command(
    settings_class: type[S],
    run: Callable[[S], object],
    *,
    prog: str,
    description: str,
    retired: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """The `main` of a step's `__main__`: parse, run, and turn user errors into one line and an exit code."""
    with one_line_errors():
        arguments = sys.argv[1:] if argv is None else argv
        run(parse(settings_class, arguments, prog=prog, description=description, retired=retired, aliases=aliases))
