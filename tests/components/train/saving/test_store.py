"""Whose file is it: where a run writes, what it may delete, and what a kill leaves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.train.report import PAGE
from components.train.saving.record import RunRecord
from components.train.saving.store import CheckpointStore
from speech.artifacts import ALPHABET, Checkpoint
from speech.errors import InputError
from speech.geometry import Geometry
from speech.model_files.variables import initial_weights
from speech.nn import snapshots
from speech.nn.snapshots import Snapshot
from speech.storage.files import write_json
from speech.storage.objects import download_folder, list_keys, upload_folder

GEOMETRY = Geometry(8, 4)
WEIGHTS = initial_weights(GEOMETRY, 1)
OWN = (Checkpoint.LAST, Checkpoint.BEST, Checkpoint.RECORD, Checkpoint.MODEL)


def snapshot(step: int, key: str = "key", **state: object) -> Snapshot:
    return Snapshot(GEOMETRY, WEIGHTS, {}, step, 0.001, 0.9, 0.999, {"run_key": key, "finished": False, **state})


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def foreign_checkpoint(folder: Path) -> dict[str, bytes]:
    """What a DeepSpeech release might look like; its content."""
    for name in ("best_dev-720", "train-720", "train-732"):
        snapshots.save(folder, name, replace(snapshot(int(name.split("-")[1])), training_state={}))
        (folder / f"{name}.meta").write_bytes(b"graph")
    (folder / Checkpoint.LAST).write_text(
        'model_checkpoint_path: "/ci/train-732"\nall_model_checkpoint_paths: "/ci/train-720"\n'
        'all_model_checkpoint_paths: "/ci/train-732"\n'
    )
    (folder / Checkpoint.BEST).write_text('model_checkpoint_path: "/ci/best_dev-720"\n')
    (folder / Checkpoint.FLAGS).write_text("--n_hidden=8\n")
    (folder / ALPHABET).write_text(" \na\nb\nc\n")
    return files(folder)


def run_files(*bundles: str) -> set[str]:
    """All that a run in `run-1` may leave without its report."""
    of_bundles = {f"{name}.{end}" for name in bundles for end in ("index", "data-00000-of-00001")}
    return {f"run-1/{name}" for name in (*of_bundles, *OWN)}


def train(store: CheckpointStore, steps: range, key: str = "key") -> None:
    """What a run does with its store."""
    store.begin()
    write_json(store.folder / Checkpoint.MODEL, {"geometry": GEOMETRY.to_dict()})
    store.publish(before=[Checkpoint.MODEL])
    for step in steps:
        store.save_best(snapshot(step, key))
        store.save_last(snapshot(step, key))


def test_a_checkpoint_of_others_stays_and_the_run_has_a_folder_of_its_own(tmp_path: Path, capsys) -> None:
    before = foreign_checkpoint(tmp_path)
    store = CheckpointStore(tmp_path, 1, run_key="key")
    train(store, range(718, 734))  # its names collide with theirs, and all but the last are pruned
    assert store.folder == tmp_path / "run-1"
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    own = {name for name in after if name not in before}
    assert own == run_files("best_dev-733", "train-733")
    # Our commands take the newest run's and say so; the peers' pointers lead to the base, and in run-1 to ours.
    assert snapshots.find(tmp_path, "best") == [str(tmp_path / "run-1" / "best_dev-733")]
    assert "run-1" in capsys.readouterr().err
    assert snapshots.read_state(tmp_path, Checkpoint.BEST) == [str(tmp_path / "best_dev-720")]


def test_one_foreign_name_is_enough(tmp_path: Path) -> None:
    for number, name in enumerate((ALPHABET, Checkpoint.HISTORY, Checkpoint.MODEL, "loss.png", "x-1.index")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text("theirs")
        train(CheckpointStore(folder, 1, run_key="key"), range(1, 3))
        assert (folder / name).read_text() == "theirs"
        assert Checkpoint.open(folder).folder == folder / "run-1"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("theirs")
    assert CheckpointStore(tmp_path / "notes", 1, run_key="key").folder == tmp_path / "notes"


def test_pruning_takes_bundles_and_nothing_that_begins_like_them(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 1, run_key="key")
    train(store, range(1, 2))
    (tmp_path / "train-1.wer.txt").write_text("theirs")
    (tmp_path / "train-1-copy.index").write_text("theirs")
    snapshots.save(tmp_path, "train-2", snapshot(2, "another"))  # put there by its owner meanwhile
    theirs = {name: content for name, content in files(tmp_path).items() if name.startswith("train-2")}
    train(store, range(2, 5))
    after = files(tmp_path)
    assert (after["train-1.wer.txt"], after["train-1-copy.index"]) == (b"theirs", b"theirs")
    assert {name: after[name] for name in theirs} == theirs
    assert snapshots.find(tmp_path, "last") == [str(tmp_path / "train-4")]
    assert "train-1.index" not in after


def test_each_run_has_its_folder_and_an_unfinished_one_goes_on(tmp_path: Path) -> None:
    train(CheckpointStore(tmp_path, 1, run_key="one"), range(1, 2), "one")
    again = CheckpointStore(tmp_path, 1, run_key="one")
    assert again.folder == tmp_path
    assert again.load_last()[0].global_step == 1
    before = files(tmp_path)
    other = CheckpointStore(tmp_path, 1, run_key="two")
    assert (other.folder, other.load_last()[0]) == (tmp_path / "run-2", None)
    train(other, range(5, 6), "two")
    assert {name: content for name, content in files(tmp_path).items() if "/" not in name} == before
    other.save_last(snapshot(9, "two", finished=True))
    assert CheckpointStore(tmp_path, 1, run_key="two").folder == other.folder  # its report is still to be written
    (other.folder / PAGE).write_text("done")
    assert CheckpointStore(tmp_path, 1, run_key="two").folder == tmp_path / "run-3"


def test_somebody_s_run_folder_is_not_taken_for_ours(tmp_path: Path) -> None:
    before = foreign_checkpoint(tmp_path)
    for name in ("run-4", "run-x"):
        snapshots.save(tmp_path / name, "train-1", snapshot(1))
    assert Checkpoint.open(tmp_path).folder == tmp_path
    assert CheckpointStore(tmp_path, 1, run_key="key").folder == tmp_path / "run-5"
    assert before.items() <= files(tmp_path).items()


def test_where_another_trainer_went_on_a_run_begins_anew(tmp_path: Path) -> None:
    train(CheckpointStore(tmp_path, 2, run_key="key"), range(1, 3))
    snapshots.save(tmp_path, "train-7", replace(snapshot(7), training_state={}))
    snapshots.write_state(tmp_path, Checkpoint.LAST, ["train-7"])
    store = CheckpointStore(tmp_path, 2, run_key="key")
    assert (store.folder, store.load_last()) == (tmp_path / "run-2", (None, []))


def test_an_older_version_s_run_goes_on_in_its_folder(tmp_path: Path) -> None:
    """It wrote no record, but each of its bundles says which run it is of."""
    foreign = replace(snapshot(3), training_state={})
    for name, content in {"train-3": foreign, "train-4": snapshot(4), "best_dev-4": snapshot(4)}.items():
        snapshots.save(tmp_path, name, content)
    snapshots.write_state(tmp_path, Checkpoint.LAST, ["train-3", "train-4"])
    snapshots.write_state(tmp_path, Checkpoint.BEST, ["best_dev-4"])
    before = files(tmp_path)
    store = CheckpointStore(tmp_path, 1, run_key="key")
    assert store.folder == tmp_path
    train(store, range(5, 7))
    left = {name.split(".")[0] for name in files(tmp_path) if name.endswith(".index")}
    assert left == {"train-3", "train-6", "best_dev-6"}
    assert all(files(tmp_path)[name] == before[name] for name in before if name.startswith("train-3"))


class Killed(BaseException):
    """No handler of ours gets to see a kill."""


@pytest.mark.parametrize("moment", ["record", "half a bundle", "bundle", "state file", "removal"])
def test_a_kill_leaves_each_file_known_as_the_run_s_or_as_it_was(moment: str, tmp_path: Path, monkeypatch) -> None:
    before = foreign_checkpoint(tmp_path)
    train(CheckpointStore(tmp_path, 1, run_key="key"), range(1, 3))
    store = CheckpointStore(tmp_path, 1, run_key="key")
    save, write_state, save_record = snapshots.save, snapshots.write_state, RunRecord.save

    def killed_save(folder: Path, name: str, bundle: Snapshot) -> str:
        if moment == "bundle":
            save(folder, name, bundle)
        else:
            (folder / f"{name}.data-00000-of-00001.tempstate123").write_bytes(b"half")
        raise Killed

    def killed_record(record: RunRecord, folder: Path) -> None:
        save_record(record, folder)
        raise Killed

    if moment == "record":
        monkeypatch.setattr(RunRecord, "save", killed_record)
    elif moment == "state file":
        monkeypatch.setattr(snapshots, "write_state", lambda *given: [write_state(*given), 1 / 0])
    elif moment == "removal":
        monkeypatch.setattr(snapshots, "remove", lambda folder, name: (folder / f"{name}.index").unlink() or 1 / 0)
    else:
        monkeypatch.setattr(snapshots, "save", killed_save)
    with pytest.raises((Killed, ZeroDivisionError)):
        store.save_last(snapshot(3))
    monkeypatch.undo()

    record = RunRecord.load(tmp_path / "run-1")
    bundles = {path.name.split(".")[0] for path in (tmp_path / "run-1").glob("*.*-*")} - {""}
    assert record is not None
    assert {name for name in bundles if "-" in name} <= set(record.bundles)
    again = CheckpointStore(tmp_path, 1, run_key="key")
    assert again.load_last()[0].global_step == (3 if moment in ("state file", "removal") else 2)
    train(again, range(4, 6))
    own = {name for name in files(tmp_path) if name not in before}
    assert own == run_files("best_dev-5", "train-5")
    assert before.items() <= files(tmp_path).items()
    assert sorted(json.loads((tmp_path / "run-1" / Checkpoint.RECORD).read_text())["bundles"]) == [
        "best_dev-5",
        "train-5",
    ]


def test_in_a_bucket_others_objects_stay(tmp_path: Path, s3_bucket: str) -> None:
    before = foreign_checkpoint(tmp_path / "release")
    upload_folder(tmp_path / "release", f"{s3_bucket}/release")
    store = CheckpointStore(tmp_path / "one", 1, f"{s3_bucket}/release", run_key="key", patience_s=60)
    with store.uploading(every_s=0):
        train(store, range(720, 724))
        store.flush()
    download_folder(f"{s3_bucket}/release", tmp_path / "after")
    assert before.items() <= files(tmp_path / "after").items()
    assert files(tmp_path / "after") == files(tmp_path / "one")
    again = CheckpointStore(tmp_path / "two", 1, f"{s3_bucket}/release", run_key="key")
    assert again.load_last()[0].global_step == 723
    assert len(list_keys(f"{s3_bucket}/release/run-1/")) == 8


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="root may write everywhere else")
def test_a_closed_folder_is_refused() -> None:
    store = CheckpointStore(Path("/proc/none"), 1, run_key="key")
    with pytest.raises(InputError, match="the checkpoint folder cannot be written"):
        store.begin()
