"""Files of web servers: `https://` addresses as streams that go on, and as whole files."""

import http.client
import ipaddress
import os
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from speech.errors import InputError, RetryError
from speech.storage.streams import ResumedStream, Transient

TIMEOUT_S = 60
READ_BYTES = 1 << 20
TOKEN = "SPEECHMILL_BEARER_TOKEN"
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_MEANINGS = {
    401: f"the server wants to know who asks: put a token into {TOKEN}",
    403: f"not allowed: has the link run out, or is {TOKEN} of somebody else?",
    404: "no such file",
    410: "no such file any more",
}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class WebStream(ResumedStream):
    """One file of a web server.

    Raises InputError for what the server refuses for good, RetryError for what passes or where the file has changed
    under way. A server without ranges sends everything again after a break; what is known already is dropped.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(urlsplit(uri)._replace(query="", fragment="").geturl())  # the query may hold a secret
        self._request = _request(uri, self.shown)
        self.ranges = False  # whether it can be read from any position
        self._known = False

    def look(self) -> "WebStream":
        """Ask for the file, so that `size`, `mark` and `ranges` are known."""
        if not self._known:
            self._patiently(self._begin)
        return self

    def _begin(self) -> bytes:
        self._body = self._open()
        return b""

    def seekable(self) -> bool:
        return self.ranges and self.size >= 0

    def _open(self) -> Any:
        headers = {"Range": f"bytes={self._position}-"}
        self._request.headers.pop("Range", None)
        for name, value in headers.items():
            self._request.add_header(name, value)
        answer = self._answer()
        mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        size, start = _extent(answer)
        if self._known and (mark, size) != (self.mark, self.size):
            answer.close()
            raise RetryError(f"{self.shown} was replaced while it was read")
        self.mark, self.size, self.ranges, self._known = mark, size, answer.status == 206, True
        if start > self._position:
            raise Transient(f"bytes from {start} on were sent for {self._position}")
        _drop(answer, self._position - start)
        return answer

    def _answer(self) -> http.client.HTTPResponse:
        try:
            return urllib.request.urlopen(self._request, timeout=TIMEOUT_S)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _PASSING:
                raise Transient(f"HTTP {error.code}") from None
            raise InputError(f"{self.shown}: HTTP {error.code}: {_MEANINGS.get(error.code, error.reason)}") from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise InputError(
                    f"{self.shown}: {error.reason} (SSL_CERT_FILE names the certificates of a private authority)"
                ) from None
            raise Transient(error.reason) from None
        except (http.client.InvalidURL, UnicodeError) as error:
            raise InputError(f"{self.shown}: not an address: {error}") from None


def _request(uri: str, shown: str) -> urllib.request.Request:
    try:
        address = urlsplit(uri)
        request = urllib.request.Request(uri, headers={"Accept-Encoding": "identity"})
        host = address.hostname or ""
    except ValueError as error:
        raise InputError(f"{shown}: not an address: {error}") from None
    if address.username or address.password:
        raise InputError(
            f"{address.scheme}://{host}: a password in the address shows in logs: put a token into {TOKEN}"
        )
    token = os.environ.get(TOKEN, "")
    if token:
        if address.scheme != "https" and not _is_here(host):
            raise InputError(f"{shown}: {TOKEN} is not sent over http: use https, or unset it")
        if not token.isascii() or not token.isprintable():
            raise InputError(f"{TOKEN} has characters that no header takes: is there a line end in it?")
        request.add_unredirected_header("Authorization", f"Bearer {token}")  # never to where a redirect leads
    return request


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _extent(answer: http.client.HTTPResponse) -> tuple[int, int]:
    """The size of the whole file (-1: unknown), and where the answer begins in it."""
    if answer.status == 206:
        match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None:
            raise Transient("an answer of HTTP 206 without its range")
        return int(match[2]), int(match[1])
    return int(answer.headers.get("Content-Length") or -1), 0


def _drop(answer: http.client.HTTPResponse, count: int) -> None:
    while count > 0:
        data = answer.read(min(count, READ_BYTES))
        if not data:
            raise Transient("the connection ended early")
        count -= len(data)


def download(uri: str, path: Path) -> None:
    """Copy a file of a web server to `path`, which appears whole; a killed attempt is gone on with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, marked = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.mark")
    with WebStream(uri).look() as stream, partial.open("ab") as file:
        if not (stream.mark and marked.is_file() and marked.read_text(encoding="utf-8") == stream.mark):
            file.truncate(0)
        marked.write_text(stream.mark, encoding="utf-8")
        stream.seek(file.seek(0, os.SEEK_END))
        while data := stream.read(READ_BYTES):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    marked.unlink()
