"""Post a message to a webhook: tried again, and never the reason that a run fails.

The address of a chat's webhook is a secret: who knows it can write there. So it may come from the environment, which a
Kubernetes secret fills, and of an address only the host is ever printed.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from speech.errors import InputError
from speech.notification import message
from speech.notification.message import RunEnd
from speech.storage.retries import attempts

URL_VARIABLE = "SPEECHMILL_NOTIFY_URL"  # instead of --notify_url
TOKEN_VARIABLE = "SPEECHMILL_NOTIFY_TOKEN"  # sent as `Authorization: Bearer ...`, if it is there
ATTEMPTS, DELAY_S = 4, 2.0  # 2, 4 and 8 s between them
ANSWER_S = 20.0
BUSY = (408, 425, 429)  # and every 5xx: another attempt may help


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without the message, and take the token along."""

    def redirect_request(self, *arguments: object, **named: object) -> None:
        return None


def address(notify_url: str) -> str:
    """Where messages go: as set, or as the environment says; empty: nowhere. Raises InputError for what is no URL."""
    url = notify_url or os.environ.get(URL_VARIABLE, "").strip()
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        origin = "--notify_url" if notify_url else URL_VARIABLE
        raise InputError(f"{origin}: expected the http:// or https:// address of a webhook")
    return url


def send(end: RunEnd, notify_url: str, form: str = message.BY_ADDRESS, delay_s: float = DELAY_S) -> bool:
    """Post how a run ended; whether it arrived. A message that does not arrive is a line on stderr."""
    url = address(notify_url)
    if not url:
        return False
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "speechmill"}
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        headers["Authorization"] = f"Bearer {token}"
    content = json.dumps(message.body(end, message.form_of(url, form)), ensure_ascii=False).encode("utf-8")
    host = urlsplit(url).hostname
    for _ in attempts(ATTEMPTS, delay_s):
        request = urllib.request.Request(url, content, headers, method="POST")
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=ANSWER_S):
                return True
        except urllib.error.HTTPError as error:
            why = f"it answers {error.code} {error.reason}"
            error.close()
            if error.code < 500 and error.code not in BUSY:
                break
        except (OSError, ValueError) as error:  # no answer, or none that is HTTP
            why = str(getattr(error, "reason", error)) or type(error).__name__
    print(f"note: the message about the end of the run did not reach {host}: {why}", file=sys.stderr, flush=True)
    return False
