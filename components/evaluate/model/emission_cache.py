"""Emissions on disk, so that another decoder or other weights of a scorer need no second pass of the model."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speech.storage.files import atomic_path, write_json


def clip_key(samples: np.ndarray) -> str:
    """What tells a clip from others: a hash of its audio."""
    return hashlib.sha256(np.ascontiguousarray(samples).data).hexdigest()[:32]


class EmissionCache:
    """A folder for one model file and engine: blocks of stacked emissions, each with an index that completes it.

    `BLOCK.npy` holds `[frames of all clips, C]`, `BLOCK.json` maps a clip's key to where its frames begin and how many
    they are. Blocks are only ever added, so several evaluations can share the folder. A damaged block counts as absent.
    """

    def __init__(self, folder: Path, model_sha256: str, engine: str, n_classes: int) -> None:
        self.folder = folder / f"{model_sha256[:32]}-{engine}"
        self._n_classes = n_classes
        self._places: dict[str, tuple[np.ndarray, int, int]] = {}
        for index in sorted(self.folder.glob("*.json")):
            self._add(index)

    def get(self, key: str, n_frames: int) -> np.ndarray | None:
        """The emissions `[T, C]` of a clip (a read-only view of the file), None if they are not here."""
        place = self._places.get(key)
        if place is None or place[2] != n_frames:
            return None
        block, start, frames = place
        return block[start : start + frames]

    def put(self, keys: Sequence[str], emissions: Sequence[np.ndarray]) -> None:
        """Keep the emissions of a batch."""
        block = np.concatenate([*emissions, np.zeros((0, self._n_classes), np.float32)])
        ends = np.cumsum([len(clip) for clip in emissions])
        places = {key: [int(end) - len(clip), len(clip)] for key, end, clip in zip(keys, ends, emissions, strict=True)}
        name = hashlib.sha256("".join(keys).encode("ascii")).hexdigest()[:24]
        with atomic_path(self.folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, block)
        write_json(self.folder / f"{name}.json", places)

    def _add(self, index: Path) -> None:
        try:
            block = np.load(index.with_suffix(".npy"), mmap_mode="r")
            places = json.loads(index.read_text(encoding="utf-8"))
            if block.ndim != 2 or block.shape[1] != self._n_classes or block.dtype != np.float32:
                return
            for key, (start, frames) in places.items():
                if 0 <= start <= start + frames <= len(block):
                    self._places[key] = (block, start, frames)
        except (OSError, ValueError, TypeError, AttributeError):
            return
