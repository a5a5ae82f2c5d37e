"""Faults of an object store under everything that reads or writes there: files, folders, records, lists and steps."""

import contextlib
import logging
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speech.errors import InputError, RetryError
from speech.storage import objects
from speech.storage.stores import PrefixStore
from tests.faults.faulty_store import KINDS, Fault, FaultyStore
from tests.faults.ledger import IDENTICAL, LOST, REFUSED, Ledger, is_clear
from tests.faults.work import Work, Workshop, difference_of, files_of

PASSING = ("slow", "500", "503", "half done, then 500", "answer cut off", "request cut off", "answer lost")
AT_ONCE = 8
BUCKET = "faults"
MOST_BYTES = 60_000


@contextlib.contextmanager
def store_with_faults() -> Iterator[tuple[FaultyStore, str]]:
    """A relay in front of an S3 server, which this process's AWS_* variables lead to, and the server's own URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = FaultyStore(f"http://{host}:{port}")
    variables = {
        "AWS_ENDPOINT_URL": store.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        objects.client().create_bucket(Bucket=BUCKET)
        yield store, f"http://{host}:{port}"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        store.close()
        server.stop()


@dataclass(frozen=True)
class _Case:
    """One use of the store: `act` does it, `problem` says what is wrong with the result."""

    act: Callable[[], None]
    problem: Callable[[], str]


def _content(numbers: np.random.Generator) -> bytes:
    return numbers.bytes(int(numbers.integers(0, MOST_BYTES)))


def _upload(uri: str, folder: Path, numbers: np.random.Generator) -> _Case:
    (folder / "up").write_bytes(_content(numbers))

    def problem() -> str:
        return "" if objects.read_object(uri) == (folder / "up").read_bytes() else "another content is stored"

    return _Case(lambda: objects.upload_file(folder / "up", uri), problem)


def _download(uri: str, folder: Path, numbers: np.random.Generator) -> _Case:
    content = _content(numbers)
    (folder / "up").write_bytes(content)
    objects.upload_file(folder / "up", uri)
    down = folder / "down"

    def problem() -> str:
        left = [path.name for path in folder.iterdir() if path.name not in ("up", "down")]
        return f"{left} are left" if left else "" if down.read_bytes() == content else "another content came"

    return _Case(lambda: objects.download_file(uri, down), problem)


def _folder_down(uri: str, folder: Path, numbers: np.random.Generator) -> _Case:
    _fill(folder / "up", numbers)
    objects.upload_folder(folder / "up", uri)
    down = folder / "down"
    return _Case(
        lambda: objects.download_folder(uri, down),
        lambda: "" if files_of(down) == files_of(folder / "up") else f"came: {sorted(files_of(down))}",
    )


def _folder_up(uri: str, folder: Path, numbers: np.random.Generator) -> _Case:
    _fill(folder / "up", numbers)

    def problem() -> str:
        objects.download_folder(uri, folder / "down")
        return "" if files_of(folder / "down") == files_of(folder / "up") else "other files are stored"

    return _Case(lambda: objects.upload_folder(folder / "up", uri, last="sub/2.json"), problem)


def _fill(folder: Path, numbers: np.random.Generator) -> None:
    for name in ("a.bin", "b.csv", "sub/1.tar", "sub/2.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(_content(numbers))


def _record_written(uri: str, folder: Path, numbers: np.random.Generator) -> _Case:
    store, content = PrefixStore(uri), _content(numbers)
    return _Case(
        lambda: store.write("record.json", content),
        lambda: "" if store.read("record.json") == content else "another content is stored",
    )


def _record_created(uri: str, folder: Path, numbers: np.random.Generator) -> _Case:
    store, content = PrefixStore(uri), _content(numbers)
    said: list[bool] = []

    def act() -> None:
        said.append(store.create("record.json", content))

    def problem() -> str:
        if not said[-1]:
            return "the only writer is told that another was first"
        return "" if store.read("record.json") == content else "another content is stored"

    return _Case(act, problem)


def _record_read(uri: str, folder: Path, numbers: np.random.Generator) -> _Case:
    store, content = PrefixStore(uri), _content(numbers)
    store.write("record.json", content)
    read: list[bytes | None] = []
    return _Case(
        lambda: read.append(store.read("record.json")), lambda: "" if read[-1] == content else "another content came"
    )


def _listed(uri: str, folder: Path, numbers: np.random.Generator) -> _Case:
    store = PrefixStore(uri)
    names = sorted(f"{number:04x}" for number in set(numbers.integers(0, 1 << 16, 5).tolist()))
    for name in names:
        store.write(name, b"x")
    found: list[list[str]] = []
    return _Case(lambda: found.append(store.names()), lambda: "" if found[-1] == names else f"listed: {found[-1]}")


USES = {
    "upload": _upload,
    "download": _download,
    "folder download": _folder_down,
    "folder upload": _folder_up,
    "record written": _record_written,
    "record created": _record_created,
    "record read": _record_read,
    "list": _listed,
}


def disturb(store: FaultyStore, folder: Path, count: int, seed: int) -> Ledger:
    """Use the store `count` times, each with a fault; several uses at a time."""
    ledger, lock = Ledger(), threading.Lock()

    def one(number: int) -> None:
        numbers = np.random.default_rng((seed, number))
        use = list(USES)[int(numbers.integers(len(USES)))]
        # Each is asked for as often as the others: a body to flip a bit in is not in every request.
        fault = Fault(
            KINDS[int(numbers.integers(len(KINDS)))],
            times=int(numbers.choice([1, 1, 1, 2])),
            skip=int(numbers.integers(0, 3)),
            place=float(numbers.random()),
        )
        name = f"use-{seed}-{number}"
        scratch = folder / name
        scratch.mkdir(parents=True)
        case = USES[use](f"s3://{BUCKET}/{name}", scratch, numbers)
        with store.fault(name, fault):
            outcome, what = _ending(case, fault)
        if outcome == IDENTICAL and (problem := case.problem()):
            outcome, what = LOST, problem
        if outcome == REFUSED and (again := _again(case)):
            outcome, what = LOST, f"the rerun: {again}"
        if fault.happened:
            with lock:
                ledger.add(f"store: {fault.kind}", outcome, f"{use}, number {number}: {fault}: {what}")

    number = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while (had := _all(ledger)) < count:  # a fault that had nothing to happen to does not count
            batch = range(number, number + count - had)
            list(pool.map(one, batch))
            number = batch.stop
    return ledger


def _all(ledger: Ledger) -> int:
    return sum(sum(counted.values()) for counted in ledger.counts.values())


def _ending(case: _Case, fault: Fault) -> tuple[str, str]:
    try:
        case.act()
    except RetryError as error:
        return (REFUSED, "") if fault.kind != "403" else (LOST, f"access denied, said to pass: {error}")
    except InputError as error:
        if fault.kind in PASSING:
            return LOST, f"what passes is said to need a change: {error}"
        return REFUSED, ""
    except Exception as error:
        return LOST, f"a traceback: {error!r}"
    return IDENTICAL, ""


def _again(case: _Case) -> str:
    try:
        case.act()
        return case.problem()
    except Exception as error:
        return repr(error)


def disturb_steps(
    store: FaultyStore, workshop: Workshop, count: int, numbers: np.random.Generator, ledger: Ledger
) -> None:
    """Import from, train into and publish to a store with faults; a rerun after them ends as without them."""
    archive = workshop.folder / "release.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(workshop.release, "cv-corpus-1.0/en")
    objects.upload_file(archive, f"s3://{BUCKET}/release.tar.gz")
    works, undisturbed = workshop.works(), workshop.folder / "from-store"
    release = f"s3://{BUCKET}/release.tar.gz"
    imported = _with(works["import"], str(workshop.release), release)
    ended = imported.run(workshop.steps, undisturbed)
    assert ended.code == 0, ended.errors
    references = {**workshop.references, "import": imported.result(undisturbed)}
    for number in range(count):
        name = ("import", "publish", "train")[number % 3]
        prefix = f"step-{number}"
        target = f"s3://{BUCKET}/{prefix}"
        out = workshop.folder / "store-steps" / prefix
        one, where = (imported, str(out)) if name == "import" else (works[name], target)
        fault = Fault(
            KINDS[int(numbers.integers(len(KINDS)))],
            times=int(numbers.choice([1, 2, 3])),
            skip=int(numbers.integers(0, 12)),
            place=float(numbers.random()),
        )
        with store.fault("release.tar.gz" if name == "import" else prefix, fault):
            ended = one.run(workshop.steps, where)
        problem = (
            "" if ended.code == 0 or is_clear(ended.code, ended.errors) else f"{ended.code}: {ended.errors[-1500:]}"
        )
        if ended.code == 2 and fault.kind in PASSING:
            problem = f"what passes is said to need a change: {ended.errors[-500:]}"
        again = one.run(workshop.steps, where) if ended.code else ended
        if again.code:
            problem += f" the rerun: {again.code}: {again.errors[-1000:]}"
        else:
            if name != "import":
                objects.download_folder(target, out)
            problem += difference_of(one, out, references[name])
        if fault.happened:
            outcome = LOST if problem else REFUSED if ended.code else IDENTICAL
            ledger.add(f"store under {name}: {fault.kind}", outcome, f"{prefix}: {fault}: {problem}")


def _with(one: Work, old: str, new: str) -> Work:
    return replace(one, arguments=tuple(argument.replace(old, new) for argument in one.arguments))
