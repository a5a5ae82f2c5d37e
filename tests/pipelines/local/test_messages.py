"""A run on this machine tells how it ended, whatever its end."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines import __main__ as speechmill
from pipelines.local import messages
from pipelines.local.runners import LocalRun
from pipelines.local.screen import Screen
from speech.artifacts import Evaluation
from speech.errors import InputError
from speech.notification.message import RunEnd
from speech.notification.webhook import URL_VARIABLE
from speech.storage.files import write_json
from tests.fixtures.webhook_server import webhook


@dataclass
class _Artifact:
    """What kfp.local hands out of an artifact."""

    path: Path


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    with webhook() as served:
        yield served


def arguments(url: str, form: str = "auto") -> dict[str, str]:
    return {"notify_url": url, "notify_format": form}


def test_a_good_end_with_what_the_run_found(hook, tmp_path) -> None:
    with messages.told(arguments(hook.url), tmp_path) as known:
        known |= {"version": "2", "wer": 0.1}
    assert [(told["state"], told["version"], told["wer"]) for told in hook.received] == [("SUCCEEDED", "2", 0.1)]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (InputError("no such corpus"), "FAILED", "no such corpus"),
        (ZeroDivisionError(), "FAILED", "ZeroDivisionError"),
        (KeyboardInterrupt(), "CANCELED", ""),
        (SystemExit(143), "CANCELED", ""),
    ],
)
def test_any_other_end(hook, tmp_path, error, state, reason) -> None:
    with pytest.raises(type(error)):
        with messages.told(arguments(hook.url), tmp_path):
            raise error
    assert [(told["state"], told["reason"]) for told in hook.received] == [(state, reason)]


def test_a_failed_step_s_own_line(tmp_path) -> None:
    with (tmp_path / "screen").open("w") as stream:
        screen = Screen(stream)
        screen.output("reading\nerror: --epochs -1 is not allowed: 1 or more\n")
    result = LocalRun(failed_step="train", exit_code=2)
    assert messages.failure(result, screen)["reason"] == "train: error: --epochs -1 is not allowed: 1 or more"
    assert "exit code 1, its log is" in messages.failure(LocalRun(failed_step="train", exit_code=1), Screen())["reason"]


@pytest.mark.parametrize("gated", [True, False])
def test_what_a_run_published(gated: bool, tmp_path) -> None:
    artifact, evaluation = tmp_path / "published", tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / Evaluation.HTML_REPORT).write_text("<html>")
    write_json(evaluation / Evaluation.SAMPLES, [])
    write_json(evaluation / Evaluation.SCORES, {"wer": 0.125, "wer_interval": [0.1, 0.15], "cer": 0.04})
    decision = {"version": "2", "decision": "promoted", "reason": "it is better", "champion": "1"}
    decision["scores"] = {"wer": 0.125, "wer_interval": [0.1, 0.15], "champion_wer": 0.25}
    if gated:
        write_json(artifact / messages.DESCRIPTION, {"version": "2", "decision": decision})
    outputs = {"publish": {"published": _Artifact(artifact)}, "evaluate": {"evaluation": _Artifact(evaluation)}}
    facts = {"published": {"version": "2", "uri": "s3://models/cy/2"}, "report": "report.html"}
    end = RunEnd("SUCCEEDED", **messages.success(LocalRun(outputs=outputs), facts, tmp_path))
    assert (end.version, end.wer, end.wer_interval) == ("2", 0.125, [0.1, 0.15])
    assert (end.decision, end.champion, end.champion_wer) == (("promoted", "1", 0.25) if gated else ("", "", None))
    report = "s3://models/cy/2/report.html" if gated else str(tmp_path / "report.html")
    assert end.links == {"version": "s3://models/cy/2", "report": report}


def test_speechmill_run_tells_of_a_refusal(hook, tmp_path, capsys) -> None:
    flags = ["--output", str(tmp_path / "run"), "--notify_url", hook.url, "--corpus_uri", str(tmp_path / "none")]
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(["run", *flags])
    assert stopped.value.code != 0
    (told,) = hook.received
    assert told["state"] == "FAILED"
    assert "none" in told["reason"]


def test_an_address_that_is_none_is_refused_before_the_run(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        speechmill.main(["run", "--notify_url", "slack", "--corpus_uri", "x", "--output", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert "--notify_url: expected the http" in capsys.readouterr().err
