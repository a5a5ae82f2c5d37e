"""The checkpoints of a run: which are written when, which are kept, and which one a rerun goes on from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from speech.artifacts import Checkpoint
from speech.errors import InputError
from speech.nn import checkpoints
from speech.nn.checkpoints import Snapshot
from speech.storage import delete_objects, download_folder, list_keys, upload_file


class CheckpointStore:
    """A checkpoint folder in which a kill at any moment leaves a loadable newest checkpoint.

    With a `mirror` (an `s3://` prefix) the same holds there: a bundle is uploaded whole before the state file names it,
    and outdated ones go last. An empty folder is filled from its mirror first.
    """

    def __init__(self, folder: Path, max_to_keep: int, mirror: str = "") -> None:
        self.folder, self.max_to_keep, self.mirror = folder, max_to_keep, mirror.rstrip("/")
        if self.mirror and not (folder / Checkpoint.LAST).is_file() and list_keys(f"{self.mirror}/"):
            download_folder(self.mirror, folder)
        self._kept = self._names(Checkpoint.LAST)[::-1]

    def save_last(self, snapshot: Snapshot) -> None:
        """Write the newest checkpoint, point the state file at it, then delete the oldest beyond `max_to_keep`."""
        with self._new("train", snapshot) as name:
            kept = [*(kept for kept in self._kept if kept != name), name]
            self._point(Checkpoint.LAST, kept[-self.max_to_keep :])
        outdated, self._kept = kept[: -self.max_to_keep], kept[-self.max_to_keep :]
        self._remove(outdated)

    def save_best(self, snapshot: Snapshot) -> None:
        """Write the best checkpoint so far; the one before it goes once the state file names the new one."""
        before = self._names(Checkpoint.BEST)
        with self._new("best_dev", snapshot) as name:
            self._point(Checkpoint.BEST, [name])
        self._remove([old for old in before if old != name])

    def load_best(self) -> Snapshot:
        """The best checkpoint of this folder."""
        return checkpoints.load(checkpoints.find(self.folder, "best")[0])

    def load_last(self) -> tuple[Snapshot | None, list[str]]:
        """The newest checkpoint that loads, and a line for each damaged one before it; None if there is none."""
        prefixes = checkpoints.read_state(self.folder, Checkpoint.LAST)
        if not prefixes:
            return None, []
        try:
            return checkpoints.load_first(prefixes)
        except InputError as error:
            return None, [str(error)]

    def publish(self, names: Sequence[str]) -> None:
        """Copy files beside the checkpoints to the mirror."""
        for name in names if self.mirror else ():
            upload_file(self.folder / name, f"{self.mirror}/{name}")

    def _names(self, state_file: str) -> list[str]:
        return [Path(prefix).name for prefix in checkpoints.read_state(self.folder, state_file)]

    @contextmanager
    def _new(self, kind: str, snapshot: Snapshot) -> Iterator[str]:
        """Write a bundle, to be named by a state file; when the disk refuses either, nothing of the bundle stays."""
        name = f"{kind}-{snapshot.global_step}"
        if Path(f"{self.folder / name}.index").exists():
            # Never rewrite a bundle that a state file may name: a kill in between would leave none.
            name = f"{kind}_{snapshot.training_state.get('epoch', 0)}-{snapshot.global_step}"
        try:
            checkpoints.save(self.folder, name, snapshot)
            self.publish(sorted(path.name for path in self.folder.glob(f"{name}.*")))
            yield name
        except OSError as error:
            checkpoints.remove(self.folder, name)
            last = self._names(Checkpoint.LAST)
            rest = f"it goes on from {last[0]}" if last else "it starts anew"
            raise InputError(
                f"{self.folder / name}: the checkpoint cannot be written: {error.strerror or error}: "
                f"make room and run the same command: {rest}"
            ) from error

    def _point(self, state_file: str, names: Sequence[str]) -> None:
        checkpoints.write_state(self.folder, state_file, names)
        self.publish([state_file])

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            files = sorted(path.name for path in self.folder.glob(f"{name}.*"))
            if self.mirror:
                delete_objects(f"{self.mirror}/{file}" for file in sorted(files, reverse=True))
            checkpoints.remove(self.folder, name)
