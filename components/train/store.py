"""The checkpoints of a run: which are written when, which are kept, and which one a rerun goes on from."""

from pathlib import Path

from speech.artifacts import Checkpoint
from speech.nn import checkpoints
from speech.nn.checkpoints import Snapshot


class CheckpointStore:
    """A checkpoint folder in which a kill at any moment leaves a loadable newest checkpoint."""

    def __init__(self, folder: Path, max_to_keep: int) -> None:
        self.folder, self.max_to_keep = folder, max_to_keep
        self._kept = [Path(prefix).name for prefix in reversed(checkpoints.read_state(folder, Checkpoint.LAST))]

    def save_last(self, bundle: Snapshot) -> None:
        """Write the newest checkpoint, point the state file at it, then delete the oldest beyond `max_to_keep`."""
        name = self._write("train", bundle)
        self._kept = [kept for kept in self._kept if kept != name] + [name]
        outdated, self._kept = self._kept[: -self.max_to_keep], self._kept[-self.max_to_keep :]
        checkpoints.write_state(self.folder, Checkpoint.LAST, self._kept)
        for old in outdated:
            checkpoints.remove(self.folder, old)

    def save_best(self, bundle: Snapshot) -> None:
        """Write the best checkpoint so far; the one before it goes once the state file names the new one."""
        before = [Path(prefix).name for prefix in checkpoints.read_state(self.folder, Checkpoint.BEST)]
        name = self._write("best_dev", bundle)
        checkpoints.write_state(self.folder, Checkpoint.BEST, [name])
        for old in before:
            if old != name:
                checkpoints.remove(self.folder, old)

    def load_best(self) -> Snapshot:
        """The best checkpoint of this folder."""
        return checkpoints.load(checkpoints.find(self.folder, "best")[0])

    def load_last(self) -> tuple[Snapshot | None, list[str]]:
        """The newest checkpoint that loads, if there is one, and a line for each damaged one before it."""
        prefixes = checkpoints.read_state(self.folder, Checkpoint.LAST)
        return checkpoints.load_first(prefixes) if prefixes else (None, [])

    def _write(self, kind: str, bundle: Snapshot) -> str:
        name = f"{kind}-{bundle.global_step}"
        if Path(f"{self.folder / name}.index").exists():
            # Never rewrite a bundle that a state file may name: a kill in between would leave none.
            name = f"{kind}_{bundle.training_state.get('epoch', 0)}-{bundle.global_step}"
        checkpoints.save(self.folder, name, bundle)
        return name
