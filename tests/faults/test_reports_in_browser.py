"""The HTML reports in a real browser: a script in a transcript does nothing, and the policy forbids nothing of ours."""

import html
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from components.train.report import PAGE, write_report
from speech.charts import CHARSET, with_policy

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>document.title = 'executed'</script><img src=x onerror=\"document.title='executed'\">"
HISTORY = {
    "epochs": [
        {"epoch": n, "train_loss": 9.0 / n, "dev_loss": 9.9 / n, "learning_rate": 1e-3, "seconds": 1.0}
        for n in (1, 2, 3)
    ],
    "best_by": "wer",
    "clips": {"train": {"used": 9, "skipped": 1, "listed": 10, "examples": {HOSTILE: [HOSTILE]}}, "dev": []},
}
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


def in_browser(page: Path, *more: str) -> tuple[str, str]:
    """The document after its scripts had their chance, and what the browser's console said."""
    assert BROWSER is not None
    root = ["--no-sandbox"] if os.getuid() == 0 else []
    command = [
        *(BROWSER, "--headless", "--disable-gpu", *root, f"--user-data-dir={page.parent}/profile"),
        *("--enable-logging=stderr", "--virtual-time-budget=2000", *more, "--dump-dom", page.as_uri()),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def violations(console: str) -> list[str]:
    return [line for line in console.splitlines() if "Content Security Policy" in line]


@needs_browser
def test_the_training_report_runs_no_script_of_a_clip_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.train.report.describe", lambda tallies: f"9 clips {HOSTILE}")
    write_report(tmp_path, f"from {HOSTILE}", HISTORY)
    document, console = in_browser(tmp_path / PAGE)
    assert "<title>Training</title>" in document
    assert html.escape("<script>document") in document
    assert violations(console) == []
    assert "polyline" in document or "path" in document  # the curve


@needs_browser
def test_the_policy_stops_what_gets_past_the_escaping(tmp_path: Path) -> None:
    page = f"<!doctype html><html><head>{CHARSET}<title>ours</title><style>p{{color:red}}</style></head>"
    (tmp_path / "page.html").write_text(with_policy(page) + f"<body><p>{HOSTILE}</p></body></html>")
    document, console = in_browser(tmp_path / "page.html")
    assert "<title>ours</title>" in document
    assert violations(console)
    (tmp_path / "page.html").write_text(f"{page}<body><p>{HOSTILE}</p></body></html>")
    assert "<title>executed</title>" in in_browser(tmp_path / "page.html")[0]  # so the test can fail


def test_a_page_s_style_is_allowed_by_its_hash_and_nothing_else_is() -> None:
    page = with_policy(f"<html><head>{CHARSET}<style>p{{}}</style></head><body></body></html>")
    policy = page.partition('content="')[2].partition('"')[0]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "script-src" not in policy
