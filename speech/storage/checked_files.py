"""Files that a record lists, as they were when it was written: by size and SHA-256, when an artifact arrives.

The record itself carries the SHA-256 of what it says.
"""

import hashlib
import json
import os
import re
from collections.abc import Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from speech.errors import InputError
from speech.storage.files import sha256

AT_ONCE = 8
SEAL = "record_sha256"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WHOLE: set[tuple[str, int, int, int, str]] = set()  # what this process has found to be whole, as long as it stays so


def listed_files(record: Path, description: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a record says of its files, each with `bytes` and `sha256`; raises InputError for what no step writes.

    A record may be a stranger's: names lead to files below its folder and nowhere else.
    """
    files = description.get("files", {})
    if not isinstance(files, dict):
        raise InputError(f"{record}: damaged: `files` is {str(files)[:40]!r}, expected a list of files by name")
    for name, about in files.items():
        if not name or any(part in ("", ".", "..") or "\0" in part for part in name.split("/")):
            raise InputError(f"{record}: damaged: it lists {name[:80]!r}, which is no file below its folder")
        if not (
            isinstance(about, dict)
            and type(about.get("bytes")) is int
            and isinstance(about.get("sha256"), str)
            and _DIGEST.fullmatch(about["sha256"])
        ):
            raise InputError(f"{record}: damaged: {name}: expected its `bytes` and `sha256`")
    return files


def sealed(description: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a record, with the digest of all of it."""
    content = {name: value for name, value in description.items() if name != SEAL}
    return {**content, SEAL: _digest_of(content)}


def unsealed(record: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says, without its digest; raises InputError for one that says something else than was written.

    Records of earlier versions and of others carry none.
    """
    description = dict(content)
    recorded = description.pop(SEAL, None)
    if recorded is not None and recorded != _digest_of(description):
        raise InputError(
            f"{record} is damaged: its content has another sha256 than it records as {SEAL}: fetch it, or make the "
            f"artifact, again; if it was changed on purpose, remove {SEAL} from it"
        )
    return description


def _digest_of(content: Mapping[str, Any]) -> str:
    as_read = json.loads(json.dumps(content))  # keys are texts
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode("ascii")).hexdigest()


def check_files(record: Path, description: Mapping[str, Any], only: Container[str] | None = None) -> None:
    """Raise InputError unless the files that a record lists (`only` some) are those that it was written for.

    Several are read at a time. A file that was whole is not read again in this process while its time stays the same.
    """
    files = listed_files(record, description)
    names = [name for name in files if only is None or name in only]
    with ThreadPoolExecutor(min(AT_ONCE, len(names)) or 1) as pool:
        for problem in pool.map(lambda name: _problem(record.parent / name, files[name], record.name), names):
            if problem:
                raise InputError(problem)


def _problem(path: Path, recorded: Mapping[str, Any], record: str) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"{path} is missing, but {record} beside it lists it: make the artifact again"
    if status.st_size != recorded["bytes"]:
        return f"{path} has {status.st_size} bytes, but {record} records {recorded['bytes']}: make the artifact again"
    key = (os.fspath(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns, recorded["sha256"])
    if key in _WHOLE:
        return ""
    if sha256(path) != recorded["sha256"]:
        return f"{path} is damaged: {record} records another sha256: fetch it, or make the artifact, again"
    _WHOLE.add(key)
    return ""
