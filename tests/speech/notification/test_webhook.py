"""A message arrives once, is tried again while that may help, and never ends a run."""

import pytest

from speech.errors import InputError
from speech.notification import webhook
from speech.notification.message import RunEnd
from tests.fixtures.webhook_server import webhook as server

END = RunEnd("FAILED", "nightly", "Train: error: größer")


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (webhook.URL_VARIABLE, webhook.TOKEN_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_it_arrives(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with server() as hook:
        assert webhook.send(END, hook.url)
        assert hook.received[0]["reason"] == "Train: error: größer"
        assert "Authorization" not in hook.headers[0]
        monkeypatch.setenv(webhook.TOKEN_VARIABLE, "token")
        monkeypatch.setenv(webhook.URL_VARIABLE, hook.url + "\n")  # as `kubectl create secret --from-file` makes it
        assert webhook.send(END, "", "slack")
        assert hook.received[1]["text"] == "nightly failed"
        assert hook.headers[1]["Authorization"] == "Bearer token"
    assert capsys.readouterr().err == ""


def test_a_busy_server_is_asked_again() -> None:
    with server() as hook:
        hook.answers = [503, 429, 200]
        assert webhook.send(END, hook.url, delay_s=0.01)
        assert (hook.tries, len(hook.received)) == (3, 1)


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (302, 1), (500, webhook.ATTEMPTS)])
def test_what_does_not_arrive_is_a_line_that_names_the_host_alone(status: int, tries: int, capsys) -> None:
    with server() as hook:
        hook.answers = [status]
        assert not webhook.send(END, hook.url, delay_s=0.01)
        assert (hook.tries, hook.received) == (tries, [])
    told = capsys.readouterr().err
    assert told.startswith(f"note: the message about the end of the run did not reach 127.0.0.1: it answers {status}")
    assert "secret" not in told


def test_nobody_there(capsys) -> None:
    with server() as hook:
        url = hook.url
    assert not webhook.send(END, url, delay_s=0.01)
    assert "did not reach 127.0.0.1: " in capsys.readouterr().err


def test_nowhere_to_send_it_and_no_address() -> None:
    assert not webhook.send(END, "")
    with pytest.raises(InputError, match="--notify_url: expected the http"):
        webhook.address("hooks.slack.com/x")
