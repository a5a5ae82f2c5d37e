"""Features of clips, from one epoch to the next in memory, and from one run to the next on disk."""

import re
import struct
import threading
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from speech.errors import InputError

_RECORD = struct.Struct("<IIQ")  # the clip's position, its frames, a checksum of its features
_KEY_BYTES = 64
_ANY_KEY = re.compile(rb"[0-9a-f]* *")


class Cache(Protocol):
    """Where the features `[T, n_input]` of a set's clips are kept, by the clips' positions."""

    def get(self, position: int) -> npt.NDArray[np.float32] | None:
        """The features of a clip, if they are here."""

    def put(self, position: int, features: npt.NDArray[np.float32]) -> None:
        """Keep the features of a clip."""

    def clear(self) -> None:
        """Forget everything."""


class FeatureMemory:
    """The clips that came by first, as many as fit into `most_bytes` of memory. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._features: dict[int, npt.NDArray[np.float32]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._features)

    def get(self, position: int) -> npt.NDArray[np.float32] | None:
        """The features `[T, n_input]` of a clip, if they are here."""
        return self._features.get(position)

    def put(self, position: int, features: npt.NDArray[np.float32]) -> None:
        """Keep the features `[T, n_input]` of a clip, if they fit; they must not be changed any more."""
        with self._lock:
            if position not in self._features and features.nbytes <= self._left:
                self._features[position] = features
                self._left -= features.nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._left += sum(features.nbytes for features in self._features.values())
            self._features.clear()


class FeatureCache:
    """`PREFIX.features`: a key, then records that are appended as clips come by.

    A file with another key (other data, other geometry) starts anew; of a file that was cut off the whole records are
    used. Thread-safe; one process at a time writes.
    """

    def __init__(self, prefix: str, key: str, n_input: int) -> None:
        """`key` is a hexadecimal digest of all that the features depend on.

        Raises InputError for a file that is no cache: it is somebody else's.
        """
        self.path = Path(f"{prefix}.features")
        self._key = key.ljust(_KEY_BYTES)[:_KEY_BYTES].encode()
        self._n_input = n_input
        self._places: dict[int, tuple[int, int]] = {}  # position in the set -> offset in the file, frames
        self._lock = threading.Lock()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        self._scan()

    def __len__(self) -> int:
        return len(self._places)

    def get(self, position: int) -> npt.NDArray[np.float32] | None:
        """The features `[T, n_input]` of a clip, if they are here."""
        with self._lock:
            if position not in self._places:
                return None
            offset, frames = self._places[position]
            self._file.seek(offset)
            return self._features(self._file.read(frames * self._n_input * 4))

    def put(self, position: int, features: npt.NDArray[np.float32]) -> None:
        """Keep the features `[T, n_input]` of a clip."""
        content = np.ascontiguousarray(features, "<f4").tobytes()
        with self._lock:
            start = self._file.seek(0, 2)
            self._file.write(_RECORD.pack(position, len(features), zlib.crc32(content)) + content)
            self._file.flush()
            self._places[position] = (start + _RECORD.size, len(features))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._places.clear()
            self._file.truncate(_KEY_BYTES)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _features(self, content: bytes) -> npt.NDArray[np.float32]:
        return np.frombuffer(content, "<f4").reshape(-1, self._n_input)

    def _scan(self) -> None:
        self._file.seek(0)
        if (key := self._file.read(_KEY_BYTES)) != self._key:
            if not _ANY_KEY.fullmatch(key):
                raise InputError(f"{self.path}: not a cache of features, so it stays: give another --feature_cache")
            self._file.truncate(0)
            self._file.write(self._key)
            self._file.flush()
            return
        whole = _KEY_BYTES
        while len(header := self._file.read(_RECORD.size)) == _RECORD.size:
            position, frames, checksum = _RECORD.unpack(header)
            content = self._file.read(frames * self._n_input * 4)
            if len(content) < frames * self._n_input * 4 or zlib.crc32(content) != checksum:
                break
            self._places[position] = (whole + _RECORD.size, frames)
            whole = self._file.tell()
        self._file.truncate(whole)
