"""A short set of every fault, and the tables' own arithmetic. The long set: `make test-faults`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.faults import damage, kills, store_faults, surroundings
from tests.faults.fuzz import fuzz, try_one
from tests.faults.fuzz_targets import FUZZ_TARGETS
from tests.faults.ledger import IDENTICAL, LOST, REFUSED, Ledger, is_clear
from tests.faults.warm import Steps
from tests.faults.work import Workshop

SEED = 20
CRASHES = sorted(Path(__file__).with_name("crashes").glob("*/*"))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("faults")
    with Steps(folder / "warm", surroundings.clock_library(folder / "clock")) as steps:
        made = Workshop(folder / "work", steps)
        made.make("import", "train")
        yield made


def test_a_ledger_counts_and_names_what_is_lost() -> None:
    ledger = Ledger()
    ledger.add("cut", IDENTICAL)
    ledger.add("cut", REFUSED)
    ledger.add("flip", LOST, "clip 7")
    other = Ledger()
    other.add("cut", REFUSED)
    ledger.merge(other)
    lines = [line.split() for line in str(ledger).splitlines()]
    assert lines[1:4] == [["cut", "3", "1", "2", "0"], ["flip", "1", "0", "0", "1"], ["all", "4", "1", "2", "1"]]
    assert lines[4] == ["LOST", "flip:", "clip", "7"]


@pytest.mark.parametrize(
    ("code", "errors", "clear"),
    [
        (2, "note: x\nerror: no such file\n", True),
        (75, "interrupted: no room\n", True),
        (1, "error: no such file\n", False),
        (2, "error: a\nerror: b\n", False),
        (2, "Traceback (most recent call last):\n...\nerror: a\n", False),
        (0, "", False),
    ],
)
def test_what_is_refused_clearly(code: int, errors: str, clear: bool) -> None:
    assert is_clear(code, errors) is clear


def test_kills(workshop: Workshop) -> None:
    ledger, numbers = Ledger(), np.random.default_rng(SEED)
    kills.kill_step(workshop, "import", 3, numbers, ledger)
    kills.kill_step(workshop, "train", 2, numbers, ledger)
    assert ledger.lost == []
    assert sum(sum(counted.values()) for counted in ledger.counts.values()) == 5


def test_a_full_disk_and_a_moved_clock(workshop: Workshop) -> None:
    ledger, numbers = Ledger(), np.random.default_rng(SEED)
    surroundings.fill_disk(workshop, "import", 2, numbers, ledger)
    if shutil.which("g++"):
        surroundings.move_clock(workshop, "import", 1, numbers, ledger)
    assert ledger.lost == []


def test_damaged_corpora(workshop: Workshop) -> None:
    ledger = Ledger()
    damage.disturb(workshop, 4, np.random.default_rng(SEED), ledger, ("train",))
    assert ledger.lost == []
    assert ledger.counts["damaged import, read by train"][REFUSED]


def test_a_store_with_faults(tmp_path: Path) -> None:
    with store_faults.store_with_faults() as (store, _):
        ledger = store_faults.disturb(store, tmp_path, 60, SEED)
    assert ledger.lost == []


@pytest.mark.parametrize("name", ["wav", "mp3", "tar"])
def test_damaged_media(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ran, bad = fuzz(name, 200, SEED, tmp_path)
    assert (ran, bad) == (200, [])


@pytest.mark.faults
@pytest.mark.parametrize("name", FUZZ_TARGETS)
def test_many_damaged_files(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ran, bad = fuzz(name, 5000, SEED, tmp_path)
    assert (ran, bad) == (5000, [])


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_once_ended_badly(path: Path, tmp_path: Path) -> None:
    assert try_one(FUZZ_TARGETS[path.parent.name], path.read_bytes(), tmp_path) == ""
