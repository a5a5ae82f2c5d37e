"""From a settings dataclass to command-line flags, help and parameter tables.

A step's settings are one frozen dataclass whose fields are made by `setting`. simple-parsing turns it into an argparse
parser; what the peers' command lines need on top is here: `a,b` and `a b` lists, repeated flags, bare booleans,
`--noflag`, `--flagfile`, retired flags that say why they do nothing, unknown flags that name the nearest one. What
`--help` prints is in `speech/settings/flag_help.py`.
"""

import argparse
import dataclasses
import difflib
import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from simple_parsing import ArgumentParser
from simple_parsing.helpers.fields import field as parsed_field

from speech.errors import InputError, one_line_errors
from speech.settings import flag_help

S = TypeVar("S")
BOOLEANS = ("true", "false", "yes", "no", "y", "n", "t", "f", "1", "0")
BOOLEAN_TYPES = (bool, bool | None)  # of a field; None: not said
NEAR = 0.8  # difflib's ratio from which on a name may be a slip of the finger


def split_outside_brackets(text: str) -> list[str]:
    """Split at commas, except inside `[...]`: `pitch[p=0.1,pitch=1],volume` -> two items."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append(text[start:position])
            start = position + 1
    return [item for item in (*items, text[start:]) if item]


class _LastList(argparse.Action):
    """Lists as DeepSpeech (`a,b`) and Coqui STT (`a b`) write them; repeated, the last one counts, as there."""

    adds_up = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        seen = vars(namespace).setdefault("_given", set())
        items = tuple(item for value in values for item in split_outside_brackets(value))
        before = getattr(namespace, self.dest) if self.dest in seen else ()
        if self.adds_up:
            items = (*before, *items)
        elif before and before != items:
            print(f"note: {option_string} is given more than once: the last one counts", file=sys.stderr)
        seen.add(self.dest)
        setattr(namespace, self.dest, items)


class _AddingList(_LastList):
    """A list whose flag may be repeated, an item each, as DeepSpeech's `--augment`."""

    adds_up = True


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    choices: Sequence[Any] | None = None,
    group: str = "",
    positional: bool = False,
    metavar: str = "",
    adds_up: bool = False,
    pipeline: bool | str = False,
    component: bool = False,
    in_pipeline: Any = None,
) -> Any:
    """A field of a settings dataclass: default, help text, unit (`s`, `ms`, `Hz`, ...) and allowed values.

    A tuple default makes a list flag; repeated, the last one counts unless it `adds_up`. `group` is the heading of this
    setting and of those behind it in the class (see flag_help.py), `metavar` the value's name in the help.
    `pipeline` makes it a parameter of the pipeline, of its own name or of that name, with the default `in_pipeline`
    there; `component` an argument of the step's component alone (see arguments.py).
    """
    options: dict[str, Any] = {"help": help.replace("%", "%%")}
    if choices is not None:
        options["choices"] = list(choices)
    if metavar:
        options["metavar"] = metavar
    if isinstance(default, tuple):
        options |= {"type": str, "nargs": "*", "action": _AddingList if adds_up else _LastList}
    made = parsed_field(default=default, positional=positional, **options)
    made.metadata = {**made.metadata, "help": help, "unit": unit, "group": group, "positional": positional}
    made.metadata |= {"pipeline": pipeline, "component": component, "in_pipeline": in_pipeline}
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
    usage: str = "",
    retired: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    refused: Mapping[str, str] | None = None,
) -> S:
    """Parse `argv` into `settings_class`; `--help` prints its flags and ends the process.

    `usage` is what a command line needs besides flags of one's choice. `retired` maps flags that no longer do anything
    to the one line that says why, `refused` flags of the peers that would change the result, and that there is nothing
    for, to what to do instead; `aliases` maps another spelling to the flag. Raises InputError for an unknown flag (with
    a known one if that is near) or a refused value.
    """
    retired, aliases, refused = retired or {}, aliases or {}, refused or {}
    fields = {field.name: field for field in dataclasses.fields(settings_class)}  # type: ignore[arg-type]
    known = [*fields, *retired, *aliases]
    arguments = _normalise(list(expand_flagfiles(argv)), fields, known, aliases)
    arguments = _positionals_last(_drop_retired(arguments, retired), fields)
    parser = ArgumentParser(prog=prog, allow_abbrev=False, add_config_path_arg=False)
    parser.add_arguments(settings_class, dest="settings")
    texts = {"prog": prog, "description": description, "usage": usage}
    parser.format_help = lambda: flag_help.page(  # type: ignore[method-assign]
        settings_class, **texts, retired=retired, aliases=aliases
    )
    parser.error = _raise_input_error  # type: ignore[method-assign]
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].lstrip("-").partition("=")[0]
        if name in refused:
            raise InputError(f"--{name} is not taken over: {refused[name]}")
        raise InputError(_unknown_flag(unknown[0], known, prog))
    return parsed.settings


def _raise_input_error(message: str) -> Any:
    raise InputError(" ".join(message.replace("argument ", "", 1).splitlines()))


def _unknown_flag(flag: str, known: Sequence[str], prog: str) -> str:
    nearest = difflib.get_close_matches(flag.lstrip("-").split("=")[0], known, n=1, cutoff=NEAR)
    hint = f"did you mean --{nearest[0]}?" if nearest else f"`{prog} --help` lists the flags"
    return f"unknown {'flag' if flag.startswith('-') else 'argument'} {flag}: {hint}"


def expand_flagfiles(argv: Sequence[str], within: tuple[Path, ...] = ()) -> Iterator[str]:
    """`argv` with the flags of a `--flagfile FILE` in its place, so that what stands behind it wins, as absl does it.

    A flag a line; blank lines and those that begin with `#` or `//` are comments; a line may be another --flagfile.
    `--name=value` is taken as it stands, spaces and quotes included; without `=` the line is read as a shell would.
    Raises InputError for a file that cannot be read, or that includes itself.
    """
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument == "--":
            yield from (argument, *arguments)
        elif name not in ("--flagfile", "-flagfile"):
            yield argument
        else:
            path = Path(value if equals else next(arguments, "")).expanduser()
            if path in within:
                raise InputError(f"--flagfile {path} includes itself: {' -> '.join(map(str, (*within, path)))}")
            yield from expand_flagfiles(list(_flagfile_lines(path)), (*within, path))


def _flagfile_lines(path: Path) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"--flagfile {path}: expected a text file with a flag a line: {error}") from error
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith(("#", "//")):
            continue
        words = line.split(maxsplit=1)
        if not words[0].startswith("-"):
            raise InputError(f"{path}, line {number}: {line!r}: expected a flag, such as --epochs=3")
        yield from [line] if "=" in words[0] else shlex.split(line)


def _normalise(
    argv: list[str], fields: Mapping[str, dataclasses.Field[Any]], known: Sequence[str], aliases: Mapping[str, str]
) -> list[str]:
    """`--some-flag` and `-some_flag` -> `--some_flag`, `--noflag` -> `--flag=false`, aliases -> flags.

    `--helpfull` is `--help`. A bare boolean in front of a positional argument gets its value, so that it does not take
    the argument for one. So does a text whose value looks like flags: `--train_flags "--layer_norm --epochs 3"`.
    """
    arguments: list[str] = []
    remaining = deque(argv)
    while remaining:
        argument = remaining.popleft()
        following = remaining[0] if remaining else ""
        name, (_, equals, value) = _name(argument), argument.partition("=")
        if argument == "--" or not (argument.startswith("--") or name in known):
            arguments.append(argument)
            continue
        switched_off = _switched_off(name, known, fields, aliases)
        if switched_off:
            if equals or following.lower() in BOOLEANS:
                raise InputError(
                    f"--{name} takes no value, found {value or following!r}: write --{name}, or --{switched_off}=VALUE"
                )
            name, equals, value = switched_off, "=", "false"
        name = "help" if name == "helpfull" else aliases.get(name, name)
        if name in fields and not equals:
            if _is_bare_boolean(fields[name], following):
                equals, value = "=", "true"
            elif _is_text_of_flags(fields[name], following):
                equals, value = "=", remaining.popleft()
        arguments.append(f"--{name}{equals}{value}")
    return arguments


def _is_bare_boolean(field: dataclasses.Field[Any], following: str) -> bool:
    return field.type in BOOLEAN_TYPES and following.lower() not in BOOLEANS


def _is_text_of_flags(field: dataclasses.Field[Any], following: str) -> bool:
    """Whether what looks like a flag is the value of a text."""
    return isinstance(field.default, str) and following.startswith("--") and " " in following


def _name(argument: str) -> str:
    return argument.lstrip("-").partition("=")[0].replace("-", "_") if argument.startswith("-") else ""


def _switched_off(
    name: str, known: Sequence[str], fields: Mapping[str, dataclasses.Field[Any]], aliases: Mapping[str, str]
) -> str:
    """The flag that `--noflag` (absl) or `--no-flag` (argparse) switches off; empty if `name` is nothing like it."""
    flag = name[2:].lstrip("_")
    if name in known or not name.startswith("no") or flag not in known:
        return ""
    field = fields.get(aliases.get(flag, flag))
    return flag if field is None or field.type in BOOLEAN_TYPES else ""


def _positionals_last(arguments: list[str], fields: Mapping[str, dataclasses.Field[Any]]) -> list[str]:
    """Flags as `--name=value` and the positional arguments behind them, where those are a list.

    argparse takes such a list only in one piece. A list flag takes one item, and further ones that have brackets
    (`--augment volume[p=0.5] reverb a.csv` has one positional argument too many).
    """
    if not any(field.metadata["positional"] and isinstance(field.default, tuple) for field in fields.values()):
        return arguments
    flags, positionals, waiting = [], [], ""
    for argument in arguments:
        if argument.startswith("--"):
            waiting = "" if "=" in argument or argument == "--help" else argument
            flags += [] if waiting else [argument]
        elif waiting or (flags and "[" in argument):
            flag = waiting or flags[-1].partition("=")[0]
            flags.append(f"{flag}={argument}")
            waiting = ""
        else:
            positionals.append(argument)
    return [*flags, *positionals, *([waiting] if waiting else [])]


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
    return parse(type(settings), [*flags(settings), *shlex.split(extra_flags)], prog=where, description="")


def flags(settings: object) -> list[str]:
    """The command line that gives these settings: what differs from the defaults, as `--name=value` items."""
    arguments = []
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if value == field.default:
            continue
        if isinstance(value, tuple):
            arguments += [f"--{field.name}", *map(str, value)]
        else:
            arguments.append(f"--{field.name}={value}")
    return arguments


def command(
    settings_class: type[S],
    run: Callable[[S], object],
    *,
    prog: str,
    description: str,
    usage: str = "",
    retired: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
    refused: Mapping[str, str] | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """The `main` of a step's `__main__`: parse, run, and turn user errors into one line and an exit code."""
    with one_line_errors():
        arguments = sys.argv[1:] if argv is None else argv
        more = {"retired": retired, "aliases": aliases, "refused": refused}
        run(parse(settings_class, arguments, prog=prog, description=description, usage=usage, **more))
