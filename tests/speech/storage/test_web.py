"""Files of web servers: breaks, ranges, refusals, tokens."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from speech.errors import InputError, RetryError
from speech.storage import streams
from speech.storage.web import WebStream, download
from tests.fixtures.web_server import WebServer, serving

DATA = bytes(range(256)) * 800


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(streams, "RETRY_DELAY_S", 0.001)
    monkeypatch.delenv("SPEECHMILL_BEARER_TOKEN", raising=False)
    with serving() as served:
        served.files["/file"] = DATA
        yield served


def content(uri: str) -> bytes:
    with io.BufferedReader(WebStream(uri), 1 << 16) as stream:
        return stream.read()


def test_a_connection_that_is_cut_off_is_gone_on_with(server: WebServer) -> None:
    server.cut_after = 150_000
    assert content(f"{server.address}/file") == DATA
    assert [wanted for _, wanted, _ in server.seen] == ["bytes=0-", "bytes=150000-"]


def test_a_server_without_ranges_is_asked_for_all_again(server: WebServer) -> None:
    server.ranges = False
    with WebStream(f"{server.address}/file") as stream:
        assert not stream.look().seekable()
        first = stream.read(1000)
        stream._leave()  # as after a break
        rest = b""
        while data := stream.read(1 << 16):
            rest += data
    assert first + rest == DATA
    assert len(server.seen) == 2


def test_a_server_that_always_breaks_off_ends_the_attempt(server: WebServer) -> None:
    server.ranges, server.cut_after = False, 1000
    with pytest.raises(RetryError, match=r"/file: broke off at byte \d+: the connection ended early"):
        content(f"{server.address}/file")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_passes_is_tried_again(server: WebServer, status: int) -> None:
    server.statuses = [status, status]
    assert content(f"{server.address}/file") == DATA
    server.statuses = [status] * 50
    with pytest.raises(RetryError, match=f"HTTP {status}"):
        content(f"{server.address}/file")


@pytest.mark.parametrize(("status", "message"), [(403, "has the link run out"), (404, "no such file"), (400, "400")])
def test_what_does_not_pass_is_not(server: WebServer, status: int, message: str) -> None:
    server.statuses = [status] * 3
    with pytest.raises(InputError, match=message):
        content(f"{server.address}/file?signature=secret")
    assert len(server.seen) == 1


def test_secrets_are_in_no_message(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHMILL_BEARER_TOKEN", "hush")
    for status in (403, 500):
        server.statuses = [status] * 10
        with pytest.raises((InputError, RetryError)) as raised:
            content(f"{server.address}/file?signature=secret")
        assert "secret" not in str(raised.value)
        assert "hush" not in str(raised.value)
    with pytest.raises(InputError, match="a password in the address shows in logs") as raised:
        WebStream("https://me:hidden@localhost/file")
    assert "hidden" not in str(raised.value)


def test_the_token_goes_to_the_server_asked_and_nowhere_else(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "hush"
    with pytest.raises(InputError, match="HTTP 401: the server wants to know who asks"):
        content(f"{server.address}/file")
    monkeypatch.setenv("SPEECHMILL_BEARER_TOKEN", "hush")
    assert content(f"{server.address}/file") == DATA
    with serving() as elsewhere:
        elsewhere.files["/signed"] = DATA
        server.redirects["/moved"] = f"{elsewhere.address}/signed"
        assert content(f"{server.address}/moved") == DATA
        assert elsewhere.seen == [("/signed", "bytes=0-", "")]
    with pytest.raises(InputError, match="is not sent over http"):
        WebStream("http://example.org/file")
    monkeypatch.setenv("SPEECHMILL_BEARER_TOKEN", "line\nend")
    with pytest.raises(InputError, match="characters that no header takes") as raised:
        WebStream("https://example.org/file")
    assert "line" not in str(raised.value).replace("line end", "")


def test_a_file_that_changes_under_way_is_not_mixed(server: WebServer) -> None:
    server.cut_after = 1000
    with WebStream(f"{server.address}/file") as stream:
        stream.read(1000)
        server.files["/file"] = DATA[::-1]
        with pytest.raises(RetryError, match="was replaced while it was read"):
            stream.read(1000)


def test_nobody_there_passes(server: WebServer) -> None:
    with serving() as gone:
        address = gone.address
    with pytest.raises(RetryError, match="refused"):
        content(f"{address}/file")


def test_a_download_goes_on_where_it_was(server: WebServer, tmp_path: Path) -> None:
    download(f"{server.address}/file", tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == DATA
    with WebStream(f"{server.address}/file").look() as stream:
        (tmp_path / ".again.mark").write_text(stream.mark)
    (tmp_path / ".again.part").write_bytes(DATA[:5000])
    server.seen.clear()
    download(f"{server.address}/file", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == DATA
    assert server.seen[-1][1] == "bytes=5000-"
    (tmp_path / ".other.mark").write_text("of another file")
    (tmp_path / ".other.part").write_bytes(b"x" * 5000)
    download(f"{server.address}/file", tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "other", "whole"]
