"""The cache of local runs: kfp's own, with artifacts that are looked at again before they are trusted."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.local.cache import LocalCache

from speech.storage.files import write_json

Outputs = dict[str, Any]  # of a step: output name -> artifact or parameter value


class VerifiedCache(LocalCache):
    """Adds to kfp's entries how every file of the artifacts looked, and tells what each step's outputs were.

    kfp calls `compute_key`, then `get`, then (after a miss) `put` for one step after the other.
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
        in `uncached` are never found.
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
        outputs, record = super().get(key), self._record(key)
        if outputs is None or _snapshot(outputs) != record["files"]:
            return None
        self.outputs[self._step] = outputs
        self._seconds[self._step] = record["seconds"]
        self._on_hit(self._step)
        return outputs

    def put(self, key: str, outputs: Outputs) -> None:
        """Store a step's outputs."""
        for uri in _uris(outputs):
            Path(uri).touch()  # kfp's Metrics have no file, and kfp takes an artifact without a file for a lost one
        self.outputs[self._step] = outputs
        record = {"seconds": self._seconds.get(self._step, 0.0), "files": _snapshot(outputs)}
        write_json(self._record_path(key), record)
        super().put(key, outputs)

    def artifact_paths(self) -> list[Path]:
        """Where the artifacts of all entries lie, those of earlier runs included."""
        keys = [path.stem for path in Path(self.cache_root).glob("*.files")]
        return [Path(uri) for key in keys for uri in self._record(key)["files"] or ()]

    def _record_path(self, key: str) -> Path:
        return Path(self.cache_root, f"{key}.files")

    def _record(self, key: str) -> dict[str, Any]:
        try:
            return json.loads(self._record_path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {"seconds": 0.0, "files": None}


def _snapshot(outputs: Outputs) -> dict[str, dict[str, list[int]]]:
    """Artifact URI -> relative file name -> size and time of the last change."""
    return {uri: _files(Path(uri)) for uri in _uris(outputs)}


def _uris(outputs: Outputs) -> list[str]:
    return [value.uri for value in outputs.values() if isinstance(value, dsl.Artifact)]


def _files(path: Path) -> dict[str, list[int]]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): [(stat := file.stat()).st_size, stat.st_mtime_ns] for file in files}
