"""What the tests need of the system: named in the README, and asked for in one way."""

import re
from pathlib import Path

from tests.fixtures import system

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_names_every_package() -> None:
    (line,) = re.findall(r"`apt-get install ((?:[\w.-]+ )*git(?: [\w.-]+)*)`", README)
    assert sorted(line.split()) == sorted(system.PACKAGES.values())


def test_a_missing_program_is_named_with_its_package(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system.lacking("git", "ffmpeg") == "needs git, ffmpeg (Debian, Ubuntu: apt-get install git ffmpeg)"
    (tmp_path / "git").write_text("#!/bin/sh\n")
    (tmp_path / "git").chmod(0o755)
    assert system.lacking("git") == ""


def test_tests_that_start_these_programs_say_so() -> None:
    start = re.compile(
        r"(?<![\w\]])\[\s*\"(" + "|".join(name for name in system.PACKAGES if not name.startswith("lib")) + r")\""
    )
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if start.search(text := path.read_text(encoding="utf-8")) and "system.needs(" not in text
    ]
    assert silent == []
