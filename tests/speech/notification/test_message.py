"""What a message says, in each form."""

import pytest

from speech.errors import InputError
from speech.notification.message import RunEnd, body, form_of, published

DECISION = {
    "version": "2",
    "decision": "promoted",
    "reason": "it is better: WER 12.50%, champion 25.00%",
    "champion": "1",
    "scores": {
        "wer": 0.125,
        "wer_interval": [0.1, 0.15],
        "champion_wer": 0.25,
        "champion_wer_interval": [0.2, 0.3],
    },
}
END = RunEnd("SUCCEEDED", run="retrain <cy>", **published(DECISION, "s3://models/cy/2"))


def test_json_has_every_fact() -> None:
    found = body(END, "json")
    assert found["state"] == "SUCCEEDED"
    assert (found["version"], found["champion"], found["decision"]) == ("2", "1", "promoted")
    assert (found["wer"], found["wer_interval"]) == (0.125, [0.1, 0.15])
    assert (found["champion_wer"], found["champion_wer_interval"]) == (0.25, [0.2, 0.3])
    assert found["links"] == {"version": "s3://models/cy/2", "report": "s3://models/cy/2/report.html"}


def test_slack_s_form() -> None:
    failed = RunEnd("FAILED", "nightly", "Train: error: a < b & c", links={"run": "https://k/#/runs/details/7"})
    found = body(failed, "slack")
    assert found["text"] == "nightly failed"
    assert [block["type"] for block in found["blocks"]] == ["section", "section"]
    text = found["blocks"][1]["text"]["text"]
    assert text == "*Reason*: Train: error: a &lt; b &amp; c\n<https://k/#/runs/details/7|run>"
    assert "retrain &lt;cy&gt; ended well" in body(END, "slack")["text"]
    assert "12.50% (10.00% to 15.00%)" in body(END, "slack")["blocks"][1]["text"]["text"]


def test_teams_form() -> None:
    found = body(RunEnd("FAILED", "nightly", "why", links={"run": "https://k/1", "version": "s3://b/1"}), "teams")
    (attachment,) = found["attachments"]
    card = attachment["content"]
    assert (found["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert (card["type"], card["body"][0]["text"], card["body"][0]["color"]) == (
        "AdaptiveCard", "nightly failed", "Attention"
    )  # fmt: skip
    assert card["body"][1]["facts"] == [
        {"title": "Reason", "value": "why"},
        {"title": "version", "value": "s3://b/1"},
    ]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "run", "url": "https://k/1"}]


def test_a_language_without_spaces_shows_its_cer() -> None:
    scores = {"headline": "cer", "wer": 1.0, "cer": 0.08, "cer_interval": None, "champion_cer": 0.1}
    facts = RunEnd("SUCCEEDED", **published({**DECISION, "scores": scores}, "")).facts
    assert (facts["CER"], facts["Champion before"]) == ("8.00%", "1, CER 10.00%")
    assert "WER" not in facts


def test_a_long_reason_is_cut_for_chats_alone() -> None:
    end = RunEnd("FAILED", "nightly", "x" * 9000)
    assert len(body(end, "slack")["blocks"][1]["text"]["text"]) < 3000
    assert len(body(end, "json")["reason"]) == 9000


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://team.webhook.office.com/webhookb2/1", "teams"),
        ("https://prod-1.westeurope.logic.azure.com:443/workflows/1", "teams"),
        ("https://example.org/hooks.slack.com", "json"),
    ],
)
def test_the_host_says_which_form(url: str, form: str) -> None:
    assert form_of(url, "auto") == form
    assert form_of(url, "slack") == "slack"


def test_a_form_that_is_none() -> None:
    with pytest.raises(InputError, match="--notify_format 'xml' is not allowed"):
        form_of("", "xml")
