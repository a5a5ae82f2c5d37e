"""Taking clips whose source has not changed from an earlier corpus."""

import csv
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from components.import_cv.convert.clip import CONVERTER
from components.import_cv.plan.planning import wav_name
from components.import_cv.plan.table import Texts
from components.import_cv.write.outcomes import DIGEST_BYTES
from speech.artifacts import Corpus
from speech.clips.audio import WAV_HEADER_BYTES, wav_header
from speech.errors import InputError
from speech.storage.files import atomic_path
from speech.storage.objects import local_folder, of_artifact_store

COLUMNS = ("source", "sha256", "samples", "shard", "offset", "audio_crc32")


def write_index(path: Path, rows: Iterable[tuple[str, bytes, int, str, int, int]]) -> None:
    """Write what a later import recognises the clips by: source, digest, samples, shard, offset, the WAV's CRC."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for source, digest, *where, checksum in rows:
            writer.writerow((source, digest.hex(), *where, f"{checksum:08x}"))


def fetch(uri: str, scratch: Path) -> list[Path]:
    """The folders of an earlier corpus (a folder or an s3:// prefix): its own, and where its clips are."""
    tables = local_folder(uri, scratch / "tables")
    places = Corpus(tables).places
    audio = [local_folder(of_artifact_store(place), scratch / name) for name, place in places.items()]
    return [tables, *audio]


class Previous:
    """The clips of an earlier corpus by the digest of their source; read-only and shared by all workers."""

    def __init__(self, folder: Path, sample_rate: int, clip_prefix: str, audio: Sequence[Path] = ()) -> None:
        """`audio` are folders that hold clips besides `folder` itself."""
        self.folder = folder
        self.folders = (folder, *audio)
        self.sample_rate = sample_rate
        self.clip_prefix = clip_prefix
        self._files: dict[str, int] = {}
        self._load(folder / Corpus.INDEX)

    @classmethod
    def open(cls, folder: Path, sample_rate: int, audio: Sequence[Path] = ()) -> "Previous | None":
        """The clips of a corpus, or None if it was made with another sample rate or another converter.

        None, too, for one of an earlier version, whose index has no checksums: its audio may have rotted since.
        """
        report = Corpus.open(folder).report
        made_by = report.get("converter")
        if not isinstance(made_by, dict):
            raise InputError(f"{folder / Corpus.REPORT}: damaged: it does not say how the clips were made")
        if made_by.get("version") != CONVERTER or made_by.get("sample_rate_hz") != sample_rate:
            return None
        index = folder / Corpus.INDEX
        if not index.is_file():
            return None
        with index.open("rb") as file:
            if file.readline(1000).rstrip() == ",".join(COLUMNS[:-1]).encode("ascii"):
                print(f"note: {folder}: an earlier version imported it, without checksums: all is converted again",
                      file=sys.stderr)  # fmt: skip
                return None
        return cls(folder, sample_rate, made_by.get("clip_prefix", "clips/"), audio)

    def __len__(self) -> int:
        return len(self._keys)

    def _load(self, path: Path) -> None:
        keys, samples, numbers, offsets = bytearray(), array("I"), array("I"), array("Q")
        checksums = array("I")
        self._names, shards = Texts(), {"": 0}
        try:
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.reader(file)
                if tuple(next(reader, ())) != COLUMNS:
                    raise ValueError(f"expected the columns {','.join(COLUMNS)}")
                for source, digest, count, shard, offset, checksum in reader:
                    key = bytes.fromhex(digest)
                    if len(key) != DIGEST_BYTES:
                        raise ValueError(f"line {reader.line_num}: expected {DIGEST_BYTES} bytes of a digest")
                    keys += key
                    checksums.append(int(checksum, 16))
                    samples.append(int(count))
                    numbers.append(shards.setdefault(shard, len(shards)))
                    offsets.append(int(offset))
                    self._names.append("" if shard else wav_name(source))
        except (ValueError, OverflowError, csv.Error) as error:
            raise InputError(f"{path}: not the index of a corpus: {error}: import the previous corpus again") from error
        self._shards = list(shards)
        pairs = np.frombuffer(bytes(keys), ">u8").reshape(-1, 2)
        self._order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        self._keys = pairs[self._order, 0].astype(np.uint64)
        self._more = pairs[self._order, 1].astype(np.uint64)
        self._samples, self._numbers, self._offsets, self._checksums = samples, numbers, offsets, checksums

    def wav(self, digest: bytes) -> bytes | None:
        """The WAV file that was made of a source, or None if there is none or it is not what the index says."""
        first, second = struct.unpack(">QQ", digest)
        place = int(np.searchsorted(self._keys, np.uint64(first)))
        while place < len(self._keys) and self._keys[place] == first:
            if self._more[place] == second and (data := self._read(int(self._order[place]))) is not None:
                return data  # of several clips with the same sound the first whole one
            place += 1
        return None

    def _read(self, row: int) -> bytes | None:
        expected = wav_header(self._samples[row], self.sample_rate)
        size = WAV_HEADER_BYTES + 2 * self._samples[row]
        shard = self._shards[self._numbers[row]]
        try:
            if shard:
                if shard not in self._files:
                    self._files[shard] = os.open(self._find(shard), os.O_RDONLY)
                data = os.pread(self._files[shard], size, self._offsets[row])
            else:
                data = self._find(f"{self.clip_prefix}{self._names[row]}").read_bytes()
        except OSError:
            return None
        whole = len(data) == size and data.startswith(expected) and zlib.crc32(data) == self._checksums[row]
        return data if whole else None

    def _find(self, name: str) -> Path:
        paths = (folder / name for folder in self.folders if (folder / name).is_file())
        return next(paths, self.folder / name)
