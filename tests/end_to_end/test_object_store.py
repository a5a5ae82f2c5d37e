"""The whole pipeline against a real S3 server that enforces signatures, and what can go wrong with such a server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components import images
from components.publish.model_bucket import open_target
from speech.errors import InputError, RetryError
from speech.storage import objects
from speech.storage.files import sha256
from speech.storage.objects import download_folder, list_keys, upload_file
from tests.fixtures import radosgw

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(radosgw.missing()), reason=f"not installed: {' '.join(radosgw.missing())}"),
]

RELEASE = images.ROOT / "examples" / "cv-corpus-demo" / "en"
SETTINGS = ["--n_hidden", "32", "--train_batch_size", "8"]
ARCHIVE = "cv-corpus-{}-en.tar.gz"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[radosgw.Radosgw]:
    with radosgw.running(tmp_path_factory.mktemp("ceph")) as server:
        yield server


@pytest.fixture(autouse=True)
def reached(server: radosgw.Radosgw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and address of the server in this process's surroundings."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def buckets(server: radosgw.Radosgw) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        for name in ("corpora", "work", "models"):
            objects.client().create_bucket(Bucket=name)


def make_release(folder: Path, number: str, rows: dict[str, int]) -> Path:
    """An archive of the first rows of the example corpus."""
    inside = f"cv-corpus-{number}/en"
    root = folder / number / inside
    (root / "clips").mkdir(parents=True)
    for name, count in rows.items():
        lines = (RELEASE / name).read_bytes().split(b"\n")[: count + 1]
        (root / name).write_bytes(b"\n".join(lines) + b"\n")
        column = lines[0].split(b"\t").index(b"path")
        for clip in (Path("clips", line.split(b"\t")[column].decode()) for line in lines[1:]):
            if (RELEASE / clip).is_file():
                shutil.copyfile(RELEASE / clip, root / clip)
    path = folder / ARCHIVE.format(number)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, inside)
    return path


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipelines", *map(str, arguments)]


def speechmill(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=images.ROOT)


def test_from_a_bucket_into_a_bucket_and_again_on_news(buckets, tmp_path) -> None:
    rows = {"train.tsv": 40, "dev.tsv": 8, "test.tsv": 8}
    first = make_release(tmp_path, "1.0-2026-01-01", rows)
    upload_file(first, f"s3://corpora/{first.name}")
    watched = [
        "run", "--corpus_uri", "s3://corpora/cv-corpus-*-en.tar.gz", "--checkpoint_uri", "s3://work/running",
        "--publish_uri", "s3://models/en", *SETTINGS, "--epochs", "2", "--min_test_clips", "1",
    ]  # fmt: skip
    done = speechmill(*watched, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"new: s3://corpora/{first.name}" in done.stdout
    place = open_target("s3://models/en")
    champion = place.get("champion.json")
    download_folder(champion["uri"], tmp_path / "version")
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "version")
    assert checked.returncode == 0
    assert (tmp_path / "version" / "checkpoint" / "best_dev_checkpoint").is_file()
    prefixes = {key.split("/")[1] for key, _ in list_keys("s3://work/running/")}
    assert len(prefixes) == 1  # named by what the run depends on

    started = time.monotonic()
    again = speechmill(*watched, "--output", tmp_path / "out")
    assert again.returncode == 0
    assert again.stdout.startswith(f"nothing to do: s3://corpora/{first.name} is the newest release")
    assert again.stdout.count("\n") == 1
    assert again.stderr == ""
    assert time.monotonic() - started < 30

    second = make_release(tmp_path, "2.0-2026-06-01", {**rows, "train.tsv": 60})
    upload_file(second, f"s3://corpora/{second.name}")
    news = speechmill(*watched, "--output", tmp_path / "out")
    assert news.returncode == 0, news.stderr
    assert f"new: s3://corpora/{second.name}" in news.stdout
    assert "clips have not changed and were taken from the earlier corpus" in news.stderr
    logs = "".join(path.read_text(errors="replace") for path in (tmp_path / "out").rglob("train.log"))
    assert "fine-tuning best_dev" in logs
    decisions = [place.get(f"{name}/decision.json") for name in versions()]
    assert len(decisions) == 2
    assert {one["decision"] for one in decisions} <= {"promoted", "kept"}
    assert len(place.names("releases")) == 2
    found = [
        path for path in tmp_path.rglob("*") if path.is_file() and radosgw.SECRET_KEY.encode() in path.read_bytes()
    ]
    assert found == []
    assert radosgw.SECRET_KEY not in done.stdout + done.stderr + news.stdout + news.stderr


def versions() -> list[str]:
    """The names of the published versions."""
    keys = [key.split("/") for key, _ in list_keys("s3://models/en/")]
    return sorted(parts[1] for parts in keys if parts[-1] == "version.json")


@pytest.mark.parametrize(
    ("changes", "uri", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://corpora/x.tar.gz", "wrong secret key"),
        ({"AWS_ACCESS_KEY_ID": "unknown"}, "s3://corpora/x.tar.gz", "unknown access key"),
        ({}, "s3://no-such-bucket/x.tar.gz", "no such bucket"),
        ({}, "s3://corpora/none.tar.gz", "no such object"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"},
            "s3://corpora/x.tar.gz",
            "is AWS_ENDPOINT_URL",
        ),
    ],
)
def test_what_the_server_refuses_is_one_line(buckets, tmp_path, monkeypatch, changes, uri, message) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    done = speechmill("run", "--corpus_uri", uri, "--output", tmp_path / "out", *SETTINGS)
    assert done.returncode == (75 if "AWS_ENDPOINT_URL" in changes else 2)
    assert done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr
    assert uri.rsplit("/", 1)[0] in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_bucket_for_the_models_is_one_line(buckets, tmp_path) -> None:
    path = make_release(tmp_path, "1.0", {"train.tsv": 20, "dev.tsv": 4, "test.tsv": 4})
    flags = ["--output", tmp_path / "out", *SETTINGS, "--epochs", "1", "--publish_uri", "s3://no-such-bucket/en"]
    done = speechmill("run", "--corpus_uri", path, *flags)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "no such bucket" in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("direction", ["up", "down"])
def test_transfers_outlast_a_server_that_stops_for_20_s(server, buckets, tmp_path, direction) -> None:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(200 << 20))
    if direction == "down":
        upload_file(path, "s3://work/big")
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        if direction == "down":
            moved = pool.submit(objects.download_file, "s3://work/big", tmp_path / "copy")
        else:
            moved = pool.submit(upload_file, path, "s3://work/up")
        time.sleep(0.3)
        assert not moved.done()
        server.stop_for(20)
        moved.result(timeout=120)
    assert time.monotonic() - started > 20
    if direction == "up":
        objects.download_file("s3://work/up", tmp_path / "copy")
    assert sha256(tmp_path / "copy") == sha256(path)


def test_a_run_outlasts_it(server, buckets, tmp_path) -> None:
    path = make_release(tmp_path, "3.0", {"train.tsv": 30, "dev.tsv": 4, "test.tsv": 4})
    upload_file(path, f"s3://corpora/halt/{path.name}")
    flags = ["--output", tmp_path / "out", *SETTINGS, "--epochs", "1", "--checkpoint_uri", "s3://work/halt"]
    process = subprocess.Popen(
        command("run", "--corpus_uri", f"s3://corpora/halt/{path.name}", *flags),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=images.ROOT,
    )  # fmt: skip
    wait_until(lambda: bool(list_keys("s3://work/halt/")), 120)  # the training writes its first checkpoint
    server.stop_for(20)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def wait_until(happened, limit_s: float) -> None:
    deadline_s = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


def test_a_killed_training_goes_on_from_the_bucket_and_ends_with_the_same_weights(buckets, tmp_path) -> None:
    path = make_release(tmp_path, "4.0", {"train.tsv": 60, "dev.tsv": 8, "test.tsv": 4})
    flags = [*SETTINGS, "--epochs", "8", "--corpus_uri", path, "--train_flags=--checkpoint_secs 1"]
    process = subprocess.Popen(
        command("run", *flags, "--output", tmp_path / "first", "--checkpoint_uri", "s3://work/killed"),
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=images.ROOT, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: state_files("s3://work/killed/") >= {"checkpoint", "best_dev_checkpoint"}, 180)
    children = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    for child in children:
        os.kill(child, signal.SIGKILL)
    process.wait()
    shutil.rmtree(tmp_path / "first")  # the machine is gone
    resumed = speechmill("run", *flags, "--output", tmp_path / "second", "--checkpoint_uri", "s3://work/killed")
    assert resumed.returncode == 0, resumed.stderr
    log = "".join(path.read_text(errors="replace") for path in (tmp_path / "second").rglob("train.log"))
    assert "resuming at step" in log
    whole = speechmill("run", *flags, "--output", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    graphs = [sha256(tmp_path / name / "model" / "output_graph.pb") for name in ("second", "whole")]
    assert graphs[0] == graphs[1]
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("second", "whole")]
    assert summaries[0]["training"]["best_dev_loss"] == summaries[1]["training"]["best_dev_loss"]


def state_files(uri: str) -> set[str]:
    return {key.rsplit("/", 1)[1] for key, _ in list_keys(uri)}


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def test_of_racing_writers_one_wins(buckets, tmp_path) -> None:
    place = open_target("s3://models/race")
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        return place.create("champions/00000001.json", json.dumps({"writer": number}))

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert place.get("champions/00000001.json") == {"writer": won.index(True)}


def test_a_private_authority_is_trusted_if_it_is_named(server, buckets, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.tls_endpoint)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.ca))
    (tmp_path / "up").write_bytes(os.urandom(1000))
    upload_file(tmp_path / "up", "s3://work/tls")
    objects.download_file("s3://work/tls", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == (tmp_path / "up").read_bytes()
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises((InputError, RetryError), match=r"AWS_CA_BUNDLE names the certificates"):
        objects.list_keys("s3://work/tls")
