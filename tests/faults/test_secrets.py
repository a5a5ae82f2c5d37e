"""No secret of the surroundings gets into what a command says or writes, however it ends."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components import images
from tests.faults.work import make_release

CANARY = "c4nary-" + "7Qx" * 9
SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "SPEECHMILL_BEARER_TOKEN",
    "SPEECHMILL_NOTIFY_TOKEN",
    "SPEECHMILL_GS_ACCESS_KEY_ID",
    "SPEECHMILL_GS_SECRET_ACCESS_KEY",
)
BROKEN = """
import runpy, sys
from speech.storage import objects
def broken(*_, **__): raise RuntimeError("a bug of ours")
objects.client = broken
sys.argv = ["components.import_cv", *sys.argv[1:]]
runpy.run_module("components.import_cv", run_name="__main__", alter_sys=True)
"""


class _Gossip(BaseHTTPRequestHandler):
    """Refuses everything, and says in the answer all that it was told, as S3 does with a wrong signature."""

    heard: list[str]

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = f"{self.path} {self.headers.as_string()}"
        self.heard.append(told)
        body = (
            f"<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message><StringToSign>{told}</StringToSign></Error>"
        ).encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def gossip() -> Iterator[tuple[str, list[str]]]:
    heard: list[str] = []
    handler = type("Handler", (_Gossip,), {"heard": heard})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """One that the import refuses, so that a run ends early."""
    folder = make_release(tmp_path / "release", {"train.tsv": 2, "dev.tsv": 1, "test.tsv": 1})
    (folder / "train.tsv").write_text("path\ttext\na.mp3\tx\n", encoding="utf-8")
    return folder


def import_from_a_store(server: str, place: Path, release: Path) -> list[str]:
    return ["-m", "components.import_cv", "s3://bucket/cv.tar.gz", "--corpus_dir", str(place / "corpus")]


def import_from_google(server: str, place: Path, release: Path) -> list[str]:
    return ["-m", "components.import_cv", "gs://bucket/cv.tar.gz", "--corpus_dir", str(place / "corpus")]


def import_from_the_web(server: str, place: Path, release: Path) -> list[str]:
    uri = f"{server}/cv.tar.gz?signature={CANARY}"
    return ["-m", "components.import_cv", uri, "--corpus_dir", str(place / "corpus")]


def import_with_a_bug(server: str, place: Path, release: Path) -> list[str]:
    return ["-c", BROKEN, "s3://bucket/cv.tar.gz", "--corpus_dir", str(place / "corpus")]


def scorer_of_a_store(server: str, place: Path, release: Path) -> list[str]:
    return ["-m", "components.build_scorer", "--input_txt", "s3://bucket/text", "--output_dir", "s3://bucket/scorer"]


def compile_the_pipeline(server: str, place: Path, release: Path) -> list[str]:
    deployment = images.ROOT / "examples" / "deployments" / "eks.toml"
    return ["-m", "pipelines", "compile", "--output", str(place / "retrain.yaml"), "--deployment", str(deployment)]


def submit_to_a_cluster(server: str, place: Path, release: Path) -> list[str]:
    token = place.parent / "token"
    token.write_text(CANARY, encoding="utf-8")
    return [
        "-m",
        "pipelines",
        "submit",
        "--endpoint",
        server,
        "--token_file",
        str(token),
        "--corpus_uri",
        "s3://b/x.tar",
    ]


def run_with_a_message(server: str, place: Path, release: Path) -> list[str]:
    return ["-m", "pipelines", "run", "--corpus_uri", str(release), "--output", str(place / "out"), "--n_hidden", "16"]


def doctor(server: str, place: Path, release: Path) -> list[str]:
    return ["-m", "speech.doctor"]


COMMANDS = {
    import_from_a_store: 2,
    import_from_google: 2,
    import_from_the_web: 2,
    import_with_a_bug: 1,
    scorer_of_a_store: 2,
    compile_the_pipeline: 0,
    submit_to_a_cluster: 2,
    run_with_a_message: 2,
    doctor: None,
}
HEARS = (import_from_a_store, import_from_google, submit_to_a_cluster, run_with_a_message)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_no_secret_is_said_or_written(command, gossip, release: Path, tmp_path: Path) -> None:
    server, heard = gossip
    place = tmp_path / "place"
    place.mkdir()
    environment = {
        **os.environ,
        **{name: f"{CANARY}-{name}" for name in SECRETS},
        "SPEECHMILL_NOTIFY_URL": f"{server}/services/{CANARY}",
        "AWS_ENDPOINT_URL": server,
        "SPEECHMILL_GS_ENDPOINT_URL": server,
        "AWS_DEFAULT_REGION": "us-east-1",
        "TMPDIR": str(place),
        "PYTHONPATH": str(images.ROOT),
    }
    program = [sys.executable, "-W", "ignore", *command(server, place, release)]
    done = subprocess.run(program, env=environment, cwd=images.ROOT, capture_output=True, text=True, timeout=300)
    expected = COMMANDS[command]
    assert expected is None or done.returncode == expected, done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert [path for path in place.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()] == []
    if command in HEARS:
        assert any(CANARY in told for told in heard)  # it was used
    if command is import_with_a_bug:
        assert "a bug of ours" in done.stderr
        assert "Traceback" in done.stderr
