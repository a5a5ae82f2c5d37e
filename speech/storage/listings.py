"""Lists of an object store's keys. A list has no checksum: it counts if it comes twice, or over TLS, which has one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

LISTINGS = 3  # at most: what two of them hold is there


class Listed(NamedTuple):
    """What a list says of an object."""

    size: int  # bytes
    etag: str
    modified: datetime


def listing(store: Any, bucket: str, prefix: str, delimiter: str = "") -> dict[str, Listed]:
    """The objects of `bucket` under `prefix` by their keys, in key order; with a delimiter not those in folders below.

    Others may write meanwhile, so lists may differ without a fault: the newest counts where two do not agree.

    Args:
        store: A client of boto3's.
    """
    if str(store.meta.endpoint_url).startswith("https://"):
        return _listed(store, bucket, prefix, delimiter)
    seen: list[dict[str, Listed]] = []
    for _ in range(LISTINGS):
        seen.append(_listed(store, bucket, prefix, delimiter))
        if len(seen) > 1 and seen[-1] == seen[-2]:
            return seen[-1]
    return _in_two_of(seen)


def _listed(store: Any, bucket: str, prefix: str, delimiter: str) -> dict[str, Listed]:
    more = {"Delimiter": delimiter} if delimiter else {}
    pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **more)
    return {
        item["Key"]: Listed(item["Size"], item["ETag"], item["LastModified"])
        for page in pages
        for item in page.get("Contents", ())
    }


def _in_two_of(seen: Sequence[Mapping[str, Listed]]) -> dict[str, Listed]:
    found = {}
    for key in sorted({key for one in seen for key in one}):
        facts = [one[key] for one in seen if key in one]
        if len(facts) > 1:
            found[key] = facts[0] if facts[0] in facts[1:] else facts[-1]
    return found
