"""Lists of keys over a connection that changes them."""

import pytest

from speech.storage import objects
from speech.storage.listings import listing
from tests.faults.faulty_store import Fault, FaultyStore

KEYS = [f"{number:02x}" for number in range(0, 256, 7)]


def test_a_list_is_what_comes_twice(s3_endpoint: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit that flips in a name, and a name that is lost, change no list."""
    store = FaultyStore(s3_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
    for key in KEYS:
        objects.write_object(f"{s3_bucket}/keys/{key}", b"x")
    bucket = s3_bucket.removeprefix("s3://")
    changed = 0
    for place in (0.3, 0.31, 0.32, 0.33, 0.5, 0.52, 0.54):
        with store.fault(bucket, Fault("bit flipped in the answer", place=place)) as fault:
            try:
                assert objects.list_folder(f"{s3_bucket}/keys") == KEYS
            except objects.RetryError:
                changed += 1  # the XML is broken, which shows by itself
        assert fault.happened == 1
    assert changed < 7
    store.close()


class Store:
    """A client whose lists are given."""

    class Meta:
        endpoint_url = "http://127.0.0.1"

    def __init__(self, *lists: dict[str, int], url: str = "http://127.0.0.1") -> None:
        self.meta, self.lists, self.asked = self.Meta(), list(lists), 0
        self.meta.endpoint_url = url

    def get_paginator(self, _: str) -> "Store":
        return self

    def paginate(self, **_: str):
        self.asked += 1
        found = self.lists.pop(0)
        yield {"Contents": [{"Key": key, "Size": size, "ETag": "", "LastModified": 0} for key, size in found.items()]}
        yield {}  # a page without any


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([{"a": 1, "b": 1}] * 2, {"a": 1, "b": 1}),
        ([{"a": 1, "c": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}], {"a": 1, "b": 1}),
        ([{"a": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}], {"a": 1, "b": 1}),
        ([{"a": 1, "b": 1}, {"a": 1, "b": 9}, {"a": 1, "b": 1}], {"a": 1, "b": 1}),
        ([{"a": 1}, {"a": 2}, {"a": 3}], {"a": 3}),  # it is being written
        ([{"a": 1, "b": 1}, {"b": 1}, {"b": 1, "c": 1}], {"b": 1}),  # one is removed, and another just comes
    ],
)
def test_of_three_lists_two_count(lists: list[dict[str, int]], expected: dict[str, int]) -> None:
    store = Store(*lists)
    assert {key: listed.size for key, listed in listing(store, "b", "").items()} == expected
    assert store.asked == len(lists)


def test_over_tls_one_list_is_enough() -> None:
    store = Store({"a": 1}, url="https://s3.example.org")
    assert list(listing(store, "b", "")) == ["a"]
    assert store.asked == 1
