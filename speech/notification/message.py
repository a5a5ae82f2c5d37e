"""What a message at the end of a run says, as JSON and in the forms that Slack and Microsoft Teams take."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from speech.errors import InputError

SUCCEEDED, FAILED, CANCELED = "SUCCEEDED", "FAILED", "CANCELED"
JSON, SLACK, TEAMS, BY_ADDRESS = "json", "slack", "teams", "auto"
FORMS = (BY_ADDRESS, JSON, SLACK, TEAMS)
HOSTS = {
    SLACK: ("hooks.slack.com", "hooks.slack-gov.com"),
    TEAMS: (".webhook.office.com", ".logic.azure.com", ".powerplatform.com"),
}
WORDS = {SUCCEEDED: "ended well", FAILED: "failed", CANCELED: "was canceled"}
MOST_SYMBOLS = 2000  # of a reason: chats refuse messages that are too long


@dataclass(frozen=True)
class RunEnd:
    """How a run ended. What is not known is empty; rates are shares of 1, intervals those of the test set's chance."""

    state: str  # SUCCEEDED, FAILED or CANCELED
    run: str = ""  # its name
    reason: str = ""  # of a failure
    version: str = ""
    decision: str = ""  # promoted, kept, unchanged
    decision_reason: str = ""
    wer: float | None = None
    wer_interval: Sequence[float] | None = None
    cer: float | None = None
    cer_interval: Sequence[float] | None = None
    champion: str = ""  # the version that it was compared with
    champion_wer: float | None = None
    champion_wer_interval: Sequence[float] | None = None
    champion_cer: float | None = None
    champion_cer_interval: Sequence[float] | None = None
    rate: str = "wer"  # which of both counts for the language, and is shown in chats
    links: Mapping[str, str] = field(default_factory=dict)  # what -> address

    @property
    def headline(self) -> str:
        """One line."""
        return f"{self.run or 'the run'} {WORDS.get(self.state, self.state)}"

    @property
    def facts(self) -> dict[str, str]:
        """What stands below it: a word for each fact that is known."""
        decided = f"{self.decision}: {self.decision_reason}" if self.decision_reason else self.decision
        rates = [
            _shown(getattr(self, f"{side}{self.rate}"), getattr(self, f"{side}{self.rate}_interval"))
            for side in ("", "champion_")
        ]
        kind = self.rate.upper()
        found = {
            "Reason": self.reason[:MOST_SYMBOLS],
            "Version": self.version,
            kind: rates[0],
            "Champion before": f"{self.champion}, {kind} {rates[1]}" if rates[1] else self.champion,
            "Decision": decided,
        }
        return {name: text for name, text in found.items() if text}


def published(decision: Mapping[str, Any], uri: str) -> dict[str, Any]:
    """The fields of a RunEnd that a version's `decision.json` fills; `uri` is where the version lies."""
    scores = decision.get("scores") or {}
    return {
        "version": decision.get("version", ""),
        "decision": decision.get("decision", ""),
        "decision_reason": decision.get("reason", ""),
        "champion": decision.get("champion", ""),
        **{name: value for name, value in scores.items() if name != "headline"},
        "rate": scores.get("headline", "wer"),
        "links": {"version": uri, "report": f"{uri}/report.html"} if uri else {},
    }


def form_of(url: str, form: str) -> str:
    """The form that an address takes: the named one, or the one that is known of its host."""
    if form not in FORMS:
        raise InputError(f"--notify_format {form!r} is not allowed: one of {', '.join(FORMS)}")
    if form != BY_ADDRESS:
        return form
    host = urlsplit(url).hostname or ""
    return next((name for name, ends in HOSTS.items() if host.endswith(ends)), JSON)


def body(end: RunEnd, form: str) -> dict[str, Any]:
    """What is posted."""
    return {JSON: _plain, SLACK: _slack, TEAMS: _teams}[form](end)


def _plain(end: RunEnd) -> dict[str, Any]:
    return {"event": "run ended", "text": end.headline, **asdict(end)}


def _slack(end: RunEnd) -> dict[str, Any]:
    """Slack's `mrkdwn`: three symbols have a meaning in its texts and are escaped."""
    lines = [f"*{name}*: {_slack_text(text)}" for name, text in end.facts.items()]
    lines += [
        f"<{address}|{name}>" if address.startswith("http") else f"{name}: `{_slack_text(address)}`"
        for name, address in end.links.items()
    ]
    headline = _slack_text(end.headline)
    sections = [f"*{headline}*", "\n".join(lines)]
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}} for text in sections if text]
    return {"text": headline, "blocks": blocks}


def _slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(end: RunEnd) -> dict[str, Any]:
    """An Adaptive Card in a message, as the Workflows webhook of Teams takes it."""
    shown = {**end.facts, **{name: uri for name, uri in end.links.items() if not uri.startswith("http")}}
    color = "Good" if end.state == SUCCEEDED else "Attention"
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": end.headline, "weight": "Bolder", "color": color, "wrap": True},
            {"type": "FactSet", "facts": [{"title": name, "value": text} for name, text in shown.items()]},
        ],
        "actions": [
            {"type": "Action.OpenUrl", "title": name, "url": address}
            for name, address in end.links.items()
            if address.startswith("http")
        ],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def _shown(rate: float | None, interval: Sequence[float] | None) -> str:
    if rate is None:
        return ""
    return f"{rate:.2%} ({interval[0]:.2%} to {interval[1]:.2%})" if interval else f"{rate:.2%}"
