"""One line a step, with or without a terminal."""

import io

from pipelines.local.screen import Screen


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(written: str) -> list[str]:
    """What a terminal shows of a text with carriage returns and erase-line codes."""
    lines = []
    for line in written.split("\n"):
        columns: list[str] = []
        for part in line.split("\r"):
            if part.startswith("\x1b[K"):
                columns, part = [], part.removeprefix("\x1b[K")
            columns[: len(part)] = part
        lines.append("".join(columns).rstrip())
    return lines


def test_without_a_terminal_there_is_one_line_a_step() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.start("train")
    screen.tick()
    screen.finish(12.34)
    screen.cached("publish")
    assert stream.getvalue() == "train                   12.3 s\npublish               cached\n"


def test_on_a_terminal_the_counting_line_is_replaced() -> None:
    stream = Terminal()
    screen = Screen(stream)
    screen.start("train")
    screen.tick()
    assert shown(stream.getvalue())[0].startswith("train              ...")
    screen.output("epoch 1: loss 3\n")
    screen.tick()
    screen.finish(1.0)
    assert shown(stream.getvalue()) == ["epoch 1: loss 3", "train                    1.0 s", ""]


def test_a_progress_bar_is_neither_cut_nor_written_over() -> None:
    stream = Terminal()
    screen = Screen(stream)
    screen.start("train")
    screen.output("\r 50 %")
    screen.tick()
    screen.output("\r100 %")
    screen.finish(1.0)
    assert shown(stream.getvalue()) == ["100 %", "train                    1.0 s", ""]


def test_a_progress_bar_that_is_taken_away_leaves_no_empty_line() -> None:
    stream = Terminal()
    screen = Screen(stream)
    screen.start("train")
    screen.output("\r 50 %")
    screen.output("\r     \r")
    screen.finish(1.0)
    assert shown(stream.getvalue()) == ["train                    1.0 s", ""]


def test_after_a_failure_the_step_s_own_line_is_the_last() -> None:
    stream = Terminal()
    screen = Screen(stream)
    screen.start("import_cv")
    screen.output("error: nowhere: no such folder\n")
    screen.fail()
    assert shown(stream.getvalue()) == ["error: nowhere: no such folder", ""]
