"""An object store with faults: a small HTTP relay in front of an S3 server, which does to an answer what it is told."""

import base64
import contextlib
import hashlib
import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote, urlsplit

REFUSALS = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "403": (403, "AccessDenied"),
    "half done, then 500": (500, "InternalError"),
}
KINDS = (
    "slow",
    *REFUSALS,
    "answer cut off",
    "request cut off",
    "answer lost",
    "answer truncated",
    "bit flipped in the answer",
    "bit flipped in the request",
)


@dataclass
class Fault:
    """What happens to the next `times` requests, `skip` of them spared first; `place` (0...1) is where in a body."""

    kind: str
    times: int = 1
    skip: int = 0
    place: float = 0.5
    happened: int = 0


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: Message
    body: bytes


class FaultyStore:
    """The relay, on a free port of this machine. Faults are by a name that a request's path holds."""

    def __init__(self, server: str) -> None:
        self._server = urlsplit(server).netloc
        self._faults: dict[str, Fault] = {}
        self._lock = threading.Lock()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    while outer.serve(self):
                        pass

        class Relay(socketserver.ThreadingTCPServer):
            daemon_threads, request_queue_size = True, 64
            allow_reuse_address = True

        self._relay = Relay(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._relay.server_address[1]}"
        threading.Thread(target=self._relay.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._relay.shutdown()
        self._relay.server_close()

    @contextlib.contextmanager
    def fault(self, name: str, fault: Fault) -> Iterator[Fault]:
        """Have it happen to requests about what has `name` in its path."""
        with self._lock:
            self._faults[name] = fault
        try:
            yield fault
        finally:
            with self._lock:
                del self._faults[name]

    def _next(self, request: _Request) -> Fault | None:
        path = unquote(request.path)
        with self._lock:
            for name, fault in self._faults.items():
                if name in path:
                    if fault.skip:
                        fault.skip -= 1
                        return None
                    if fault.happened < fault.times and _concerns(fault.kind, request):
                        fault.happened += 1
                        return fault
        return None

    def serve(self, connection: socketserver.StreamRequestHandler) -> bool:
        """Answer one request; whether another may follow on the connection."""
        request = _read(connection)
        if request is None:
            return False
        fault = self._next(request)
        kind = fault.kind if fault else ""
        place = fault.place if fault else 0.0
        if kind == "slow":
            time.sleep(0.1 + 0.4 * place)
        if kind == "request cut off":
            return _break(connection)
        if kind in ("500", "503", "403"):
            return _refuse(connection, request, kind)
        if kind == "bit flipped in the request":
            request = _Request(request.method, request.path, request.headers, flipped(request.body, place))
        digest = request.headers.get("Content-MD5")
        if digest and digest != base64.b64encode(hashlib.md5(request.body).digest()).decode():
            return _refuse(connection, request, "", (400, "BadDigest"))  # as S3 does, and moto does not
        status, headers, body = self._ask(request)
        if kind == "answer lost":
            return _break(connection)
        if kind == "half done, then 500":
            return _refuse(connection, request, kind)
        if kind == "bit flipped in the answer":
            body = flipped(body, place)
        short = body[: int(len(body) * place)] if kind in ("answer truncated", "answer cut off") else body
        if kind == "answer truncated":
            headers["Content-Length"] = str(len(short))
        _write(connection, status, headers, short, slowly=kind == "slow")
        return _break(connection) if kind == "answer cut off" else True

    def _ask(self, request: _Request) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self._server, timeout=60)
        try:
            upstream.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in ("expect", "connection", "transfer-encoding", "content-length"):
                    upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(request.body)))
            upstream.endheaders(request.body)
            answer = upstream.getresponse()
            body = answer.read()
            skipped = ("transfer-encoding", "connection", "content-length")
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in skipped}
            length = answer.getheader("Content-Length") if request.method == "HEAD" else None
            headers["Content-Length"] = length or str(len(body))
            return answer.status, headers, body
        finally:
            upstream.close()


def _concerns(kind: str, request: _Request) -> bool:
    """Whether a fault can happen to a request: there is no body to damage in every one."""
    if kind == "bit flipped in the request":
        return bool(request.body)
    if kind in ("bit flipped in the answer", "answer truncated"):
        return request.method == "GET"
    return True


def flipped(body: bytes, place: float) -> bytes:
    """The same bytes with one bit of them flipped."""
    if not body:
        return body
    data = bytearray(body)
    bit = min(int(len(body) * 8 * place), len(body) * 8 - 1)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def _read(connection: socketserver.StreamRequestHandler) -> _Request | None:
    line = connection.rfile.readline(65536).decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = http.client.parse_headers(connection.rfile)
    if headers.get("Expect", "").lower() == "100-continue":
        connection.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = b"".join(iter(lambda: _chunk(connection), b""))
    else:
        body = connection.rfile.read(int(headers.get("Content-Length", 0)))
    return _Request(line[0], line[1], headers, body)


def _chunk(connection: socketserver.StreamRequestHandler) -> bytes:
    size = int(connection.rfile.readline(100).split(b";")[0], 16)
    data = connection.rfile.read(size)
    connection.rfile.readline(100)
    return data


def _refuse(
    connection: socketserver.StreamRequestHandler, request: _Request, kind: str, answer: tuple[int, str] | None = None
) -> bool:
    status, code = answer or REFUSALS[kind]
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    headers = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
    _write(connection, status, headers, b"" if request.method == "HEAD" else body)
    return True


def _write(
    connection: socketserver.StreamRequestHandler,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    slowly: bool = False,
) -> None:
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.wfile.write("\r\n".join((*lines, "", "")).encode("latin-1"))
    pieces = [body[: len(body) // 3], body[len(body) // 3 :]] if slowly else [body]
    for piece in pieces:
        connection.wfile.write(piece)
        connection.wfile.flush()
        if slowly:
            time.sleep(0.1)


def _break(connection: socketserver.StreamRequestHandler) -> bool:
    with contextlib.suppress(OSError):
        connection.connection.shutdown(socket.SHUT_RDWR)
    return False
