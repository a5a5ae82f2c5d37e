"""Answers of an object store with values that are none."""

import contextlib

import pytest

from speech.errors import RetryError
from speech.storage import objects

LIST = (
    "<?xml version='1.0'?><ListBucketResult><Name>b</Name><KeyCount>1</KeyCount><Contents><Key>a</Key>"
    "<LastModified>{time}</LastModified><ETag>x</ETag><Size>{size}</Size></Contents></ListBucketResult>"
)


@contextlib.contextmanager
def answering(body: str):
    """A client whose next requests are all answered so."""
    from botocore.awsrequest import AWSResponse

    class Raw:
        def stream(self, *_: object, **__: object):
            yield body.encode()

    def answer(request, **_: object):
        return AWSResponse(request.url, 200, {}, Raw())

    client = objects.client()
    client.meta.events.register("before-send.s3", answer)
    try:
        yield
    finally:
        client.meta.events.unregister("before-send.s3", answer)


@pytest.mark.parametrize(("time", "size"), [("2026-11-22T0=:24:24.000Z", "5"), ("2026-11-22T01:24:24.000Z", "5:")])
def test_a_value_that_is_none_is_a_broken_answer(s3_bucket: str, time: str, size: str) -> None:
    with answering(LIST.format(time="2026-11-22T01:24:24.000Z", size="5")):
        assert objects.list_keys(s3_bucket) == [("a", 5)]
    with answering(LIST.format(time=time, size=size)), pytest.raises(RetryError, match="cannot be read"):
        objects.list_keys(s3_bucket)
