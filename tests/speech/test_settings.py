"""Command lines of both peers, retired and unknown flags, and the tables made from a dataclass."""

from dataclasses import dataclass

import pytest

from speech.errors import InputError
from speech.settings import flags, parse, setting, setting_error, split_outside_brackets, table, with_extra_flags


@dataclass(frozen=True)
class Example:
    """A step's settings."""

    train_files: tuple[str, ...] = setting((), "CSVs")
    augment: tuple[str, ...] = setting((), "augmentations")
    early_stop: bool = setting(False, "stop early")
    learning_rate: float = setting(0.001, "step size")
    window: int = setting(32, "analysis window", unit="ms")
    load: str = setting("auto", "what to load", choices=("auto", "last"))

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise setting_error("learning_rate", self.learning_rate, "above 0")


def read(*argv: str, **options) -> Example:
    return parse(Example, argv, prog="example", description="An example.", **options)


@pytest.mark.parametrize(
    "argv",
    [
        ("--train_files", "a.csv,b.csv"),
        ("--train_files", "a.csv", "b.csv"),
        ("--train_files=a.csv,b.csv",),
        ("--train_files", "a.csv", "--train_files", "b.csv"),
        ("--train-files", "a.csv", "b.csv"),
    ],
)
def test_lists_in_both_spellings(argv: tuple[str, ...]) -> None:
    assert read(*argv).train_files == ("a.csv", "b.csv")


def test_commas_inside_brackets_belong_to_the_item() -> None:
    assert read("--augment", "pitch[p=0.1,pitch=1~0.2]", "volume").augment == ("pitch[p=0.1,pitch=1~0.2]", "volume")
    assert split_outside_brackets("a[b,c],d,,e") == ["a[b,c]", "d", "e"]


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        (("--early_stop",), True),
        (("--early_stop", "true"), True),
        (("--early_stop=True",), True),
        (("--early_stop", "false"), False),
        (("--noearly_stop",), False),
        ((), False),
    ],
)
def test_booleans_bare_and_with_a_value(argv: tuple[str, ...], value: bool) -> None:
    assert read(*argv).early_stop is value


def test_refused_values_name_the_flag() -> None:
    with pytest.raises(InputError, match=r"--learning_rate -1.0 is not allowed: above 0"):
        read("--learning_rate=-1")
    with pytest.raises(InputError, match="--learning_rate: invalid float value: 'x'"):
        read("--learning_rate", "x")
    with pytest.raises(InputError, match="--load: invalid choice: 'best'"):
        read("--load", "best")


def test_unknown_flags_name_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown flag --learning_rat: did you mean --learning_rate"):
        read("--learning_rat", "1")
    with pytest.raises(InputError, match="unknown argument stray"):
        read("stray")


def test_retired_flags_say_why_and_take_their_value(capsys) -> None:
    given = read("--train_cudnn", "true", "--window", "20", retired={"train_cudnn": "cuDNN is used by itself"})
    assert given.window == 20
    assert "--train_cudnn does nothing here: cuDNN is used by itself" in capsys.readouterr().err


def test_retired_bare_flag_before_another() -> None:
    assert read("--train_cudnn", "--window", "20", retired={"train_cudnn": "x"}).window == 20


def test_aliases() -> None:
    assert read("--win", "20", aliases={"win": "window"}).window == 20


@pytest.mark.parametrize("value", ["--early-stop --load last", "--name=a --other b", "--other=c --a-b d", "-x --a-b"])
def test_a_value_may_be_flags_itself(value: str) -> None:
    @dataclass(frozen=True)
    class Texts:
        name: str = setting("", "flags of a step")
        other: str = setting("", "another text")

    for argv in (
        ["--name", value, "--other", "o"],
        ["--other", "o", "--name", value],
        [f"--name={value}", "--other=o"],
    ):
        assert parse(Texts, argv, prog="example", description="An example.") == Texts(value, "o")


def test_flags_and_extra_flags_round_trip() -> None:
    given = Example(train_files=("a", "b"), early_stop=True, window=20)
    assert read(*flags(given)) == given
    assert with_extra_flags(given, "--window 25 --load last", "extra") == Example(
        ("a", "b"), (), True, 0.001, 25, "last"
    )
    assert with_extra_flags(given, "  ", "extra") is given
    with pytest.raises(InputError, match="--windo"):
        with_extra_flags(given, "--windo 25", "extra")


def test_table_lists_every_flag() -> None:
    lines = table(Example).splitlines()
    assert "| `--window` | `32` | ms | analysis window |" in lines
    assert "| `--load` | `auto` |  | what to load (auto, last) |" in lines
    assert len(lines) == 8
