"""How a run on Kubeflow ended, asked from inside its last pod.

Kubeflow's own answer (`PipelineTaskFinalStatus`) is refused by the driver of 2.17, so the step asks the API server, as
`speechmill submit` does from outside: the Workflow says which step failed, the end of its pod's log says why.
"""

import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from components.publish.gate import DECISION
from components.publish.model_bucket import open_target
from components.publish.settings import NotifySettings
from speech.errors import InputError
from speech.kubeflow_runs import failures, workflow
from speech.notification import message, webhook
from speech.notification.message import RunEnd
from speech.storage.retries import attempts

ANSWER_S = 30.0
ATTEMPTS, DELAY_S = 3, 2.0
LOG_TAIL = 1 << 16  # bytes
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class RunEnding:
    """The state of a run that has nothing left to do but to tell it, and why it failed."""

    state: str
    reason: str = ""
    name: str = ""


def tell(settings: NotifySettings) -> bool:
    """Send the message; whether it arrived. What cannot be found out is left out of it, with a line in the log."""
    if not webhook.address(settings.notify_url):
        print("no message: neither --notify_url nor the secret names a webhook", flush=True)
        return False
    ended = ending(settings.kubeflow_api, settings.run_id)
    page = f"{settings.kubeflow_page.rstrip('/')}/#/runs/details/{settings.run_id}"
    name = settings.run_name or ended.name or settings.run_id  # Kubeflow tells a scheduled run no name of its own
    found = _published(settings)
    links = {**({"run": page} if settings.kubeflow_page else {}), **found.get("links", {})}
    facts = {**found, "state": ended.state, "run": name, "reason": ended.reason}
    return webhook.send(RunEnd(**facts | {"links": links}), settings.notify_url, settings.notify_format)


def ending(api: str, run_id: str) -> RunEnding:
    """How the run ended, by its Workflow; the step that asks is still at work and does not count."""
    try:
        answer = _get(f"{api.rstrip('/')}/apis/v1beta1/runs/{run_id}")
        flow, name = workflow.of_answer(answer), workflow.name_of_answer(answer)
    except (OSError, ValueError) as error:
        print(f"note: {api} does not say how the run ended: {error}", file=sys.stderr, flush=True)
        return RunEnding(UNKNOWN, f"{api} does not answer")
    if workflow.is_stopped(flow):
        return RunEnding(message.CANCELED, "", name)
    failed = [step for step in workflow.steps(flow) if step.state == "failed" and not step.is_kubeflows]
    if not failed:
        return RunEnding(message.SUCCEEDED, "", name)
    reasons: dict[str, list[str]] = {}
    for step in failed:
        reasons.setdefault(_why(api, run_id, step), []).append(step.name)
    return RunEnding(
        message.FAILED, "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items()), name
    )


def _why(api: str, run_id: str, step: workflow.Step) -> str:
    if step.pod is None:
        return "it never had a pod"
    try:
        log = _get(f"{api.rstrip('/')}/apis/v1alpha1/runs/{run_id}/nodes/{step.pod.name}/log").decode(
            "utf-8", "replace"
        )
    except OSError:
        log = ""
    return failures.reason(step.pod, "" if log.startswith('{"error_message"') else log).text


def _get(url: str) -> bytes:
    """The end of an answer; raises OSError without one, at once for what is refused."""
    for _ in attempts(ATTEMPTS, DELAY_S):
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
                content: bytes = answer.read()
                return content[-LOG_TAIL:] if url.endswith("/log") else content
        except urllib.error.HTTPError as error:
            lost: OSError = error
            if error.code < 500:
                break
        except OSError as error:
            lost = error
    raise lost


def _published(settings: NotifySettings) -> dict[str, Any]:
    """What the run published, for the message; empty if that is nothing."""
    if not settings.notify_place:
        return {}
    try:
        place = open_target(settings.notify_place)
        for version in sorted(place.complete(), reverse=True):
            decision = place.get(f"{version}/{DECISION}") or {}
            if settings.run_id in str(decision.get("run", "")).split("/"):
                return message.published(decision, place.locate(version))
    except (InputError, ValueError) as error:
        print(f"note: what the run published is not known: {error}", file=sys.stderr, flush=True)
    return {}
