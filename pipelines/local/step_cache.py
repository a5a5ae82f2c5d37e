"""The cache of local runs: kfp's own, with artifacts that are looked at again before they are trusted.

Beside kfp's entry of a step lies a record, `KEY.files`: how every file of the step's artifacts looked when the step had
ended, and how long the step took.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.local.cache import LocalCache

from speech.storage.files import write_json

RECORD = ".files"
Outputs = dict[str, Any]  # of a step: output name -> artifact or parameter value
FileStamps = dict[
    str, dict[str, list[int]]
]  # artifact URI -> relative file name -> bytes, time of the last change [ns]


class VerifiedCache(LocalCache):
    """Takes a step's entry only while every file of its artifacts is as the step left it.

    kfp calls `compute_key`, then `get`, then (after a miss, when the step has run) `put` for one step after the other.
    """

    def __init__(
        self,
        root: Path,
        names: Mapping[str, str],
        seconds: dict[str, float],
        on_hit: Callable[[str], None],
        uncached: Collection[str] = (),
    ) -> None:
        """`names` maps kfp's component names to the steps'; `seconds` holds the time that each step took.

        The time of a step that ran must be in `seconds` before `put`; that of a cached one is there after `get`. Steps
        in `uncached` are run in any case.
        """
        super().__init__(str(root))
        self.outputs: dict[str, Outputs] = {}  # step -> its outputs in this run
        self.key = ""  # of the step that is looked up or runs
        self._names, self._seconds = names, seconds
        self._on_hit, self._uncached = on_hit, uncached
        self._step = ""

    def compute_key(self, component_name: str, *arguments: Any, **options: Any) -> str:
        """The key of a step's entry; see kfp."""
        self._step = self._names[component_name]
        return super().compute_key(component_name, *arguments, **options)

    def get(self, key: str) -> Outputs | None:
        """The outputs of an entry, or None if there is none or if a file of its artifacts was changed or removed."""
        self.key = key
        if self._step in self._uncached:
            return None
        outputs, record = super().get(key), _Record.read(self._record_path(key))
        if outputs is None or record is None or record.files != _stamps(outputs):
            return None
        self.outputs[self._step] = outputs
        self._seconds[self._step] = record.seconds
        self._on_hit(self._step)
        return outputs

    def put(self, key: str, outputs: Outputs) -> None:
        """Store a step's outputs."""
        for uri in _artifact_uris(outputs):
            Path(uri).touch()  # kfp's Metrics have no file, and kfp takes an artifact without a file for a lost one
        self.outputs[self._step] = outputs
        record = _Record(self._seconds.get(self._step, 0.0), _stamps(outputs))
        write_json(self._record_path(key), asdict(record))
        super().put(key, outputs)

    def artifact_paths(self) -> list[Path]:
        """Where the artifacts of all entries lie, those of earlier runs included."""
        records = map(_Record.read, Path(self.cache_root).glob(f"*{RECORD}"))
        return [Path(uri) for record in records if record is not None for uri in record.files]

    def _record_path(self, key: str) -> Path:
        return Path(self.cache_root, f"{key}{RECORD}")


@dataclass(frozen=True)
class _Record:
    """What is remembered of a step beside kfp's entry."""

    seconds: float
    files: FileStamps

    @classmethod
    def read(cls, path: Path) -> "_Record | None":
        """None where there is none, or a damaged one."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def _stamps(outputs: Outputs) -> FileStamps:
    return {uri: _file_stamps(Path(uri)) for uri in _artifact_uris(outputs)}


def _artifact_uris(outputs: Outputs) -> list[str]:
    return [value.uri for value in outputs.values() if isinstance(value, dsl.Artifact)]


def _file_stamps(path: Path) -> dict[str, list[int]]:
    """Of the file, or of all files in the folder."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): _stamp(file) for file in files}


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
