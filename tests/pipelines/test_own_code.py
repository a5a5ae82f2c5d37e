"""The installed command works in a folder that has packages of our packages' names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.images import ROOT
from pipelines import __main__ as speechmill
from pipelines import own_code

CONSOLE_SCRIPT = """import sys
sys.path[0] = {scripts!r}  # as in a script: not the folder that it is called in
from pipelines.__main__ import main
main()
"""
BEFORE_SAFE_PATHS = sys.version_info < (3, 11)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Somebody's own project."""
    for name in own_code.NAMES:
        (tmp_path / "work" / name).mkdir(parents=True)
        (tmp_path / "work" / name / "__init__.py").write_text("raise SystemExit('somebody else was imported')\n")
    return tmp_path / "work"


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder.parent / "speechmill"
    script.write_text(CONSOLE_SCRIPT.format(scripts=str(folder.parent)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(script), *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "--corpus_uri", "release", "--output", "out"], "release"),
        (["import_cv", "release", "--corpus_dir", "corpus"], "release"),
        (["train", "--train_files", "x.csv", "--checkpoint_dir", "c"], "x.csv"),
    ],
)
def test_packages_of_our_names_are_not_taken_for_ours(folder: Path, arguments: list[str], line: str) -> None:
    (folder / "release").mkdir()
    told = called(folder, *arguments)
    assert "somebody else" not in told.stdout + told.stderr
    assert told.returncode == 2
    if BEFORE_SAFE_PATHS:
        assert "hides a package of Speechmill from Python 3.10" in told.stderr
    else:
        assert re.search(rf"^error: .*{line}", told.stderr, re.MULTILINE), told.stderr


@pytest.mark.skipif(BEFORE_SAFE_PATHS, reason="Python 3.10 has no switch for it")
def test_a_step_s_processes_keep_to_our_code(folder: Path) -> None:
    """A stranger's model is tried in a process of its own: here by a module of the library that somebody hides."""
    (folder / "model").write_text("{}")
    (folder / "json").mkdir()
    (folder / "json" / "__init__.py").write_text("raise SystemExit('somebody else was imported')\n")
    code = "import sys; sys.path.pop(0)\nfrom pathlib import Path\nfrom speech.native import trial\n"
    code += "trial.attempt_apart('json.tool', Path('model'), 'the library')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_every_program_of_a_step_is_a_command() -> None:
    text = {path: path.read_text(encoding="utf-8") for path in (ROOT / "components").rglob("*.py")}
    programs = {path for path, code in text.items() if '\nif __name__ == "__main__":' in code}
    names = {
        ".".join(path.relative_to(ROOT / "components").with_suffix("").parts).removesuffix(".__main__")
        for path in programs
    }
    names.remove("evaluate.decode.ds_ctcdecoder_program")  # of another Python, and called by the evaluation alone
    assert names == {*speechmill.STEP_COMMANDS, *speechmill.TOOLS}


def test_a_folder_that_is_on_the_path_is_there_on_purpose(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    own_code.keep_to_our_code(starts_steps=True)
    assert "PYTHONSAFEPATH" not in os.environ


def test_a_checkout_s_own_packages_hide_nothing(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(ROOT))])
    monkeypatch.setattr(sys, "version_info", (3, 10))
    own_code.keep_to_our_code(starts_steps=True)
