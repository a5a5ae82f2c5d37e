"""A folder and a prefix of an object store behave alike."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from speech.errors import InputError
from speech.storage.objects import write_object
from speech.storage.stores import Store, fetched, put_file, store_at


@pytest.fixture(params=["folder", "prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return store_at(tmp_path / "store")
    return store_at(f"{request.getfixturevalue('s3_bucket')}/store/")


def test_files_are_written_listed_read_and_removed(store: Store) -> None:
    assert (store.read("a.txt"), store.names(), store.names("below"), store.exists("a.txt")) == (None, [], [], False)
    store.write("a.txt", b"one")
    store.write("a.txt", b"two")
    store.write("below/b.txt", b"three")
    assert (store.read("a.txt"), store.read("below/b.txt"), store.read("below")) == (b"two", b"three", None)
    assert store.names("below") == ["b.txt"]
    assert "a.txt" in store.names()
    assert (store.exists("below/b.txt"), store.exists("below/c.txt")) == (True, False)
    store.remove(["a.txt", "below/b.txt", "never"])
    assert (store.read("a.txt"), store.names("below")) == (None, [])


def test_of_many_that_create_one_wins(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.create("record.json", str(number).encode()), range(8)))
    assert sum(won) == 1
    assert store.read("record.json") == str(won.index(True)).encode()


def test_one_file_comes_and_goes(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    put_file(tmp_path / "x", store.locate("deep/y"))
    assert store.read("deep/y") == b"content"
    assert fetched(store.locate("deep/y"), tmp_path / "scratch").read_bytes() == b"content"


def test_a_local_file_is_where_it_is(tmp_path: Path, s3_bucket: str) -> None:
    assert fetched("no/such.txt", tmp_path) == Path("no/such.txt")
    write_object(f"{s3_bucket}/x.txt", b"1")
    assert fetched(f"{s3_bucket}/x.txt", tmp_path, "other") == tmp_path / "other"
    with pytest.raises(InputError, match="no such object"):
        fetched(f"{s3_bucket}/none.txt", tmp_path)
