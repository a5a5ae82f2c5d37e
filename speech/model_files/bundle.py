"""TensorFlow's checkpoint bundles (V2) without TensorFlow: names, shapes, and tensors over the mapped data files.

`PREFIX.index` is a table in LevelDB's format: sorted keys in blocks, each block with a checksum, an index of blocks,
a footer. The key "" holds the header, every other key is a tensor's name with its type, shape, place and checksum in
`PREFIX.data-XXXXX-of-YYYYY`. Source: tensorflow/core/util/tensor_bundle/, core/lib/io/{format,block}.cc,
core/protobuf/tensor_bundle.proto.
"""

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from speech import wire
from speech.crc32c import masked_crc32c
from speech.errors import InputError
from speech.model_files import graph_tensors
from speech.wire import Bytes

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER_BYTES = 5  # of a block: its compression and its checksum
_NOT_COMPRESSED = 0
_HEADER_KEY = b""
_SLICE_KEY = b"\0"  # what keys of parts of a sliced tensor begin with
_BIG_ENDIAN = 1
_STRING = 7  # TensorFlow's number of the type

_HEADER_SHARDS, _HEADER_ENDIANNESS = 1, 2
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE, _CRC, _SLICES = 1, 2, 3, 4, 5, 6, 7
_SHAPE_DIM, _DIM_SIZE = 2, 1


@dataclass(frozen=True)
class Entry:
    """One tensor of a bundle: what it is and where it lies."""

    dtype: int  # TensorFlow's number
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int  # bytes
    crc: int  # masked CRC-32C of its bytes
    sliced: bool  # stored in parts, under other keys


class Bundle:
    """An opened bundle. Tensors lie over the files, which must stay as they are while the arrays are in use."""

    def __init__(self, prefix: str, entries: dict[str, Entry], shards: int) -> None:
        self.prefix = prefix
        self.entries = entries
        self._n_shards = shards
        self._shards: dict[int, memoryview] = {}

    @classmethod
    def open(cls, prefix: str | os.PathLike[str]) -> "Bundle":
        """Open `PREFIX.index`. Raises InputError if it is missing, damaged or no bundle."""
        prefix = os.fspath(prefix).removesuffix(".index")
        path = f"{prefix}.index"
        data = _map(path)
        try:
            table = dict(_table(data, path))
            header = _fields(table.pop(_HEADER_KEY))
            names = (key for key in table if not key.startswith(_SLICE_KEY))
            entries = {key.decode("utf-8"): _entry(table[key]) for key in names}
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(
                f"{path}: not a checkpoint index ({error}): expected the .index file of a TensorFlow V2 bundle"
            ) from error
        if header.get(_HEADER_ENDIANNESS, 0) == _BIG_ENDIAN:
            raise InputError(f"{path}: written on a big-endian machine, which is not supported")
        return cls(prefix, entries, header.get(_HEADER_SHARDS, 1))

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Name -> shape of every tensor."""
        return {name: list(entry.shape) for name, entry in self.entries.items()}

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """A tensor of numbers, as a read-only array over its file. Raises InputError if it is missing or damaged."""
        entry = self.entries.get(name)
        where = f"{self.prefix}: {name}"
        if entry is None:
            raise InputError(f"{where} is not in this checkpoint of {len(self.entries)} tensors")
        dtype = graph_tensors.dtype_of(entry.dtype)
        if dtype is None or dtype.array.kind == "O" or entry.sliced:
            kind = "stored in slices" if entry.sliced else graph_tensors.dtype_name(entry.dtype)
            raise InputError(f"{where} is {kind}: expected numbers in one piece")
        content = self._content(entry, where)
        if masked_crc32c(content) != entry.crc:
            raise InputError(f"{where}: its checksum is wrong: the data file is damaged")
        return graph_tensors.from_bytes(content, dtype, entry.shape, where)

    def string(self, name: str) -> bytes:
        """A string that is alone in its tensor. Raises InputError if it is missing, damaged or something else."""
        entry = self.entries.get(name)
        where = f"{self.prefix}: {name}"
        if entry is None or entry.dtype != _STRING or entry.shape or entry.sliced:
            raise InputError(f"{where} is no single string")
        content = self._content(entry, where)
        try:
            length, start = wire.read_varint(content, 0, len(content))
        except ValueError as error:
            raise InputError(f"{where}: {error}: the data file is damaged") from error
        # Behind the length its own checksum, then the bytes; the checksum of all takes the length as four bytes.
        if masked_crc32c(length.to_bytes(8, "little")[:4] + bytes(content[start:])) != entry.crc:
            raise InputError(f"{where}: its checksum is wrong: the data file is damaged")
        return bytes(content[start + 4 :])

    def _content(self, entry: Entry, where: str) -> memoryview:
        shard = self._shard(entry.shard)
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > len(shard):
            raise InputError(f"{where}: bytes {entry.offset} to {entry.offset + entry.size} are not there: cut short")
        return shard[entry.offset : entry.offset + entry.size]

    def check(self) -> None:
        """Raise InputError unless every tensor of numbers is there, and as it was written."""
        for name, entry in self.entries.items():
            dtype = graph_tensors.dtype_of(entry.dtype)
            if dtype is not None and dtype.array.kind != "O" and not entry.sliced:
                self.tensor(name)

    def _shard(self, number: int) -> memoryview:
        if number not in self._shards:
            self._shards[number] = _map(f"{self.prefix}.data-{number:05d}-of-{self._n_shards:05d}")
        return self._shards[number]


def _map(path: str) -> memoryview:
    try:
        with Path(path).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise InputError(f"{path}: the file is empty, expected a part of a checkpoint")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected a part of a checkpoint") from error


def _table(data: Bytes, path: str) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a table."""
    if len(data) < _FOOTER_BYTES or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise ValueError("no table footer at its end")
    footer = len(data) - _FOOTER_BYTES
    _, position = _handle(data, footer)  # of the block of filters and statistics, which bundles leave empty
    index, _ = _handle(data, position)
    for _, handle in _block(data, index, path):
        block, _ = _handle(handle, 0)
        yield from _block(data, block, path)


def _handle(data: Bytes, position: int) -> tuple[tuple[int, int], int]:
    """A block's offset and size, and the position behind them."""
    offset, position = wire.read_varint(data, position, len(data))
    size, position = wire.read_varint(data, position, len(data))
    return (offset, size), position


def _block(data: Bytes, handle: tuple[int, int], path: str) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of one block, each key given by what it shares with the one before."""
    offset, size = handle
    end = offset + size
    if end + _TRAILER_BYTES > len(data):
        raise ValueError(f"a block reaches to byte {end}, the file has {len(data)}")
    if data[end] != _NOT_COMPRESSED:
        raise InputError(f"{path}: its blocks are compressed (kind {data[end]}), which TensorFlow's bundles are not")
    if masked_crc32c(data[offset : end + 1]) != int.from_bytes(data[end + 1 : end + _TRAILER_BYTES], "little"):
        raise ValueError(f"wrong checksum of the block at byte {offset}")
    restarts = int.from_bytes(data[end - 4 : end], "little")
    end -= 4 * (restarts + 1)
    key = b""
    while offset < end:
        shared, offset = wire.read_varint(data, offset, end)
        rest, offset = wire.read_varint(data, offset, end)
        length, offset = wire.read_varint(data, offset, end)
        if shared > len(key) or offset + rest + length > end:
            raise ValueError(f"an entry reaches behind its block at byte {offset}")
        key = key[:shared] + bytes(data[offset : offset + rest])
        yield key, bytes(data[offset + rest : offset + rest + length])
        offset += rest + length


def _messages(data: bytes, number: int) -> Iterator[bytes]:
    """The payloads of the length-delimited fields `number`."""
    position = 0
    while position < len(data):
        field = wire.read_field(data, position, len(data))
        if (field.number, field.kind) == (number, wire.DELIMITED):
            yield data[field.payload : field.end]
        position = field.end


def _fields(data: bytes) -> dict[int, int]:
    """The integers of a message by field number."""
    values, position = {}, 0
    while position < len(data):
        field = wire.read_field(data, position, len(data))
        if field.kind == wire.VARINT:
            values[field.number], _ = wire.read_varint(data, field.payload, field.end)
        elif field.kind == wire.FIXED32:
            values[field.number] = int.from_bytes(data[field.payload : field.end], "little")
        position = field.end
    return values


def _entry(data: bytes) -> Entry:
    values = _fields(data)
    dimensions = [dim for shape in _messages(data, _SHAPE) for dim in _messages(shape, _SHAPE_DIM)]
    return Entry(
        dtype=values.get(_DTYPE, 0),
        shape=tuple(_fields(dim).get(_DIM_SIZE, 0) for dim in dimensions),
        shard=values.get(_SHARD, 0),
        offset=values.get(_OFFSET, 0),
        size=values.get(_SIZE, 0),
        crc=values.get(_CRC, 0),
        sliced=any(True for _ in _messages(data, _SLICES)),
    )
