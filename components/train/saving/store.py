"""The checkpoints of a run: where they go, which are written when, which are kept, and which one a rerun goes on from.

A run owns what it wrote and nothing else. Its record (`speechmill_run.json`) is written before anything that it names,
so that at any moment each file of the folder is either known as the run's or somebody else's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.train.report import PAGE
from components.train.saving.record import RunRecord
from components.train.saving.uploads import STOP_S, Kept, Uploads, patiently
from speech.artifacts import ALPHABET, RUN_FOLDER, Checkpoint
from speech.errors import InputError, RetryError
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from speech.storage.objects import download_folder, list_keys

# What a run writes besides bundles. In a folder that holds one of these already, it makes a folder of its own.
OWN_FILES = (
    *(Checkpoint.RECORD, Checkpoint.LAST, Checkpoint.BEST, Checkpoint.MODEL, Checkpoint.FLAGS, Checkpoint.HISTORY),
    *(ALPHABET, PAGE, "loss.png"),  # the last by earlier versions
)
BUNDLES = ("*.index", "*.data-*-of-*")


class CheckpointStore:
    """The folder of a run, in which a kill at any moment leaves a loadable newest checkpoint.

    `root` itself, unless it holds files that another one wrote (a release checkpoint, an earlier run's): then a folder
    `run-N` in it. With a `mirror` (an `s3://` prefix of `root`) the same holds there, a little later: while the store
    is `uploading`, a thread brings there what is kept here. An empty `root` is filled from its mirror first.
    """

    def __init__(
        self, root: Path, max_to_keep: int, mirror: str = "", run_key: str = "", patience_s: float = 0.0
    ) -> None:
        """`run_key` tells the run that an unfinished one of the same settings and data is gone on with.

        A mirror that is away is waited for `patience_s`, now and when all has to be there.
        """
        self.root, self.max_to_keep, mirror = root, max_to_keep, mirror.rstrip("/")
        self.keep_epochs = 1  # of the checkpoints of epochs' ends so many are kept, whatever `max_to_keep` is
        self.patience_s = patience_s
        if mirror and not _newest_state(root).is_file():
            patiently(lambda: _fetch(mirror, root), patience_s)
        unfinished = _unfinished(root, run_key, reported_is_finished=not mirror)
        self.resumes = unfinished is not None
        self.folder, self._record = unfinished or (_new_folder(root), RunRecord(run_key))
        place = self.folder.relative_to(root).as_posix()
        self.mirror = mirror if not mirror or place == "." else f"{mirror}/{place}"
        self._kept = self._names(Checkpoint.LAST)[::-1]
        states = _training_states(self.folder, Checkpoint.LAST) if self.resumes else {}
        self._epoch_ends = {name for name, state in states.items() if not state.get("batch")}
        self._before, self._after, self._outdated = [Checkpoint.RECORD], list[str](), list[str]()
        self._uploads: Uploads | None = None

    @contextmanager
    def uploading(self, every_s: float) -> Iterator[None]:
        """Bring what is saved to the mirror, if there is one, at most once in `every_s`.

        What is stored when the block is left by a RetryError or a lost worker is uploaded, if that takes no longer than
        a pod has after SIGTERM. Whoever leaves it in good order has called `flush`.
        """
        if not self.mirror:
            yield
            return
        keys = patiently(lambda: list_keys(f"{self.mirror}/"), self.patience_s)
        prefix = len(self.mirror.split("/", 3)[-1]) + 1
        self._uploads = Uploads(self.folder, self.mirror, every_s, [key[prefix:] for key, _ in keys])
        try:
            yield
        except InputError:
            raise
        except Exception:
            with suppress(InputError, RetryError):
                if not self._uploads.gave_up:
                    self._uploads.flush(STOP_S)
            raise
        finally:
            self._uploads.close()
            self._uploads = None

    def flush(self) -> None:
        """Wait until the mirror has all; RetryError if it is away for longer than the patience given."""
        self._upload()
        if self._uploads:
            self._uploads.flush(self.patience_s)

    def begin(self) -> None:
        """Make the folder the run's own, and remove what a kill left of bundles that no state file names."""
        with _as_input_error(self.folder, "the checkpoint folder cannot be written"):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._keep_record(self._record.bundles)
        named = {*self._names(Checkpoint.LAST), *self._names(Checkpoint.BEST)}
        self._remove([name for name in self._record.bundles if name not in named])

    def save_last(self, snapshot: Snapshot) -> None:
        """Write the newest checkpoint, point the state file at it, then delete the oldest beyond `max_to_keep`."""
        with self._new("train", snapshot) as name:
            if not snapshot.training_state.get("batch"):
                self._epoch_ends.add(name)
            before = [*(kept for kept in self._kept if kept != name), name]
            wanted = {*before[-self.max_to_keep :], *self._ends_among(before)}
            kept = [name for name in before if name in wanted]
            snapshots.write_state(self.folder, Checkpoint.LAST, kept)
        self._kept = kept
        self._remove([name for name in before if name not in wanted])

    @property
    def epoch_ends(self) -> list[str]:
        """The prefixes of the newest `keep_epochs` checkpoints of epochs' ends, oldest first."""
        return [str(self.folder / name) for name in self._ends_among(self._kept)]

    def _ends_among(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self._epoch_ends][-self.keep_epochs :] if self.keep_epochs > 1 else []

    def save_best(self, snapshot: Snapshot) -> None:
        """Write the best checkpoint so far; the one before it goes once the state file names the new one."""
        before = self._names(Checkpoint.BEST)
        with self._new("best_dev", snapshot) as name:
            snapshots.write_state(self.folder, Checkpoint.BEST, [name])
        self._remove([old for old in before if old != name])

    def load_best(self) -> Snapshot:
        """The best checkpoint of this run."""
        return snapshots.load(snapshots.read_state(self.folder, Checkpoint.BEST)[0])

    def load_last(self) -> tuple[Snapshot | None, list[str]]:
        """The run's newest checkpoint that loads, and a line for each damaged one before it; None if there is none."""
        prefixes = snapshots.read_state(self.folder, Checkpoint.LAST) if self.resumes else []
        if not prefixes:
            return None, []
        try:
            return snapshots.load_first(prefixes)
        except InputError as error:
            return None, [str(error)]

    def publish(self, before: Sequence[str] = (), after: Sequence[str] = ()) -> None:
        """Have the mirror hold these files, too: before any checkpoint, and after all of them.

        Raises InputError where the mirror refuses the first of all uploads.
        """
        self._before += before
        self._after += after
        self._upload()
        if self._uploads and before:
            self._uploads.first()

    def _upload(self) -> None:
        if self._uploads:
            best = self._names(Checkpoint.BEST)[:1]
            outdated, self._outdated = self._outdated, []
            self._uploads.submit(
                Kept(tuple(self._kept), "".join(best), tuple(self._before), tuple(self._after), tuple(outdated))
            )

    def _names(self, state_file: str) -> list[str]:
        return [Path(prefix).name for prefix in snapshots.read_state(self.folder, state_file)]

    def _keep_record(self, bundles: Sequence[str]) -> None:
        self._record.bundles = list(bundles)
        self._record.save(self.folder)

    @contextmanager
    def _new(self, kind: str, snapshot: Snapshot) -> Iterator[str]:
        """Write a bundle, to be named by a state file; when the disk refuses either, nothing of the bundle stays."""
        name = self._free_name(kind, snapshot)
        try:
            self._keep_record([*self._record.bundles, name])
            snapshots.save(self.folder, name, snapshot)
            yield name
        except OSError as error:
            snapshots.remove(self.folder, name)
            last = self._names(Checkpoint.LAST)
            next_start = f"it goes on from {last[0]}" if last else "it starts anew"
            raise InputError(
                f"{self.folder / name}: the checkpoint cannot be written: {error.strerror or error}: "
                f"make room and run the same command: {next_start}"
            ) from error

    def _free_name(self, kind: str, snapshot: Snapshot) -> str:
        """A name that no file has, neither others' nor of a bundle that a state file may name while it is rewritten."""
        step, epoch = snapshot.global_step, snapshot.training_state.get("epoch", 0)
        name, number = f"{kind}-{step}", 0
        while any(self.folder.glob(f"{name}.*")):
            name, number = f"{kind}_{epoch}{f'_{number}' if number else ''}-{step}", number + 1
        return name

    def _remove(self, names: Sequence[str]) -> None:
        """Delete bundles, as far as the record names them; the mirror loses them behind what replaces them."""
        names = [name for name in names if name in self._record.bundles]
        self._outdated += names
        self._upload()
        for name in names:
            snapshots.remove(self.folder, name)
        if names:
            self._keep_record([name for name in self._record.bundles if name not in names])


def check_empty_of_checkpoints(folder: Path) -> None:
    """Raise InputError if `folder`, which holds no checkpoint to load, looks as if it should."""
    if not folder.is_dir():
        return
    inside = sorted({index.parent for index in folder.glob("*/*.index")} - set(Checkpoint.runs(folder)))
    if inside:
        raise InputError(
            f"{folder}: no checkpoint in it, but one in {inside[0]}: give that to load it, or --load_train init to "
            "train from scratch"
        )
    record = RunRecord.load(folder)  # of a run that was killed before its first checkpoint
    remains = [] if record else [folder / Checkpoint.LAST, folder / Checkpoint.BEST, *folder.glob(BUNDLES[1])]
    if names := [path.name for path in remains if path.exists()]:
        raise InputError(
            f"{folder}: {names[0]}, but no *.index file: the checkpoint is not complete: fetch it again, or give "
            "--load_train init to train from scratch"
        )


def _fetch(mirror: str, root: Path) -> None:
    if list_keys(f"{mirror}/"):
        download_folder(mirror, root)


def _newest_state(root: Path) -> Path:
    return next((run / Checkpoint.LAST for run in Checkpoint.runs(root)), root / Checkpoint.LAST)


def _unfinished(root: Path, run_key: str, *, reported_is_finished: bool) -> tuple[Path, RunRecord] | None:
    """The newest run's folder and record, if that run goes on; that of a version that wrote no records is made."""
    folder = next(iter(Checkpoint.runs(root)), root)
    record, states = RunRecord.load(folder), _training_states(folder, Checkpoint.LAST)
    newest = next(iter(states.values()), {})
    if record is None:  # an older version's, if it is ours at all
        states |= _training_states(folder, Checkpoint.BEST)
        own = [name for name, state in states.items() if state.get("run_key") == run_key]
        record = RunRecord(run_key, own) if own else RunRecord("")
    if record.run_key != run_key or (states and newest.get("run_key") != run_key):
        return None  # another run's, or another trainer went on in this folder
    reported = reported_is_finished and (folder / PAGE).is_file()
    return None if reported and newest.get("finished") else (folder, record)


def _training_states(folder: Path, state_file: str) -> dict[str, dict[str, Any]]:
    """Bundle -> our own state in it, the current one first, for those that can be read."""
    prefixes = snapshots.read_state(folder, state_file)
    states = ((Path(prefix).name, snapshots.read_training_state(prefix)) for prefix in prefixes)
    return {name: state for name, state in states if state is not None}


def _new_folder(root: Path) -> Path:
    """`root`, or a new folder in it if it holds what a run would write, and so is somebody else's."""
    if not any((root / name).exists() for name in OWN_FILES) and not any(
        path for pattern in BUNDLES for path in root.glob(pattern)
    ):
        return root
    numbers = [int(match[1]) for path in root.glob("run-*") if (match := RUN_FOLDER.fullmatch(path.name))]
    first = 2 if (root / Checkpoint.RECORD).exists() else 1
    return root / f"run-{max([first, *(number + 1 for number in numbers)])}"


@contextmanager
def _as_input_error(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: {what}: {error.strerror or error}") from error
