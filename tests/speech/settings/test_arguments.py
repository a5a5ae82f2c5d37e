"""A setting as an argument of a component: what is declared, written and read back."""

from dataclasses import dataclass

import pytest

from speech.errors import InputError
from speech.settings import setting
from speech.settings.arguments import arguments_of, from_arguments, takes


@dataclass(frozen=True)
class Inputs:
    """Besides the settings."""

    where: str = setting("", "the place", pipeline=True)
    extra_flags: str = setting("", "further flags", pipeline="more")


@dataclass(frozen=True)
class Settings:
    """Of an example."""

    size: int = setting(3, "how large", unit="m", pipeline=True, in_pipeline=5)
    mode: str = setting('a "b"', "which way", choices=("x", "y"), pipeline="way")
    names: tuple[str, ...] = setting(("p", "q"), "who", component=True)
    hidden: bool = setting(False, "for the shell alone")
    depth: float | None = setting(None, "not said", component=True)

    def __post_init__(self) -> None:
        if self.size > 9:
            raise InputError("--size is too large")


def test_what_is_declared_and_in_which_order() -> None:
    found = arguments_of(Inputs, Settings)
    assert [(one.name, one.parameter) for one in found] == [
        ("where", "where"), ("size", "size"), ("mode", "way"), ("names", ""), ("depth", ""), ("extra_flags", "more"),
    ]  # fmt: skip
    assert [one.literal for one in found[1:5]] == [
        "size: int = 5,",
        'mode: str = "a \\"b\\"",',
        'names: str = "p q",',
        "depth: Optional[float] = None,  # noqa: UP045",
    ]
    assert [found[1].description, found[2].description] == ["how large [m]", "which way (x, y)"]


def test_a_component_is_described() -> None:
    @takes(Settings, only=("size",))
    def component(size: int) -> None:
        """Do it.

        Args:
            made: What comes out.
        """

    @takes(Inputs, but=("where",))
    def other() -> None:
        """Do that."""

    assert component.__doc__ == "Do it.\n\nArgs:\n    made: What comes out.\n    size: how large [m]\n"
    assert other.__doc__ == "Do that.\n\nArgs:\n    extra_flags: further flags\n"


def test_settings_of_what_arrived() -> None:
    arrived = {"size": 4, "names": "r,s t", "extra_flags": "--hidden --size 6", "made": object()}
    assert from_arguments(Settings, arrived) == Settings(4, names=("r", "s", "t"))
    assert from_arguments(Settings, arrived, "flags of it") == Settings(6, names=("r", "s", "t"), hidden=True)
    with pytest.raises(InputError, match="--size is too large"):
        from_arguments(Settings, {"size": 12})
    with pytest.raises(InputError, match="did you mean --hidden"):
        from_arguments(Settings, {"rest": "--hiden"}, "it", "rest")
