"""Command lines of both peers, retired and unknown flags, and the tables made from a dataclass."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from speech.errors import InputError
from speech.settings import flags, parse, setting, setting_error, split_outside_brackets, with_extra_flags


@dataclass(frozen=True)
class Example:
    """A step's settings."""

    train_files: tuple[str, ...] = setting((), "CSVs")
    augment: tuple[str, ...] = setting((), "augmentations", adds_up=True)
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
        ("--train_files", "x.csv", "y.csv", "--train_files", "a.csv,b.csv"),
        ("--train-files", "a.csv", "b.csv"),
        ("-train_files", "a.csv", "b.csv"),
    ],
)
def test_lists_in_both_spellings(argv: tuple[str, ...]) -> None:
    assert read(*argv).train_files == ("a.csv", "b.csv")


def test_a_boolean_that_may_be_left_open() -> None:
    @dataclass(frozen=True)
    class Open:
        layer_norm: bool | None = setting(None, "on, off or as the checkpoint has it")
        files: tuple[str, ...] = setting((), "files", positional=True)

    for argv, expected in (
        ("a", None),
        ("--layer_norm a", True),
        ("--nolayer_norm a", False),
        ("a --layer_norm 0", False),
    ):
        assert parse(Open, argv.split(), prog="x", description="x") == Open(expected, ("a",))
    with pytest.raises(InputError, match="--nolayer_norm takes no value"):
        parse(Open, ["--nolayer_norm=true"], prog="x", description="x")


def test_of_a_repeated_list_the_last_one_counts_unless_it_adds_up(capsys) -> None:
    given = read("--train_files", "a.csv", "--augment", "volume", "--train_files=b.csv", "--augment", "pitch[p=0.1]")
    assert given.train_files == ("b.csv",)
    assert given.augment == ("volume", "pitch[p=0.1]")
    assert capsys.readouterr().err == "note: --train_files is given more than once: the last one counts\n"


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
        (("--early_stop", "--no-early-stop"), False),
        (("--noearly_stop", "--early_stop"), True),
        (("-early_stop",), True),
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


@pytest.mark.parametrize("argv", [("--noearly_stop=true",), ("--noearly_stop", "true"), ("--no-early-stop=0",)])
def test_a_negation_with_a_value_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"early_stop takes no value, found '?(true|0)'?: write .*--early_stop=VALUE"):
        read(*argv)


def test_unknown_flags_name_one_that_is_near() -> None:
    with pytest.raises(InputError, match="unknown flag --learning_rat: did you mean --learning_rate"):
        read("--learning_rat", "1")
    with pytest.raises(InputError, match="unknown argument stray"):
        read("stray")


@pytest.mark.parametrize("flag", ["--l", "--file", "--learn", "--early", "--widow_size", "--lr"])
def test_what_is_not_near_is_not_suggested(flag: str) -> None:
    with pytest.raises(InputError, match=f"unknown flag {flag}: `example --help` lists the flags"):
        read(flag, "1")


def test_refused_flags_say_what_to_do_instead() -> None:
    for argv in (("--saved_model", "x"), ("--saved_model=x",)):
        with pytest.raises(InputError, match="--saved_model is not taken over: give --load"):
            read(*argv, refused={"saved_model": "give --load"})


def test_a_flagfile_stands_where_it_is_named(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.txt", tmp_path / "outer.txt"
    inner.write_text("--window=25\n--early_stop\n")
    outer.write_text(
        "# a comment\n// another\n\n  --window 20\n--train_files a.csv 'b c.csv'\n"
        f"--learning-rate=0.5\n--flagfile={inner}\n--load=last\n--augment=volume\n"
    )
    expected = Example(("a.csv", "b c.csv"), ("volume", "pitch"), True, 0.5, 25, "auto")
    assert read("--flagfile", str(outer), "--augment", "pitch", "--load", "auto") == expected
    assert read("--window", "1", f"--flagfile={outer}", "--noearly_stop") == Example(
        ("a.csv", "b c.csv"), ("volume",), False, 0.5, 25, "last"
    )
    with pytest.raises(InputError, match="unknown flag --widnow"):
        inner.write_text("--widnow=3\n")
        read("--flagfile", str(inner))


def test_flagfiles_that_cannot_be_read(tmp_path: Path) -> None:
    looping = tmp_path / "looping.txt"
    looping.write_text(f"--flagfile={looping}\n")
    with pytest.raises(InputError, match="looping.txt includes itself"):
        read("--flagfile", str(looping))
    with pytest.raises(InputError, match="missing.txt: expected a text file"):
        read("--flagfile", str(tmp_path / "missing.txt"))
    looping.write_text("--window=3\nwindow=4\n")
    with pytest.raises(InputError, match="looping.txt, line 2: 'window=4': expected a flag"):
        read("--flagfile", str(looping))


@dataclass(frozen=True)
class Tool:
    """A command with a list of positional arguments."""

    files: tuple[str, ...] = setting((), "files", positional=True, metavar="FILE")
    augment: tuple[str, ...] = setting((), "augmentations", adds_up=True)
    random: bool = setting(False, "in random order")
    number: int = setting(-1, "how many")
    output: str = setting("", "where to")


@pytest.mark.parametrize(
    "argv",
    [
        "a.csv b.sdb --augment volume[p=1] --augment reverb --random --number -3",
        "--augment volume[p=1] --augment reverb --random --number -3 a.csv b.sdb",
        "--augment volume[p=1] --random a.csv --augment reverb --number=-3 b.sdb",
        "--random --number -3 --augment volume[p=1] a.csv --augment reverb b.sdb --output=",
    ],
)
def test_positional_arguments_anywhere(argv: str) -> None:
    expected = Tool(("a.csv", "b.sdb"), ("volume[p=1]", "reverb"), True, -3)
    assert parse(Tool, argv.split(), prog="tool", description="A tool.") == expected


def test_items_with_brackets_belong_to_their_flag() -> None:
    argv = ["--augment", "volume[p=1]", "pitch[p=1]", "a.csv"]
    assert parse(Tool, argv, prog="tool", description="A tool.") == Tool(("a.csv",), ("volume[p=1]", "pitch[p=1]"))
    with pytest.raises(InputError, match="--output: expected one argument"):
        parse(Tool, ["a.csv", "--output"], prog="tool", description="A tool.")


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
