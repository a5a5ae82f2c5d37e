"""Points of curves on their way to event files, beside the training, which never waits for them.

A thread writes them to a local folder, where it appends, or to an `s3://` prefix, where nothing can be appended to:
there it puts the newest file again, longer, until that is `PART_BYTES` long, and goes on with the next one. While the
store is away the points wait; if these become many, every second one goes.
"""

import contextlib
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speech.crc32c import masked_crc32c
from speech.curves import events
from speech.curves.events import CurvePoint
from speech.errors import InputError, RetryError
from speech.storage.objects import is_remote, list_keys, split_uri, write_object

LOCAL_EVERY_S, REMOTE_EVERY_S = 1.0, 10.0
RETRY_S = 30.0
CLOSE_S = 10.0  # of a store that has not failed, at the end
MOST_WAITING = 5000  # points; a checkpoint may hold them, too
PART_BYTES = 1 << 18  # a file that is put again at each look, so it stays small
NICE = 19  # the training goes first


class CurveWriter:
    """Takes points; a thread writes them below `place`. Nothing of that can fail or wait for the one who gives them."""

    def __init__(self, place: str, next_step: int = 0, unwritten: Sequence[Mapping[str, Any]] = ()) -> None:
        """`next_step` is the first that this run will do; of one that goes on, `unwritten` are the points before it
        that its checkpoint brought along, as `unwritten()` gave them."""
        self.place = place
        self.every_s = REMOTE_EVERY_S if is_remote(place) else LOCAL_EVERY_S
        points = [
            CurvePoint(int(one["step"]), float(one["time_s"]), dict(one["values"]), rare=bool(one["rare"]))
            for one in unwritten
        ]
        first = min([next_step, *(point.step for point in points)])
        self._waiting = [CurvePoint(first, time.time(), restarts=True), *points]
        self._writing: list[CurvePoint] = []  # what the thread is at
        self._written: list[CurvePoint] = []  # the points of the newest step that is written
        self._changed = threading.Condition()
        self._closing = self._failed = False
        self._files = _files_at(place)
        self._thread = threading.Thread(target=self._run, name="curves", daemon=True)
        self._thread.start()

    def add(self, step: int, values: Mapping[str, float], *, rare: bool = False) -> None:
        """One more point of each of these curves; where too many have to wait, those that are not `rare` get fewer."""
        point = CurvePoint(step, time.time(), dict(values), rare=rare)
        with self._changed:
            self._waiting.append(point)
            if len(self._waiting) > MOST_WAITING:
                self._waiting = [
                    one for number, one in enumerate(self._waiting) if number % 2 or one.rare or one.restarts
                ]

    def unwritten(self) -> list[dict[str, Any]]:
        """The points that are not written for certain, in JSON's types; a checkpoint keeps them.

        A run that goes on from it takes back whole steps, so what is written of the first of them is given, too.
        """
        with self._changed:
            points = [point for point in (*self._writing, *self._waiting) if not point.restarts]
            points = [*(one for one in self._written if points and one.step == points[0].step), *points]
        return [
            {"step": point.step, "time_s": point.time_s, "values": dict(point.values), "rare": point.rare}
            for point in points
        ]

    def close(self, wait_s: float = CLOSE_S) -> None:
        """Write what is left, unless the store is away."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            failed = self._failed
        self._thread.join(0.0 if failed else wait_s)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing, RETRY_S if self._failed else self.every_s)
                closing = self._closing
                self._writing, self._waiting = self._waiting, []
            if self._writing:
                self._write()
            if closing:
                return

    def _write(self) -> None:
        try:
            self._files.write(self._writing)
        except Exception as error:  # whatever it is, the training goes on
            if not self._failed:
                print(
                    f"note: {_line(error, self.place)}: curves wait; the training goes on", file=sys.stderr, flush=True
                )
            with self._changed:
                self._failed = True
                self._waiting, self._writing = self._writing + self._waiting, []
        else:
            if self._failed:
                print(f"note: {self.place}: curves go on", file=sys.stderr, flush=True)
            with self._changed:
                last = self._writing[-1].step
                self._written = [
                    one for one in (*self._written, *self._writing) if one.step == last and not one.restarts
                ]
                self._failed, self._writing = False, []


def _line(error: Exception, place: str) -> str:
    if isinstance(error, InputError | RetryError):
        return str(error)  # which names the place
    return f"{place}: {(error.strerror if isinstance(error, OSError) else '') or error or type(error).__name__}"


def _files_at(place: str) -> "_LocalFiles | _RemoteFiles":
    return _RemoteFiles(place.rstrip("/")) if is_remote(place) else _LocalFiles(Path(place))


class _LocalFiles:
    """One event file in a folder, made with the first point."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path: Path | None = None

    def write(self, points: Sequence[CurvePoint]) -> None:
        first = b""
        if self._path is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._path = self.folder / _file_name([path.name for path in self.folder.iterdir()])
            first = _record(events.encode_version(time.time()))
        before = self._path.stat().st_size if self._path.exists() else 0
        try:
            with self._path.open("ab") as file:
                file.write(first + _records(points))
        except OSError:  # a full disk: no part of a record may stand before what follows
            with contextlib.suppress(OSError):
                os.truncate(self._path, before)
            self._path = self._path if before else None
            raise


class _RemoteFiles:
    """Event files under a prefix, one after another."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._name = ""
        self._data = b""

    def write(self, points: Sequence[CurvePoint]) -> None:
        if not self._name:
            prefix = len(split_uri(self.uri)[1]) + 1
            self._begin([key[prefix:] for key, _ in list_keys(f"{self.uri}/", patient=False)])
        data = self._data + _records(points)
        write_object(f"{self.uri}/{self._name}", data, patient=False)
        self._data = data
        if len(data) >= PART_BYTES:
            self._begin([self._name])

    def _begin(self, there: Sequence[str]) -> None:
        self._name, self._data = _file_name(there), _record(events.encode_version(time.time()))


def _file_name(there: Sequence[str]) -> str:
    """A name behind all that are there, whatever the clock says: TensorBoard reads them in order."""
    times = [name.removeprefix(events.FILE_NAME).partition(".")[0] for name in there]
    newest = max((int(text) for text in times if text.isdigit()), default=0)
    return f"{events.FILE_NAME}{max(int(time.time()), newest + 1):010}.{socket.gethostname()}.{os.getpid()}"


def _records(points: Sequence[CurvePoint]) -> bytes:
    return b"".join(_record(events.encode(point)) for point in points)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))
