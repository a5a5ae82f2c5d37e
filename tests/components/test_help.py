"""`--help` of every command of the project, as a person sees it."""

import ast
import re
import runpy
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from components.evaluate.__main__ import EvaluateCommand
from components.export.__main__ import ExportCommand
from components.train.__main__ import TrainCommand
from components.train.peers.afterwards import ExportFlags, TestFlags
from speech.settings import flag_help
from speech.settings.flag_help import groups

ROOT = Path(__file__).parents[2]
NO_SETTINGS = (  # argparse alone; what runs in another interpreter; no flags
    "components.export.memmapped",
    "components.evaluate.decode.ds_ctcdecoder_program",
    "pipelines.tables",
)
SUB_COMMANDS = {
    "pipelines": ("run", "compile", "submit", "schedule", "images build", "images push"),
    "components.publish": ("", "rollback", "champion"),
}


def commands() -> list[str]:
    """Every module that can be run, with its sub-commands: `components.publish rollback`."""
    found = []
    for path in [*ROOT.glob("components/**/*.py"), *ROOT.glob("pipelines/**/*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body):
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        found += [f"{module} {name}".strip() for name in SUB_COMMANDS.get(module, ("",)) if module not in NO_SETTINGS]
    return sorted(found)


def called(command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys) -> tuple[str, type]:
    """What a command prints, and the class of its settings."""
    seen: list[type] = []
    real = flag_help.page
    monkeypatch.setattr(flag_help, "page", lambda cls, **texts: (seen.append(cls), real(cls, **texts))[1])
    monkeypatch.setenv("COLUMNS", str(columns))
    module, *words = command.split()
    monkeypatch.setattr(sys, "argv", [module, *words, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert not ended.value.code
    return capsys.readouterr().out, seen[0]


def test_the_commands_are_found() -> None:
    assert {"components.train", "components.publish rollback", "pipelines submit"} <= set(commands())
    assert len(commands()) >= 19


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # runpy's, about a module that is loaded already
@pytest.mark.parametrize("command", commands())
def test_help_is_for_people(command: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    text, settings = called(command, 100, monkeypatch, capsys)
    assert max(map(len, text.splitlines())) < 100
    usage, _, _ = text.partition("\n\n")
    assert len(usage.splitlines()) <= 4
    assert "settings" not in text.split()
    for cls in settings.__mro__[:-1]:
        assert cls.__name__ not in text
        assert not cls.__doc__ or cls.__doc__ not in text
    headings = [line for line in text.split("\n\n") if "\n  " in line]
    assert [block.splitlines()[0] for block in headings if not block.startswith("usage")] == list(groups(settings))
    one_line = " ".join(text.split())
    for field in fields(settings):
        if field.metadata["positional"]:
            continue
        entries = re.findall(rf"^  --{field.name}(?= |$).*(?:\n {{20}}.*)*", text, re.MULTILINE)
        assert len(entries) == 1, field.name
        entry = " ".join(entries[0].split())
        assert field.metadata["help"] in one_line
        if field.default not in ("", None, (), True, False) and not isinstance(field.default, tuple):
            assert f"default: {field.default}" in entry
        if field.metadata["unit"]:
            assert re.search(rf"\[.*{field.metadata['unit']}\]", entry), entry
        for choice in field.metadata["custom_args"].get("choices") or ():
            assert str(choice) in entry


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("command", ["components.train", "pipelines run"])
@pytest.mark.parametrize("columns", [60, 80])
def test_help_fits_a_narrow_terminal(command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    text, _ = called(command, columns, monkeypatch, capsys)
    assert max(map(len, text.splitlines())) <= columns


def test_training_shows_what_a_trainer_looks_for_first() -> None:
    order = list(groups(TrainCommand))
    assert order[:4] == ["Data", "Model", "Optimisation", "By the dev sets"]
    assert [name.partition(",")[0] for name in order[4:]] == [
        "Augmentation", "Augmentation", "Checkpoints", "Test", "Export", "Machine", "Log"
    ]  # fmt: skip


def test_a_flag_that_is_passed_on_has_the_words_of_the_step_that_takes_it() -> None:
    """No step knows another, so the words are said twice; they must not drift apart."""
    said_otherwise = {"test_files", "evaluation", "load_evaluate", "scorer_path", "lm_alpha", "beam_width"}
    said_otherwise |= {"export_dir", "export_savedmodel", "export_batch_size", "export_beam_width"}
    for passed, step in ((TestFlags, EvaluateCommand), (ExportFlags, ExportCommand)):
        words = {field.name: field.metadata["help"] for field in fields(step)}
        for field in fields(passed):
            assert field.name in said_otherwise or field.metadata["help"] == words[field.name], field.name
