"""Fixtures that tests of several steps share."""

import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.peers import environments

OF_OURS = ("curves", "tracking", "uploads")  # threads that write beside a training

# Times depend on the machine, and fixtures of a module serve every example; `make test-faults` takes the second one.
EASY: dict[str, Any] = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("quick", max_examples=60, derandomize=True, **EASY)
hypothesis.settings.register_profile("faults", max_examples=3000, **EASY)
hypothesis.settings.load_profile("quick")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell's background command ignores Ctrl-C, and so would every process that the tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """What a test leaves running beside it speaks into the output of a later one, which then fails for no fault."""
    yield
    deadline = time.monotonic() + 2
    while left := [one.name for one in threading.enumerate() if one.name in OF_OURS]:
        assert time.monotonic() < deadline, f"threads that the test left running: {left}"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of an S3 server (moto) that lives as long as the test session."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The `s3://` URI of a fresh bucket, with the AWS_* variables that lead there."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    from speech.storage.objects import client

    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client().create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture(scope="session")
def peer() -> Callable[[str], environments.Peer]:
    """`peer(name)`: a program to get on with, installed on first use; the test is skipped where it cannot be had."""

    def find(name: str) -> environments.Peer:
        try:
            return environments.find(name)
        except environments.PeerUnavailable as reason:
            pytest.skip(str(reason))

    return find


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus that a small model learns in seconds (tests/fixtures/tones.py)."""
    from tests.fixtures.tones import make_corpus

    return make_corpus(tmp_path_factory.mktemp("tones"))
