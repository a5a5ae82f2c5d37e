"""Writers that meet in an object store, and stores that answer late: a name has one owner, half a version is seen."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from components.publish.model_bucket import CLAIM, StoredVersions, open_target
from speech.errors import InputError
from speech.storage import objects, retries
from speech.storage.stores import CREATE_ATTEMPTS


class Answering:
    """A client whose `put_object` answers with HTTP errors first, and does its work before them if it is told so."""

    def __init__(self, client: Any, statuses: list[int], *, works: bool = False) -> None:
        self.client, self.statuses, self.works = client, statuses, works

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def put_object(self, **given: Any) -> Any:
        if not self.statuses:
            return self.client.put_object(**given)
        if self.works:
            self.client.put_object(**{name: value for name, value in given.items() if name != "IfNoneMatch"})
        answer: Any = {"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": self.statuses.pop(0)}}
        raise ClientError(answer, "PutObject")


@pytest.fixture
def bucket(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> StoredVersions:
    monkeypatch.setattr(retries.time, "sleep", lambda seconds: None)
    place = open_target(f"{s3_bucket}/models")
    assert isinstance(place, StoredVersions)
    return place


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """From now on the store answers with these statuses first."""

    def answer(*statuses: int, works: bool = False) -> None:
        client = Answering(objects.client(), list(statuses), works=works)
        monkeypatch.setattr(objects, "client", lambda *_, **__: client)

    return answer


def test_a_name_is_created_once(bucket: StoredVersions) -> None:
    assert bucket.create("a.json", '{"by": 1}')
    assert not bucket.create("a.json", '{"by": 2}')
    assert bucket.get("a.json") == {"by": 1}


def test_a_creation_whose_answer_was_lost_is_our_own(bucket: StoredVersions, answers: Callable[..., None]) -> None:
    """The store has it, the answer never came, and boto's own second attempt is told that it exists."""
    answers(412, works=True)
    assert bucket.create("a.json", '{"by": 1}')
    answers(412)
    assert not bucket.create("a.json", '{"by": 2}')


def test_a_writer_at_work_is_waited_for_a_while(bucket: StoredVersions, answers: Callable[..., None]) -> None:
    answers(409, 409)
    assert bucket.create("a.json", '{"by": 1}')
    answers(*[409] * CREATE_ATTEMPTS)
    assert not bucket.create("b.json", "{}")
    assert bucket.get("b.json") is None


def test_a_version_that_another_run_began_with_other_files_is_refused(bucket: StoredVersions) -> None:
    bucket.put(f"v1/{CLAIM}", json.dumps({"content": "other"}))
    with pytest.raises(InputError, match=r"v1 was begun by another run with other files.*another --version"):
        bucket.write("v1", {}, {"version.json": '{"content": "ours"}'}, "ours")
    assert bucket.read("v1") is None
    assert bucket.get(f"v1/{CLAIM}") == {"content": "other"}


def test_a_version_that_a_killed_run_began_with_the_same_files_is_finished(bucket: StoredVersions) -> None:
    bucket.put(f"v1/{CLAIM}", json.dumps({"content": "ours"}))
    assert bucket.write("v1", {}, {"note.txt": "1", "version.json": '{"content": "ours"}'}, "ours")
    assert bucket.get("v1/version.json") == {"content": "ours"}
    assert bucket.get(f"v1/{CLAIM}") is None


def test_a_version_that_was_finished_meanwhile_stays(bucket: StoredVersions) -> None:
    bucket.put("v1/version.json", '{"content": "theirs"}')
    assert not bucket.write("v1", {}, {"version.json": '{"content": "ours"}'}, "ours")
    assert bucket.get("v1/version.json") == {"content": "theirs"}
    assert bucket.get(f"v1/{CLAIM}") is None
