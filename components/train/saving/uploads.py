"""Checkpoints on their way to object storage, beside the training, which waits for them only at its end.

A thread brings there what a run keeps in its folder: the files beside the checkpoints, then the newest and the best
bundle, each its data before its index, then the state files that name them. Only after that it deletes what they no
longer name. So a kill at any moment leaves a whole checkpoint there. While the store is away the newest state replaces
those that are still waiting.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from speech.artifacts import Checkpoint
from speech.errors import InputError, RetryError
from speech.model_files.checkpoints import state_text
from speech.storage.objects import delete_objects, list_keys, upload_file

WAITING = ".uploads"  # folder beside the checkpoints: links to what has to be uploaded yet
RETRY_S = 15.0
SAY_S = 60.0  # between two lines about a store that stays away
STOP_S = 100.0  # what SIGTERM leaves for the last upload: pods of a TrainJob are killed after 120 s
NICE = 19  # the training goes first

Result = TypeVar("Result")


@dataclass(frozen=True)
class Kept:
    """What a run keeps at a moment: names of bundles and files in its folder."""

    last: tuple[str, ...] = ()  # bundles, oldest first; the newest one goes to the store
    best: str = ""  # bundle
    before: tuple[str, ...] = ()  # files that a bundle needs beside it
    after: tuple[str, ...] = ()  # files that say that all is there, in this order
    outdated: tuple[str, ...] = ()  # bundles that this run wrote and that no state file names any more


@dataclass(frozen=True)
class _Waiting:
    """A state with links to its files, which stay when the run deletes its own."""

    kept: Kept
    links: dict[str, Path] = field(default_factory=dict)


class Uploads:
    """The thread that makes `uri` (an `s3://` prefix) hold what `folder` does."""

    def __init__(self, folder: Path, uri: str, every_s: float = 0.0, there: Sequence[str] = ()) -> None:
        """At most one upload in `every_s`; `there` are the files that the store holds already."""
        self.folder, self.uri, self.every_s = folder, uri.rstrip("/"), every_s
        self._begun = {name.rpartition(".")[0] for name in there}  # bundles of which some file is there
        self._there = {name.removesuffix(".index") for name in there if name.endswith(".index")}  # whole ones
        self._files: dict[str, tuple[int, ...]] = {}  # what was uploaded besides bundles, by name: its version
        self._states: dict[str, str] = {}  # the state files as they are there
        self._changed = threading.Condition()
        self._next: _Waiting | None = None
        self._busy = self._hurry = self._closed = False
        self._not_before = 0.0
        self._failure: Exception | None = None  # of the newest attempt
        self._failing_since = self._said = 0.0
        self._n_done = self._n_links = 0
        self._bug: BaseException | None = None
        self.gave_up = False  # whether a flush has waited in vain
        shutil.rmtree(folder / WAITING, ignore_errors=True)
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._thread.start()

    def submit(self, kept: Kept) -> None:
        """Have the thread upload this state; one that is still waiting is not uploaded any more."""
        self._raise_bug()
        with self._changed:
            links = self._link(kept)
            if self._next is not None:
                kept = replace(kept, outdated=(*self._next.kept.outdated, *kept.outdated))
                self._drop(self._next)
            self._next = _Waiting(kept, links)
            self._changed.notify_all()

    def first(self, seconds: float = 30.0) -> None:
        """Wait for the first upload for a moment; raises InputError if the store refuses it."""
        with self._changed:
            self._changed.wait_for(lambda: self._n_done or self._failure or self._bug, seconds)
            if isinstance(self._failure, InputError) and not self._n_done:
                raise self._failure
        self._raise_bug()

    def flush(self, patience_s: float) -> None:
        """Wait until all is uploaded.

        Raises InputError if the store refuses it, and RetryError if it has not taken all after `patience_s`.
        """
        deadline = time.monotonic() + patience_s
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._next is not None or self._busy:
                if self._bug or isinstance(self._failure, InputError) or time.monotonic() >= deadline:
                    break
                self._changed.wait(min(1.0, max(0.0, deadline - time.monotonic())))
            self._hurry = False
            left = self._next is not None or self._busy
        self._raise_bug()
        if isinstance(self._failure, InputError):
            raise self._failure
        if left:
            self.gave_up = True
            why = f": {self._failure}" if self._failure else ""
            raise RetryError(
                f"{self.uri}: the store has not taken the newest checkpoint within {patience_s:g} s{why}; "
                "the same command goes on from what is there"
            )

    def close(self) -> None:
        """End the thread once it has done what it is at; what waits is forgotten."""
        with self._changed:
            self._closed, self._next = True, None
            self._changed.notify_all()
        self._thread.join(timeout=1.0)
        shutil.rmtree(self.folder / WAITING, ignore_errors=True)

    def _raise_bug(self) -> None:
        if self._bug is not None:
            raise RuntimeError(f"uploads to {self.uri} ended") from self._bug

    def _link(self, kept: Kept) -> dict[str, Path]:
        """Links to the files that are not there yet."""
        self._n_links += 1
        place, links = self.folder / WAITING / str(self._n_links), {}
        place.mkdir(parents=True)
        bundles = [name for name in dict.fromkeys((*kept.last[-1:], kept.best)) if name and name not in self._there]
        files = [path.name for name in bundles for path in self.folder.glob(f"{name}.*")]
        for name in (*kept.before, *files, *kept.after):
            links[name] = place / name
            try:
                os.link(self.folder / name, links[name])
            except OSError:  # a file system without links
                shutil.copy2(self.folder / name, links[name])
        return links

    @staticmethod
    def _drop(waiting: _Waiting) -> None:
        for link in waiting.links.values():
            link.unlink(missing_ok=True)
        for folder in {link.parent for link in waiting.links.values()}:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            while (waiting := self._take()) is not None:
                try:
                    self._bring(waiting)
                except (RetryError, InputError) as error:
                    self._failed(waiting, error)
                else:
                    self._succeeded(waiting)
        except BaseException as error:
            with self._changed:
                self._bug, self._busy = error, False
                self._changed.notify_all()

    def _take(self) -> _Waiting | None:
        """The newest state as soon as its time has come; None at the end."""
        with self._changed:
            while not self._closed:
                left = self._not_before - time.monotonic()
                if self._next is not None and (left <= 0 or (self._hurry and self._failure is None)):
                    waiting, self._next, self._busy = self._next, None, True
                    self._not_before = time.monotonic() + self.every_s
                    return waiting
                self._changed.wait(max(0.0, left) if self._next is not None else None)
        return None

    def _bring(self, waiting: _Waiting) -> None:
        kept = waiting.kept
        if self._failure is not None:
            list_keys(f"{self.uri}/{Checkpoint.LAST}", patient=False)  # whether it is back, before hashing gigabytes
        self._bring_files(waiting, kept.before)
        for bundle in dict.fromkeys((*kept.last[-1:], kept.best)):
            files = sorted(name for name in waiting.links if name.startswith(f"{bundle}."))
            if bundle and bundle not in self._there:
                self._begun.add(bundle)
                for name in files:  # the data come before the index
                    upload_file(waiting.links[name], f"{self.uri}/{name}", patient=False)
                self._there.add(bundle)
        last = [name for name in kept.last if name in self._there]
        self._point(waiting, Checkpoint.BEST, [kept.best] if kept.best else [])
        self._point(waiting, Checkpoint.LAST, last)
        for bundle in (name for name in kept.outdated if name in self._begun):
            names = [f"{bundle}.index", f"{bundle}.data-00000-of-00001"]
            delete_objects((f"{self.uri}/{name}" for name in names), patient=False)
            self._there.discard(bundle)
            self._begun.discard(bundle)
        self._bring_files(waiting, kept.after)

    def _bring_files(self, waiting: _Waiting, names: Sequence[str]) -> None:
        for name in names:
            status = waiting.links[name].stat()
            version = (status.st_size, status.st_mtime_ns)
            if self._files.get(name) != version:
                upload_file(waiting.links[name], f"{self.uri}/{name}", patient=False)
                self._files[name] = version

    def _point(self, waiting: _Waiting, state_file: str, names: Sequence[str]) -> None:
        if not names or self._states.get(state_file) == (text := state_text(names)):
            return
        path = self.folder / WAITING / state_file
        path.write_text(text, encoding="utf-8")
        upload_file(path, f"{self.uri}/{state_file}", patient=False)
        self._states[state_file] = text

    def _failed(self, waiting: _Waiting, error: Exception) -> None:
        now = time.monotonic()
        with self._changed:
            if self._failure is None:
                self._failing_since, self._said = now, 0.0
            self._failure, self._busy = error, False
            self._not_before = now + RETRY_S
            if self._next is None and not self._closed:
                self._next = waiting
            elif self._next is not None:
                kept = self._next.kept
                outdated = (*waiting.kept.outdated, *kept.outdated)
                self._next = replace(self._next, kept=replace(kept, outdated=outdated))
                self._drop(waiting)
            if not self._said or now - self._said >= SAY_S:
                self._said, for_s = now, now - self._failing_since
                since = f" for {for_s:.0f} s" if for_s >= 1 else ""
                _say(f"{error}: uploads wait{since}, and are tried again every {RETRY_S:g} s; the training goes on")
            self._changed.notify_all()

    def _succeeded(self, waiting: _Waiting) -> None:
        self._drop(waiting)
        with self._changed:
            if self._failure is not None:
                _say(f"{self.uri}: uploads go on after {time.monotonic() - self._failing_since:.0f} s")
            self._failure, self._busy = None, False
            self._n_done += 1
            self._changed.notify_all()


def patiently(work: Callable[[], Result], patience_s: float) -> Result:
    """What `work` returns, tried again for `patience_s` while the store is away."""
    deadline, last_note = time.monotonic() + patience_s, 0.0
    while True:
        try:
            return work()
        except RetryError as error:
            if time.monotonic() + RETRY_S > deadline:
                raise
            if not last_note or time.monotonic() - last_note >= SAY_S:
                last_note = time.monotonic()
                _say(f"{error}: tried again every {RETRY_S:g} s, for {deadline - last_note:.0f} s")
            time.sleep(RETRY_S)


def _say(text: str) -> None:
    print(f"note: {text}", file=sys.stderr, flush=True)
