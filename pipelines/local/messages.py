"""The message at the end of a run on this machine."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.local.runners import LocalRun
from pipelines.local.screen import Screen
from speech.artifacts import Evaluation
from speech.notification import message, webhook
from speech.notification.message import RunEnd

DESCRIPTION = "version.json"  # of the published version


@contextlib.contextmanager
def told(arguments: Mapping[str, Any], output: Path) -> Iterator[dict[str, Any]]:
    """Tell the webhook, if there is one, how the run within ended; the run puts what is known of it into the dict.

    Raises InputError for an address or a form that is none, before the run begins.
    """
    url, form = webhook.address(arguments["notify_url"]), arguments["notify_format"]
    message.form_of(url, form)
    known: dict[str, Any] = {"state": message.SUCCEEDED, "run": f"run into {output}"}
    try:
        yield known
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        known |= {"state": message.CANCELED if stopped else message.FAILED}
        known |= {"reason": "" if stopped else str(error) or type(error).__name__}
        raise
    finally:
        webhook.send(RunEnd(**known), url, form)


def failure(result: LocalRun, screen: Screen) -> dict[str, Any]:
    """What the message says of a failed step: its own line, or where its log is."""
    why = screen.last_words or f"exit code {result.exit_code}, its log is {result.log}"
    return {"state": message.FAILED, "reason": f"{result.failed_step}: {why}"}


def success(result: LocalRun, facts: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """What it says of a run that published: the gate's decision, or the scores where there is no gate."""
    artifact = Path(result.outputs["publish"]["published"].path)
    description = artifact / DESCRIPTION
    found = json.loads(description.read_text(encoding="utf-8")) if description.is_file() else {}
    version, uri = facts["published"]["version"], facts["published"]["uri"]
    if decision := found.get("decision"):
        return message.published(decision, uri)
    scores = Evaluation.open(result.outputs["evaluate"]["evaluation"].path).scores
    rates = {name: scores.get(name) for name in ("wer", "wer_interval", "cer", "cer_interval")}
    rates["rate"] = scores.get("headline", "wer")
    report = str((output / facts["report"]).absolute())
    return {"version": version, **rates, "links": {"version": uri, "report": report}}
