"""A setting as an argument of a step's components and as a parameter of the pipeline; it is said once, at the setting.

`setting(..., pipeline=True)` makes a field both; `component=True` makes it an argument of the component alone. A
component takes the fields of settings classes by `@takes(...)`: from them come its descriptions, the literal arguments
in its source (`python -m pipelines.tables` writes them, because kfp ships that source as text), the pipeline's
parameters, their flags and their table. In the step, `from_arguments` makes the settings of what arrived.
"""

import dataclasses
import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

from speech.settings import with_extra_flags

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")
EXTRA_FLAGS = "extra_flags"  # a command line's further flags: text that continues a step's settings


@dataclasses.dataclass(frozen=True)
class Argument:
    """An argument of a component: `parameter` is the pipeline's that it takes, empty if it is left at its default."""

    name: str
    type: Any
    default: Any
    help: str
    unit: str = ""
    choices: tuple[Any, ...] | None = None
    parameter: str = ""
    settings: type = object  # the class that declares it

    @property
    def description(self) -> str:
        """What a form says of it."""
        unit = f" [{self.unit}]" if self.unit else ""
        choices = f" ({', '.join(map(str, self.choices))})" if self.choices else ""
        return f"{self.help}{unit}{choices}"

    @property
    def literal(self) -> str:
        """The argument in a function's signature; `Optional` is what kfp knows, and its executor imports."""
        kinds = [kind.__name__ for kind in get_args(self.type) if kind is not types.NoneType]
        if kinds:
            return f"{self.name}: Optional[{kinds[0]}] = {_quoted(self.default)},  # noqa: UP045"
        return f"{self.name}: {self.type.__name__} = {_quoted(self.default)},"


def takes(*classes: type, only: Collection[str] = (), but: Collection[str] = ()) -> Callable[[F], F]:
    """Let a component function take the settings of `classes`, all or `only` some: describe them in its docstring."""

    def decorate(function: F) -> F:
        taken = [
            argument
            for argument in arguments_of(*classes)
            if argument.name not in but and (not only or argument.name in only)
        ]
        function.arguments = taken  # type: ignore[attr-defined]
        return described(function, taken)

    return decorate


def described(function: F, arguments: Collection[Argument]) -> F:
    """Add `arguments` to the `Args:` section of a docstring; kfp makes the descriptions in the form of it."""
    text = inspect.cleandoc(function.__doc__ or "")
    lines = [text] if "\nArgs:\n" in text else [text, "", "Args:"]
    function.__doc__ = "\n".join([*lines, *(f"    {given.name}: {given.description}" for given in arguments)]) + "\n"
    return function


def arguments_of(*classes: type) -> list[Argument]:
    """The arguments that settings classes declare; `extra_flags` stand behind the next class, which they continue."""
    arguments: list[Argument] = []
    flags: list[Argument] = []
    for settings_class in classes:
        declared = list(_declared(settings_class))
        arguments += [argument for argument in declared if argument.name != EXTRA_FLAGS]
        arguments += flags
        flags = [argument for argument in declared if argument.name == EXTRA_FLAGS]
    return arguments + flags


def _declared(settings_class: type) -> Iterator[Argument]:
    for field in dataclasses.fields(settings_class):
        parameter = field.metadata["pipeline"]
        if not parameter and not field.metadata["component"]:
            continue
        default = field.metadata["in_pipeline"]
        kind, default = _flat(field.type, field.default if default is None else default)
        choices = field.metadata["custom_args"].get("choices")
        yield Argument(
            field.name,
            kind,
            default,
            field.metadata["help"],
            field.metadata["unit"],
            tuple(choices) if choices else None,
            (field.name if parameter is True else parameter) or "",
            settings_class,
        )


def _flat(kind: Any, default: Any) -> tuple[Any, Any]:
    """The type and default of an argument: kfp's are flat, so a list is written as one text."""
    if isinstance(default, tuple):
        return str, " ".join(default)
    if get_origin(kind) is types.UnionType:
        return Union[get_args(kind)], default  # noqa: UP007 - the spelling that kfp understands
    return kind, default


def _quoted(value: Any) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)


def from_arguments(
    settings_class: type[S], arguments: Mapping[str, Any], where: str = "", flags: str = EXTRA_FLAGS
) -> S:
    """The settings among the `arguments` of a component function, with the further flags on top; `where` names those.

    Raises InputError for a value that is not allowed, and for an unknown flag.
    """
    given = {}
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]
        if field.name in arguments:
            value = arguments[field.name]
            is_list = isinstance(field.default, tuple) and isinstance(value, str)
            given[field.name] = tuple(value.replace(",", " ").split()) if is_list else value
    return with_extra_flags(settings_class(**given), arguments[flags] if where else "", where)
